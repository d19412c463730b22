//! Heads good and bad, each fed whole, byte by byte and cut in two at every place.

use proptest::prelude::*;

use super::*;

/// What a reader made of a stream: the head in words and where it ended, nothing yet, or a refusal.
type Outcome = Result<Option<(String, usize)>, HeadError>;

fn describe(head: &Head<'_>) -> String {
    let headers: Vec<_> =
        head.headers().map(|(name, value)| format!("{name}={}", value.escape_ascii())).collect();
    format!(
        "{} {} {:?} {:?} {}",
        head.method(),
        head.target(),
        head.version(),
        head.body(),
        headers.join("|")
    )
}

/// Feeds pieces until a head or a refusal comes.
fn feed<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Outcome {
    let mut reader = HeadReader::new();
    let mut before = 0;
    for piece in pieces {
        let mut slots = Slots::new();
        let Some((head, consumed)) = reader.read(piece, &mut slots)? else {
            before += piece.len();
            continue;
        };
        assert!(consumed <= piece.len());
        let outcome = (describe(&head), before + consumed);
        assert!(!reader.is_partial());
        return Ok(Some(outcome));
    }
    assert!(reader.held.len() <= HEAD_BYTES_MAX, "limit before allocation");
    assert_eq!(reader.is_partial(), before > 0);
    Ok(None)
}

/// The one door of these tests: whole, byte by byte and in two pieces must agree.
fn read(stream: impl AsRef<[u8]>) -> Outcome {
    let stream = stream.as_ref();
    let whole = feed([stream]);
    assert_eq!(feed(stream.chunks(1)), whole, "byte by byte: {}", stream.escape_ascii());
    let step = 1 + stream.len() / 700;
    for at in (0..=stream.len()).step_by(step) {
        let (first, second) = stream.split_at(at);
        assert_eq!(feed([first, second]), whole, "cut at {at}: {}", stream.escape_ascii());
    }
    whole
}

fn refused(stream: impl AsRef<[u8]>, want: HeadError) {
    let stream = stream.as_ref();
    let shown = stream[..stream.len().min(80)].escape_ascii();
    assert_eq!(read(stream), Err(want), "{shown}");
}

/// A request with these header lines behind a good `Host`.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

fn accepted(stream: impl AsRef<[u8]>) -> String {
    let stream = stream.as_ref();
    match read(stream) {
        Ok(Some((head, _))) => head,
        other => panic!("{other:?}: {}", stream.escape_ascii()),
    }
}

const HANDSHAKE: &str = "GET /ws/lobby?token=t HTTP/1.1\r\nHost: example.org:8080\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nX-Empty:\r\nX-Blank: \t a b \t\r\n\r\n";

#[test]
fn a_handshake_and_the_frames_behind_it() {
    let stream = [HANDSHAKE.as_bytes(), b"\x89\x80\x01\x02\x03\x04\x89\x80\r\n\r\n"].concat();
    let (head, end) = read(&stream).expect("good").expect("whole");
    assert_eq!(end, HANDSHAKE.len());
    let want = "GET /ws/lobby?token=t Http11 None Host=example.org:8080|Upgrade=websocket|\
        Connection=keep-alive, Upgrade|Sec-WebSocket-Key=dGhlIHNhbXBsZSBub25jZQ==|\
        Sec-WebSocket-Version=13|X-Empty=|X-Blank=a b";
    assert_eq!(head, want);
}

#[test]
fn one_reader_reads_one_head_after_the_other() {
    let stream = [with(""), with("X: 1\r\n"), with("X: 2\r\n")].concat();
    for size in [1, 7, 30, stream.len()] {
        let mut reader = HeadReader::new();
        let mut targets = Vec::new();
        for mut piece in stream.as_bytes().chunks(size) {
            while !piece.is_empty() {
                let mut slots = Slots::new();
                let consumed = match reader.read(piece, &mut slots).expect("good") {
                    Some((head, consumed)) => {
                        targets.push(head.first("x").map(<[u8]>::to_vec));
                        consumed
                    }
                    None => piece.len(),
                };
                piece = &piece[consumed..];
            }
        }
        assert_eq!(targets, [None, Some(b"1".to_vec()), Some(b"2".to_vec())], "pieces of {size}");
        assert!(!reader.is_partial());
    }
}

