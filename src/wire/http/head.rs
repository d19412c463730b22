//! Request heads of HTTP/1.1: bytes that come in any pieces, under caps, become one view that borrows from
//! them.
//!
//! Knows no routes, reads no bodies and never guesses: what RFC 9112 leaves to the recipient's mercy (a bare
//! LF, folded lines, blanks before a colon, two lengths) is refused, since proxies disagree about it.
//!
//! ```text
//! GET /ws/lobby?token=… HTTP/1.1 CR LF     ≤ METHOD_BYTES_MAX, TARGET_BYTES_MAX
//! Host: example.org CR LF                  ≤ HEADERS_MAX lines of ≤ HEADER_LINE_BYTES_MAX
//! CR LF                                    ≤ HEAD_BYTES_MAX to here; what follows is not ours
//! ```

use std::fmt;
use std::mem::MaybeUninit;

use httparse::Header;
use memchr::{memchr, memchr2, memrchr};

/// Longest head, its blank line included: four times what browsers with many cookies send.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest request target; room for a token of some kilobytes in the query.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Most header lines.
pub const HEADERS_MAX: usize = 100;
/// Longest header line without its line end; the same as other servers use for one line.
pub const HEADER_LINE_BYTES_MAX: usize = 8 * 1024;
/// Longest method; the longest registered one has 17 letters.
pub const METHOD_BYTES_MAX: usize = 32;
/// Longest request line without its line end: method, target and `HTTP/1.1` with a blank between.
const REQUEST_LINE_BYTES_MAX: usize = METHOD_BYTES_MAX + 1 + TARGET_BYTES_MAX + 1 + VERSION_BYTES;
const VERSION_BYTES: usize = "HTTP/1.1".len();
/// CR LF.
const LINE_END_BYTES: usize = 2;

const _: () = assert!(REQUEST_LINE_BYTES_MAX < HEAD_BYTES_MAX && HEADER_LINE_BYTES_MAX < HEAD_BYTES_MAX);

/// Why a head is refused; `answer::Problem` has the status and the text of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// The first bytes are no method: TLS, SOCKS or another protocol, or blanks before the method.
    Method,
    /// A method longer than [`METHOD_BYTES_MAX`].
    MethodTooLong,
    /// The request line is not `method target HTTP/x.y` with one blank between.
    RequestLine,
    /// A target that is empty or holds blanks, control characters or bytes that are not UTF-8.
    Target,
    /// A target longer than [`TARGET_BYTES_MAX`].
    TargetTooLong,
    /// A version of HTTP other than 1.0 and 1.1.
    Version,
    /// A line that does not end with CR LF, or a CR within a line.
    LineEnd,
    /// More than [`HEAD_BYTES_MAX`].
    TooLong,
    /// A header line longer than [`HEADER_LINE_BYTES_MAX`].
    HeaderTooLong,
    /// More than [`HEADERS_MAX`] header lines.
    TooManyHeaders,
    /// A line that begins with a blank: obsolete folding (RFC 9112 §5.2).
    Folded,
    /// No colon, no name, or a name that is not a token, as with a blank before the colon (RFC 9112 §5.1).
    HeaderName,
    /// A control character in a value.
    HeaderValue,
    /// HTTP/1.1 without `Host` (RFC 9112 §3.2).
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// A `Host` that is not a host and port.
    Host,
    /// `Content-Length` is not a decimal number below 2^64, or there are two that differ.
    ContentLength,
    /// `Transfer-Encoding` other than one `chunked`, or in HTTP/1.0 (RFC 9112 §6.1).
    TransferEncoding,
    /// `Content-Length` and `Transfer-Encoding` together: the mark of request smuggling.
    LengthAndEncoding,
}

/// Version of the request; others are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: answered, then closed; never upgraded.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// What follows the head, as its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing: no length, or length 0.
    None,
    /// That many bytes, at least 1; claimed by the client, so nothing is to be allocated for it.
    Length(u64),
    /// Chunks (RFC 9112 §7.1).
    Chunked,
}

/// Room for the parsed headers; lives on the caller's stack, never cleared, as only written slots are read.
pub struct Slots<'b>([MaybeUninit<Header<'b>>; HEADERS_MAX]);

impl Slots<'_> {
    /// Unwritten slots.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Slots([const { MaybeUninit::uninit() }; HEADERS_MAX])
    }
}

impl Default for Slots<'_> {
    fn default() -> Self {
        Slots::new()
    }
}

impl fmt::Debug for Slots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slots")
    }
}

/// Collects one head after the other; holds bytes only while a head is incomplete.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// What came so far of a head that did not come in one piece. Invariant: at most [`HEAD_BYTES_MAX`] long.
    held: Vec<u8>,
    scan: Scan,
    /// `held` is a head that was given out: the next read begins a new one.
    done: bool,
}

impl HeadReader {
    /// A reader at the start of a head; allocates nothing.
    #[must_use]
    pub fn new() -> HeadReader {
        HeadReader::default()
    }

