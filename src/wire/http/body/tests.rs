//! Bodies in all cuts, against a table, and chunks against a slow twin.

use proptest::prelude::*;

use super::*;

const MAX: usize = 20;

/// Reads a body that comes in these pieces: what it is and how many bytes are its own; none if more is needed.
fn read(body: Body, pieces: &[&[u8]]) -> Result<Option<(Vec<u8>, usize)>, BodyError> {
    let mut reader = BodyReader::new(body, MAX)?;
    let mut used = 0;
    for piece in pieces {
        let count = reader.read(piece)?;
        used += count;
        if count < piece.len() {
            assert!(reader.is_done(), "what is left over follows a body");
            break;
        }
    }
    Ok(reader.is_done().then(|| (reader.into_body(), used)))
}

/// Reads `bytes` in all cuts into two and byte by byte, which must not make a difference.
fn check(body: Body, bytes: &[u8], want: Result<Option<(&[u8], usize)>, BodyError>) {
    let want = want.map(|some| some.map(|(text, used)| (text.to_vec(), used)));
    let shown = String::from_utf8_lossy(bytes);
    for cut in 0..=bytes.len() {
        let (a, b) = bytes.split_at(cut);
        assert_eq!(read(body, &[a, b]), want, "{shown:?} cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(body, &single), want, "{shown:?} byte by byte");
}

fn chunked(text: &str, want: Result<Option<(&str, usize)>, BodyError>) {
    check(Body::Chunked, text.as_bytes(), want.map(|some| some.map(|(text, used)| (text.as_bytes(), used))));
}

#[test]
fn a_length_says_where_the_body_ends() {
    check(Body::None, b"GET", Ok(Some((b"", 0))));
    check(Body::Length(3), b"abcGET", Ok(Some((b"abc", 3))));
    check(Body::Length(3), b"ab", Ok(None));
    check(Body::Length(MAX as u64), &[b'x'; MAX], Ok(Some((&[b'x'; MAX], MAX))));
    check(Body::Length(MAX as u64 + 1), b"", Err(BodyError::TooLong));
    check(Body::Length(u64::MAX), b"", Err(BodyError::TooLong));
}

#[test]
fn what_came_whole_is_not_copied() {
    let reader = |body| BodyReader::new(body, MAX).expect("short enough");
    assert_eq!(reader(Body::Length(3)).whole(b"abcd"), Some(&b"abc"[..]));
    assert_eq!(reader(Body::Length(3)).whole(b"ab"), None);
    assert_eq!(reader(Body::None).whole(b"ab"), Some(&b""[..]));
    assert_eq!(reader(Body::Chunked).whole(b"0\r\n\r\n"), None);
}

#[test]
fn chunks_are_put_together() {
    chunked("0\r\n\r\nGET", Ok(Some(("", 5))));
    chunked("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET", Ok(Some(("abcde", 20))));
    chunked("A\r\n0123456789\r\n0a\r\n0123456789\r\n0\r\n\r\n", Ok(Some(("01234567890123456789", 36))));
    chunked("3;x=\"y z\";q\r\nabc\r\n0;\r\nX-Sum: 1\r\nY:\r\n\r\n", Ok(Some(("abc", 38))));
    chunked("3\r\n\r\n0\r\n", Ok(None));
    chunked("3\r\nabc\r\n", Ok(None));
    chunked("0\r\nX: y\r\n", Ok(None));
}

/// Each of these is read in two ways by somebody, and so has been used to smuggle requests.
#[test]
fn smuggling_by_chunks_is_refused() {
    for text in
        ["\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", " 1\r\n", "1 \r\n", "1\t;\r\n", "g\r\n", "1,\r\n", ";a\r\n"]
    {
        chunked(text, Err(BodyError::ChunkSize));
    }
    // Sizes that wrap around in 32 or 64 bits.
    for text in ["100000000\r\n", "0000000001\r\n", "ffffffffffffffff\r\n", "10000000000000001\r\n"] {
        chunked(text, Err(BodyError::ChunkSize));
    }
    for text in [
        "1\rX",
        "1;a\nX",
        "1;a\rX",
        "1;\u{b}",
        "1;\0",
        "1\r\nab",
        "1\r\na\nX",
        "1\r\na\rX",
        "0\r\na\nX",
        "0\r\n\rX",
    ] {
        chunked(text, Err(BodyError::LineEnd));
    }
    // A bare LF ends nothing.
    chunked("1\na", Err(BodyError::ChunkSize));
}

#[test]
fn everything_about_chunks_has_an_end() {
    chunked("15\r\n", Err(BodyError::TooLong));
    chunked("ffffffff\r\n", Err(BodyError::TooLong));
    chunked("14\r\n01234567890123456789\r\n1\r\n", Err(BodyError::TooLong));
    let long = |count: u32| "x".repeat(count as usize);
    chunked(&format!("1;{}\r\na\r\n", long(LINE_BYTES_MAX)), Ok(None));
    chunked(&format!("1;{}", long(LINE_BYTES_MAX + 1)), Err(BodyError::LineTooLong));
    chunked(&format!("0\r\n{}", long(TRAILER_BYTES_MAX)), Ok(None));
    chunked(&format!("0\r\n{}", long(TRAILER_BYTES_MAX + 1)), Err(BodyError::LineTooLong));
    chunked(&format!("0\r\n{}", "x\r\n".repeat(1024)), Err(BodyError::LineTooLong));
}

#[test]
fn what_is_announced_is_not_allocated() {
    let mut reader = BodyReader::new(Body::Length(1 << 40), usize::MAX).expect("short enough");
    assert_eq!(reader.read(b"abc"), Ok(3));
    assert!(reader.held.capacity() < 100);
}

/// The slow twin: looks for line ends, and takes what is between.
fn naive(mut rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (all, mut body) = (rest.len(), Vec::new());
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            break;
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        rest = &rest[end + 2..];
        if end == 0 {
            return Some((body, all - rest.len()));
        }
    }
}

proptest! {
    /// Whatever is cut into chunks comes back, however it arrives.
    #[test]
    fn chunks_come_back(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..6), 0..4),
        trailer in any::<bool>(),
        behind in "[a-z]{0,3}",
    ) {
        let mut bytes = Vec::new();
        for chunk in &chunks {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(if trailer { b"0\r\nA: b\r\n\r\n" } else { b"0\r\n\r\n" });
        let length = bytes.len();
        bytes.extend_from_slice(behind.as_bytes());
        let body = chunks.concat();
        prop_assert_eq!(naive(&bytes), Some((body.clone(), length)));
        check(Body::Chunked, &bytes, Ok(Some((&body, length))));
    }

    /// Nothing panics, and what is taken is what the slow twin takes.
    #[test]
    fn anything_is_read_or_refused(
        bytes in prop::collection::vec(prop::sample::select(b"012a;\r\n\r\nx -".to_vec()), 0..40),
    ) {
        if let Ok(Some(got)) = read(Body::Chunked, &[&bytes]) {
            prop_assert_eq!(Some(got), naive(&bytes));
        }
    }
}