#[test]
fn a_head_in_one_piece_is_not_copied() {
    let stream = HANDSHAKE.as_bytes();
    let (mut reader, mut slots) = (HeadReader::new(), Slots::new());
    let (head, _) = reader.read(stream, &mut slots).expect("good").expect("whole");
    assert!(stream.as_ptr_range().contains(&head.target().as_ptr()));
    assert_eq!(reader.held.capacity(), 0);
}

#[test]
fn lookups_ignore_case_and_join_lists() {
    let stream = with("Connection: keep-alive ,, Upgrade\r\nX: 1\r\nCONNECTION:close\t,\r\nx: 2\r\n");
    let (mut reader, mut slots) = (HeadReader::new(), Slots::new());
    let (head, _) = reader.read(stream.as_bytes(), &mut slots).expect("good").expect("whole");
    let tokens: Vec<_> = head.tokens("connection").map(<[u8]>::escape_ascii).map(|t| t.to_string()).collect();
    assert_eq!(tokens, ["keep-alive", "Upgrade", "close"]);
    assert!(head.has_token("Connection", "upgrade") && !head.has_token("connection", "keep"));
    assert!(!head.keep_alive());
    assert_eq!((head.first("X"), head.all("x").count(), head.first("y")), (Some(&b"1"[..]), 2, None));
}

#[test]
fn connections_stay_open_in_http_11_only() {
    let keeps = |stream: &str| {
        let (mut reader, mut slots) = (HeadReader::new(), Slots::new());
        reader.read(stream.as_bytes(), &mut slots).expect("good").expect("whole").0.keep_alive()
    };
    assert!(keeps(&with("")));
    assert!(!keeps(&with("Connection: Close\r\n")));
    assert!(!keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

#[test]
fn request_lines() {
    use HeadError as E;
    let line = |line: &str| read(format!("{line}\r\nHost: a\r\n\r\n")).map(|head| head.is_some());
    for good in
        ["GET / HTTP/1.1", "get / HTTP/1.0", "OPTIONS * HTTP/1.1", "GET /é HTTP/1.1", "M-SEARCH * HTTP/1.1"]
    {
        assert_eq!(line(good), Ok(true), "{good}");
    }
    for bad in ["GET /", "GET / ", "GET / http/1.1", "GET / HTTP/1.1.1", "GET / HTTP/11", "GET / HTTP/1.1 "] {
        assert_eq!(line(bad), Err(E::RequestLine), "{bad}");
    }
    assert_eq!(line("PROXY TCP4 1.2.3.4 5.6.7.8 1 2"), Err(E::RequestLine));
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0"] {
        assert_eq!(line(&format!("GET / {version}")), Err(E::Version), "{version}");
    }
    for target in ["", " ", "/a b", " /", "/ ", "/a\tb", "/\0", "/\u{7f}", "/\u{1b}[31m"] {
        assert_eq!(line(&format!("GET {target} HTTP/1.1")), Err(E::Target), "{target:?}");
    }
    refused(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", E::Target);
    for method in ["", " GET", "\tGET", "GET\r\n", "GE\x01T", "G(T", "GET\0", "\"GET\"", "GÉT"] {
        assert_eq!(line(&format!("{method} / HTTP/1.1")), Err(E::Method), "{method:?}");
    }
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", E::Version);
}

/// RFC 9112 §2.2 asks to ignore an empty line before the request; what sends several is no client of ours.
#[test]
fn one_empty_line_may_come_first() {
    let request = with("");
    let plain = accepted(&request);
    assert_eq!(read(format!("\r\n{request}rest")), Ok(Some((plain, request.len() + 2))));
    refused(format!("\r\n\r\n{request}"), HeadError::Method);
    refused(format!("\n{request}"), HeadError::Method);
    refused("\rGET / HTTP/1.1\r\n\r\n", HeadError::LineEnd);
}

/// Who speaks something else is told at once and does not hold the connection until time is up.
#[test]
fn other_protocols_are_refused_at_their_first_bytes() {
    for hello in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], // TLS
        b"\x05\x01\x00",                                      // SOCKS 5
        b"\x04\x01\x00\x50",                                  // SOCKS 4
        b"\r\n\r\n\0\r\nQUIT\n",                              // PROXY protocol 2
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"{\"type\":\"ping\"}",
        b"\x81\x85",
        b"\0",
    ] {
        refused(hello, HeadError::Method);
    }
    refused("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", HeadError::RequestLine);
}