    /// Whether part of a head is held: the peer began a request and has not finished it.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.done && !self.held.is_empty()
    }

    /// The bytes of the head that was read last, if they came in pieces.
    #[must_use]
    pub fn pieces(&self) -> Option<&[u8]> {
        self.done.then(|| &self.held[..self.scan.line])
    }

    /// Takes what was read from the socket. `None`: all of `input` is kept and more is needed. Otherwise the
    /// head and how many bytes of `input` belong to it; the rest are frames, a body or the next request.
    ///
    /// A head that lies in `input` whole is parsed where it is. Any split of the same bytes gives the same
    /// result, in time linear in the bytes. After a head the reader is ready for the next one; dropping it
    /// frees the held bytes.
    ///
    /// # Errors
    /// Caps, line ends and the request line: at the first byte that breaks them; names, values and what
    /// headers say together: when the head is whole. The connection is then to be answered and closed.
    pub fn read<'h, 'b: 'h>(
        &'b mut self,
        input: &'b [u8],
        slots: &'h mut Slots<'b>,
    ) -> Result<Option<(Head<'h>, usize)>, HeadError> {
        if self.done {
            *self = HeadReader::default();
        }
        let held = self.held.len();
        if held == 0 {
            let Some(end) = self.scan.resume(input)? else {
                debug_assert!(input.len() < HEAD_BYTES_MAX, "the scan refuses longer ones");
                self.held.extend_from_slice(input);
                return Ok(None);
            };
            self.scan = Scan::default();
            return Ok(Some((Head::parse(&input[..end], slots)?, end)));
        }
        let room = HEAD_BYTES_MAX - held;
        self.held.extend_from_slice(&input[..input.len().min(room)]);
        let Some(end) = self.scan.resume(&self.held)? else { return Ok(None) };
        self.done = true;
        assert!(end > held, "the head was incomplete before this input");
        Ok(Some((Head::parse(&self.held[..end], slots)?, end - held)))
    }
}

/// How far the search for the end of the head got. It goes line by line, so that caps, bare CR and bare LF
/// are found at the byte that breaks them, and remembers its place, so that the work is linear in the bytes
/// however many pieces.
///
/// Its outcome depends on the bytes up to the one that decides it, never on how they were split.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    /// Start of the line that is being read; all before it are whole lines that were judged.
    line: usize,
    /// No CR or LF between `line` and here.
    searched: usize,
    /// The one empty line before the request line was skipped.
    skipped: bool,
    /// Whole lines so far, the request line included.
    lines: usize,
}

impl Scan {
    /// Looks on in `bytes`, which are those of the last call and perhaps more. Some: the length of the head.
    fn resume(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        loop {
            if self.lines == 0 {
                self.check_method(&bytes[self.line..])?;
            }
            let Some(end) = self.line_end(bytes)? else { return Ok(None) };
            let line = &bytes[self.line..end];
            self.line = end + LINE_END_BYTES;
            self.searched = self.line;
            match (self.lines, line.first()) {
                // RFC 9112 §2.2: one empty line before the request line is to be ignored; `check_method`
                // refuses two.
                (0, None) => self.skipped = true,
                (0, Some(_)) => {
                    check_request_line(line)?;
                    self.lines = 1;
                }
                (_, None) => return Ok(Some(self.line)),
                (_, Some(b' ' | b'\t')) => return Err(HeadError::Folded),
                (lines, Some(_)) if lines > HEADERS_MAX => return Err(HeadError::TooManyHeaders),
                (_, Some(_)) => self.lines += 1,
            }
        }
    }

    /// Where the current line's CR LF stands. None: it has not come yet.
    fn line_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        let (line_max, too_long) = match self.lines {
            0 => (REQUEST_LINE_BYTES_MAX, HeadError::TargetTooLong),
            _ => (HEADER_LINE_BYTES_MAX, HeadError::HeaderTooLong),
        };
        // Bytes from here on cannot belong to a good head. Never look at them: they may come now or later.
        let limit = HEAD_BYTES_MAX.min(self.line + line_max + LINE_END_BYTES);
        let window = &bytes[..bytes.len().min(limit)];
        match memchr2(b'\r', b'\n', &window[self.searched..]) {
            Some(found) => {
                self.searched += found;
                match window.get(self.searched..self.searched + LINE_END_BYTES) {
                    Some(b"\r\n") => return Ok(Some(self.searched)),
                    Some(_) => return Err(HeadError::LineEnd),
                    None if window[self.searched] == b'\n' => return Err(HeadError::LineEnd),
                    None => {}
                }
            }
            None => self.searched = window.len(),
        }
        if window.len() == HEAD_BYTES_MAX {
            Err(HeadError::TooLong)
        } else if window.len() == limit {
            Err(too_long)
        } else {
            Ok(None)
        }
    }

    /// Judges the start of the request line as far as it is there: what speaks another protocol is told at
    /// once, not when time is up.
    fn check_method(&self, line: &[u8]) -> Result<(), HeadError> {
        if !self.skipped && line.first() == Some(&b'\r') {
            return Ok(());
        }
        for (at, &byte) in line.iter().take(METHOD_BYTES_MAX + 1).enumerate() {
            if byte == b' ' && at > 0 {
                return Ok(());
            }
            if !is_token_byte(byte) {
                return Err(HeadError::Method);
            }
        }
        if line.len() > METHOD_BYTES_MAX { Err(HeadError::MethodTooLong) } else { Ok(()) }
    }
}