#[test]
fn half_a_head_is_no_head() {
    for cut in 0..HANDSHAKE.len() {
        assert_eq!(feed([&HANDSHAKE.as_bytes()[..cut]]), Ok(None), "cut at {cut}");
    }
}

#[test]
fn line_ends_are_cr_lf() {
    for stream in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\rHost: a\r\r",
        "GET / HTTP/1.1\r\r\n",
        "GET /\r HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nX\r: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX",
    ] {
        refused(stream, HeadError::LineEnd);
    }
}

#[test]
fn header_lines() {
    use HeadError as E;
    for line in [
        "NoColon",
        ": empty",
        "a b: c",
        "Host : a",
        "X\t: a",
        "X\0: a",
        "X\u{1}: a",
        "(X): a",
        "é: a",
        "X\"Y: a",
    ] {
        refused(with(&format!("{line}\r\n")), E::HeaderName);
    }
    for line in ["X: \0", "X: a\u{1}b", "X: \u{7f}", "X: \u{b}", "X: \u{1b}[31m"] {
        refused(with(&format!("{line}\r\n")), E::HeaderValue);
    }
    for lines in [" folded\r\n", "X: a\r\n b\r\n", "X: a\r\n\tb\r\n", "Upgrade:\r\n websocket\r\n", " \r\n"] {
        refused(with(lines), E::Folded);
    }
    refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n", E::Folded);
    accepted([with("").trim_end().as_bytes(), b"\r\nX: \xff\x80\t\xc3\xa9\r\n\r\n"].concat());
    accepted(with("!#$%&'*+-.^_`|~0aZ: v\r\nconstructor: x\r\n__proto__: y\r\n"));
}

#[test]
fn there_is_one_host() {
    use HeadError as E;
    refused("GET / HTTP/1.1\r\n\r\n", E::HostMissing);
    refused("GET / HTTP/1.1\r\nX-Host: a\r\n\r\n", E::HostMissing);
    refused(with("host: a\r\n"), E::HostRepeated);
    refused("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", E::HostRepeated);
    for host in ["a b", "a/b", "u@a", "a,b", "a?", "a#", "a\\b", "é", "\"a\"", "<a>"] {
        refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), E::Host);
    }
    for host in ["", "a", "a:80", "[::1]:80", "xn--bcher-kva.example", "under_score.example"] {
        accepted(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    accepted("GET / HTTP/1.0\r\n\r\n");
}

/// Rule for rule what other servers learned: `+3` (hyper), two lengths (Netty, uWebSockets), lengths beside
/// chunks and chunks in HTTP/1.0 (pingora).
#[test]
fn bodies_are_announced_in_one_way() {
    use HeadError as E;
    let body = |lines: &str| {
        let stream = with(lines);
        let (mut reader, mut slots) = (HeadReader::new(), Slots::new());
        reader.read(stream.as_bytes(), &mut slots).map(|head| head.expect("whole").0.body())
    };
    assert_eq!(body(""), Ok(Body::None));
    assert_eq!(body("Content-Length: 0\r\n"), Ok(Body::None));
    assert_eq!(body("content-length: 0012 \r\n"), Ok(Body::Length(12)));
    assert_eq!(body("Content-Length: 12\r\nContent-Length: 12\r\n"), Ok(Body::Length(12)));
    assert_eq!(body("Content-Length: 1099511627776\r\n"), Ok(Body::Length(1 << 40)));
    assert_eq!(body("Content-Length: 18446744073709551615\r\n"), Ok(Body::Length(u64::MAX)));
    assert_eq!(body("Transfer-Encoding: Chunked\r\n"), Ok(Body::Chunked));
    for length in [
        "+3",
        "-1",
        "",
        "1 2",
        "12, 12",
        "0x10",
        "1e3",
        "18446744073709551616",
        "99999999999999999999999",
        "½",
    ] {
        refused(with(&format!("Content-Length: {length}\r\n")), E::ContentLength);
    }
    refused(with("Content-Length: 1\r\nContent-Length: 2\r\n"), E::ContentLength);
    refused(with("Content-Length: 0\r\nContent-Length: 5\r\n"), E::ContentLength);
    for length in ["0", "5"] {
        refused(
            with(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n")),
            E::LengthAndEncoding,
        );
    }
    for coding in ["identity", "gzip, chunked", "chunked, chunked", "xchunked", "", "chunked;a"] {
        refused(with(&format!("Transfer-Encoding: {coding}\r\n")), E::TransferEncoding);
    }
    refused(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), E::TransferEncoding);
    refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", E::TransferEncoding);
}

#[test]
fn every_cap_is_exact() {
    use HeadError as E;
    let method = |bytes| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(bytes));
    accepted(method(METHOD_BYTES_MAX));
    refused(method(METHOD_BYTES_MAX + 1), E::MethodTooLong);

    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(bytes - 1));
    accepted(target(TARGET_BYTES_MAX));
    refused(target(TARGET_BYTES_MAX + 1), E::TargetTooLong);
    refused(target(HEAD_BYTES_MAX), E::TargetTooLong);

    let line = |bytes: usize| with(&format!("X:{}\r\n", "v".repeat(bytes - 2)));
    accepted(line(HEADER_LINE_BYTES_MAX));
    refused(line(HEADER_LINE_BYTES_MAX + 1), E::HeaderTooLong);
    refused(with(&format!("{}: v\r\n", "n".repeat(HEADER_LINE_BYTES_MAX))), E::HeaderTooLong);

    let lines = |count: usize| with(&"X: a\r\n".repeat(count - 1));
    accepted(lines(HEADERS_MAX));
    refused(lines(HEADERS_MAX + 1), E::TooManyHeaders);

    let head = |bytes: usize| {
        let long = format!("X:{}\r\n", "v".repeat(7_998));
        let rest = bytes - with("").len() - 2 * long.len() - "Y:\r\n".len();
        with(&format!("{long}{long}Y:{}\r\n", "v".repeat(rest)))
    };
    assert_eq!(head(HEAD_BYTES_MAX).len(), HEAD_BYTES_MAX);
    accepted(head(HEAD_BYTES_MAX));
    refused(head(HEAD_BYTES_MAX + 1), E::TooLong);
}

/// The caps hold without a line end in sight: nobody waits for the end of what is too long already.
#[test]
fn what_is_too_long_is_refused_before_it_ends() {
    refused("M".repeat(METHOD_BYTES_MAX + 1), HeadError::MethodTooLong);
    refused(format!("GET /{}", "a".repeat(REQUEST_LINE_BYTES_MAX)), HeadError::TargetTooLong);
    let start = with("");
    let start = start.trim_end();
    refused(format!("{start}\r\nX: {}", "v".repeat(HEADER_LINE_BYTES_MAX)), HeadError::HeaderTooLong);
    refused(format!("{start}\r\n{}", "X: a\r\n".repeat(HEADERS_MAX)), HeadError::TooManyHeaders);
}