/// Judges a whole request line whose method is good. The target's bytes are left to `httparse`.
fn check_request_line(line: &[u8]) -> Result<(), HeadError> {
    let (Some(first), Some(last)) = (memchr(b' ', line), memrchr(b' ', line)) else {
        return Err(HeadError::RequestLine);
    };
    if first == last {
        return Err(HeadError::RequestLine);
    }
    let target = &line[first + 1..last];
    if target.len() > TARGET_BYTES_MAX {
        return Err(HeadError::TargetTooLong);
    }
    match &line[last + 1..] {
        b"HTTP/1.1" | b"HTTP/1.0" => {}
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(HeadError::Version),
        _ => return Err(HeadError::RequestLine),
    }
    if target.is_empty() || memchr(b' ', target).is_some() { Err(HeadError::Target) } else { Ok(()) }
}

/// RFC 9110 §5.6.2: what names of methods and headers are made of.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A whole request head; borrows from the bytes that were read.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    method: &'a str,
    target: &'a str,
    version: Version,
    headers: &'a [Header<'a>],
    body: Body,
}

impl<'a> Head<'a> {
    /// Parses a head whose lines [`Scan`] has judged.
    fn parse<'b: 'a>(bytes: &'b [u8], slots: &'a mut Slots<'b>) -> Result<Head<'a>, HeadError> {
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(bytes, &mut slots.0).map_err(|error| match error {
            httparse::Error::Token => HeadError::Target,
            httparse::Error::Version => HeadError::Version,
            httparse::Error::NewLine => HeadError::LineEnd,
            httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
            httparse::Error::HeaderName => HeadError::HeaderName,
            httparse::Error::HeaderValue => HeadError::HeaderValue,
            httparse::Error::Status => HeadError::RequestLine,
        })?;
        // Scan and parser must agree where the head ends, or the bytes after it would be read as something
        // they are not.
        if parsed != httparse::Status::Complete(bytes.len()) {
            return Err(HeadError::LineEnd);
        }
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
        else {
            return Err(HeadError::RequestLine);
        };
        let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        let headers: &'a [Header<'a>] = request.headers;
        let body = check_host_and_body(headers, version)?;
        Ok(Head { method, target, version, headers, body })
    }

    /// The method as sent; methods are case-sensitive.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The request target as sent: not empty, no blanks, no control characters of ASCII; see
    /// `target::Target`.
    #[must_use]
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// HTTP/1.0 or 1.1.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// What follows the head.
    #[must_use]
    pub fn body(&self) -> Body {
        self.body
    }

    /// All headers as sent, in order: name, value without blanks around it.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// The values of all headers of this name, in order. Values hold no control characters, but perhaps bytes
    /// above 127.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// The value of the first header of this name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The members of a comma-separated list, which may be spread over several headers (RFC 9110 §5.3); empty
    /// members are left out.
    pub fn tokens<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.all(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|token| !token.is_empty())
    }

    /// Whether a comma-separated list has this member, in any case.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether the client expects the connection to stay open after the answer; with HTTP/1.0 it is closed
    /// always.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.version == Version::Http11 && !self.has_token("connection", "close")
    }
}

/// One pass over the headers that decide where the request ends and whom it is for.
fn check_host_and_body(headers: &[Header<'_>], version: Version) -> Result<Body, HeadError> {
    let mut host_seen = false;
    let mut length = None;
    let mut chunked = false;
    for Header { name, value } in headers {
        // Lengths first: most headers are none of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => {
                if host_seen {
                    return Err(HeadError::HostRepeated);
                }
                if !value.iter().copied().all(is_host_byte) {
                    return Err(HeadError::Host);
                }
                host_seen = true;
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                let parsed = decimal(value).ok_or(HeadError::ContentLength)?;
                if length.is_some_and(|other| other != parsed) {
                    return Err(HeadError::ContentLength);
                }
                length = Some(parsed);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                if chunked || version == Version::Http10 || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::TransferEncoding);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    match (length, chunked) {
        _ if !host_seen && version == Version::Http11 => Err(HeadError::HostMissing),
        (Some(_), true) => Err(HeadError::LengthAndEncoding),
        (None, true) => Ok(Body::Chunked),
        (None | Some(0), false) => Ok(Body::None),
        (Some(length), false) => Ok(Body::Length(length)),
    }
}

/// RFC 3986 §3.2.2, less strictly: letters of names, addresses and ports, but nothing that ends an authority.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(&byte)
}

/// Digits only. `str::parse` would take a `+`, which proxies read otherwise.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, &digit| {
        let value = u64::from(digit.checked_sub(b'0').filter(|value| *value <= 9)?);
        sum.checked_mul(10)?.checked_add(value)
    })
}

#[cfg(test)]
mod tests;