/// The stories of tungstenite (20 MB in pieces of 4 KiB, parsed anew each time) and ws (thousands of
/// headers).
#[test]
fn floods_end_at_the_cap() {
    let flood = |line: &str| {
        let mut reader = HeadReader::new();
        let mut slots = Slots::new();
        assert!(matches!(reader.read(b"GET / HTTP/1.1\r\nHost: a\r\n", &mut slots), Ok(None)));
        let piece = line.repeat(4096_usize.div_ceil(line.len()));
        for pieces in 1..5_000 {
            let mut slots = Slots::new();
            match reader.read(piece.as_bytes(), &mut slots) {
                Ok(got) => assert!(got.is_none()),
                Err(error) => return (error, pieces),
            }
        }
        panic!("never refused");
    };
    assert_eq!(flood("a"), (HeadError::HeaderTooLong, 3));
    assert_eq!(flood("X: a\r\n"), (HeadError::TooManyHeaders, 1));
    assert_eq!(flood(&format!("X: {}\r\n", "v".repeat(4_000))), (HeadError::TooLong, 3));
}

/// The slow twin: looks at the whole stream after each byte and believes the first outcome. A reader that
/// depends on splits, or sees an error later than it could, differs from it.
fn twin(stream: &[u8]) -> Outcome {
    for end in 0..=stream.len() {
        match feed([&stream[..end]]) {
            Ok(None) => {}
            outcome => return outcome,
        }
    }
    Ok(None)
}

/// The request line, and names and values.
type Naive = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

/// An independent reading of heads that were accepted: plain string splitting.
fn naive(head: &[u8]) -> Option<Naive> {
    let text: String = head.iter().map(|&byte| char::from(byte)).collect();
    let text = text.strip_prefix("\r\n").unwrap_or(&text);
    let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
    let bytes = |text: &str| text.chars().map(|c| u8::try_from(c).expect("from a byte")).collect::<Vec<u8>>();
    let request = bytes(lines.next()?);
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((bytes(name), bytes(value.trim_matches([' ', '\t']))))
    };
    Some((request, lines.map(header).collect::<Option<_>>()?))
}

/// Streams that are nearly heads: good lines, bad lines and noise in any order.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "GET /ws/a?b=%20 HTTP/1.0\r\n", "Host: a\r\n", "Connection: Upgrade, close\r\n",
            "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "X:\r\n", "x : 1\r\n", " fold\r\n", "\r\n",
            "PUT a b HTTP/1.1\r\n", "GET / HTTP/9.9\r\n",
        ]).prop_map(|line| line.as_bytes().to_vec()),
        1 => prop::sample::select(vec!["\r", "\n", "\0", ":", " ", "HTTP/1.1", "é"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    (any::<bool>(), prop::collection::vec(piece, 0..9)).prop_map(|(good_start, pieces)| {
        let start: &[u8] = if good_start { b"GET / HTTP/1.1\r\nHost: a\r\n" } else { b"" };
        [start, &pieces.concat(), if good_start { b"\r\n" } else { b"" }].concat()
    })
}

proptest! {
    #[test]
    fn any_split_gives_what_the_twin_gives(
        stream in streams(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let outcome = feed(cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]));
        prop_assert_eq!(&outcome, &twin(&stream));
    }

    #[test]
    fn accepted_heads_mean_what_they_plainly_say(stream in streams()) {
        let (mut reader, mut slots) = (HeadReader::new(), Slots::new());
        if let Ok(Some((head, end))) = reader.read(&stream, &mut slots) {
            let (request, headers) = naive(&stream[..end]).expect("plain splitting understands it");
            let version = if head.version() == Version::Http10 { "HTTP/1.0" } else { "HTTP/1.1" };
            prop_assert_eq!(request, format!("{} {} {version}", head.method(), head.target()).into_bytes());
            let got: Vec<_> = head.headers().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
            prop_assert_eq!(got, headers);
        }
    }

    /// A good handshake with some bytes changed: refused or read, never a panic.
    #[test]
    fn mutated_handshakes(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)) {
        let mut stream = HANDSHAKE.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        prop_assert_eq!(feed(stream.chunks(3)), feed([&stream[..]]));
    }
}
