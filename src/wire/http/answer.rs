//! Complete answers: status line, headers and body, written to the end of a buffer.
//!
//! Repeats nothing that a client sent: problems are told in fixed texts, and what a caller adds to the
//! headers cannot end a line. Names no server, no version and no date.

use std::io::Write as _;

use super::body::BodyError;
use super::head::HeadError;
use super::target::TargetError;

/// Every status that is ever sent; 100 is [`go_on`], 101 [`switch_protocols`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200.
    Ok,
    /// 304; has no body.
    NotModified,
    /// 400.
    BadRequest,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 405; the answer names the allowed methods.
    MethodNotAllowed,
    /// 408.
    RequestTimeout,
    /// 413.
    ContentTooLarge,
    /// 414.
    UriTooLong,
    /// 415.
    UnsupportedMediaType,
    /// 417.
    ExpectationFailed,
    /// 422.
    UnprocessableContent,
    /// 426; the answer names the protocol and its version.
    UpgradeRequired,
    /// 429.
    TooManyRequests,
    /// 431.
    HeaderFieldsTooLarge,
    /// 500.
    InternalServerError,
    /// 503.
    ServiceUnavailable,
    /// 505.
    HttpVersionNotSupported,
}

/// Status, reason phrase (RFC 9110 §15), and the `code` of the JSON body for who needs no finer one.
type Row = (u16, &'static str, &'static str);

impl Status {
    const fn row(self) -> Row {
        match self {
            Status::Ok => (200, "OK", "ok"),
            Status::NotModified => (304, "Not Modified", "not_modified"),
            Status::BadRequest => (400, "Bad Request", "bad_request"),
            Status::Unauthorized => (401, "Unauthorized", "unauthorized"),
            Status::Forbidden => (403, "Forbidden", "forbidden"),
            Status::NotFound => (404, "Not Found", "not_found"),
            Status::MethodNotAllowed => (405, "Method Not Allowed", "method_not_allowed"),
            Status::RequestTimeout => (408, "Request Timeout", "request_timeout"),
            Status::ContentTooLarge => (413, "Content Too Large", "content_too_large"),
            Status::UriTooLong => (414, "URI Too Long", "uri_too_long"),
            Status::UnsupportedMediaType => (415, "Unsupported Media Type", "unsupported_media_type"),
            Status::ExpectationFailed => (417, "Expectation Failed", "expectation_failed"),
            Status::UnprocessableContent => (422, "Unprocessable Content", "unprocessable"),
            Status::UpgradeRequired => (426, "Upgrade Required", "upgrade_required"),
            Status::TooManyRequests => (429, "Too Many Requests", "rate_limited"),
            Status::HeaderFieldsTooLarge => (431, "Request Header Fields Too Large", "headers_too_large"),
            Status::InternalServerError => (500, "Internal Server Error", "internal"),
            Status::ServiceUnavailable => (503, "Service Unavailable", "unavailable"),
            Status::HttpVersionNotSupported => (505, "HTTP Version Not Supported", "version_not_supported"),
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.row().0
    }
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next request may come.
    Keep,
    /// The caller closes when all is written. After every problem in a head: nobody knows where the next
    /// request would begin.
    Close,
}

/// A header for pages: the type that is told is the type that is meant.
pub const NOSNIFF: (&str, &str) = ("X-Content-Type-Options", "nosniff");

/// One answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: Status,
    /// MIME type of the body.
    pub content_type: &'a str,
    /// Further headers. Bytes of values that are not printable ASCII are sent as `?`.
    pub headers: &'a [(&'static str, &'a str)],
    /// The body; only its length is told to `HEAD`.
    pub body: &'a [u8],
    /// The request was `HEAD`.
    pub head_only: bool,
    /// Whether the connection stays.
    pub after: After,
}

impl Answer<'_> {
    /// Writes the whole answer to the end of `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        status_line(out, self.status);
        for (name, value) in self.headers {
            header(out, name, value);
        }
        header(out, "Connection", if self.after == After::Keep { "keep-alive" } else { "close" });
        self.write_body(out);
    }

    /// Writes what describes the body, the empty line, and the body.
    fn write_body(&self, out: &mut Vec<u8>) {
        // RFC 9110 §15.4.5: what a 304 says of the body is about one that is not sent.
        if self.status == Status::NotModified {
            out.extend_from_slice(b"\r\n");
            return;
        }
        header(out, "Content-Type", self.content_type);
        // Writing to a Vec cannot fail.
        let _ = write!(out, "Content-Length: {}\r\n\r\n", self.body.len());
        if !self.head_only {
            out.extend_from_slice(self.body);
        }
    }
}

/// What the headers of a problem tell beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Nothing.
    None,
    /// 405: the methods, comma-separated.
    Allow(&'static str),
    /// 429 and 503: when to come back, in seconds.
    RetryAfter(u32),
    /// 401: what to show, a key or a token (RFC 6750 §3).
    Bearer,
    /// 426: a WebSocket of version 13 (RFC 6455 §4.2.2, RFC 9110 §15.5.22).
    WebSocket,
}

/// A refusal as the client sees it: all of it is fixed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: Status,
    /// For programs: lower-case words with `_`.
    pub code: &'static str,
    /// For people: one English sentence.
    pub text: &'static str,
    /// What the headers add.
    pub hint: Hint,
}

impl Problem {
    /// A problem with the usual code of its status.
    #[must_use]
    pub const fn new(status: Status, text: &'static str) -> Problem {
        let hint = match status {
            Status::UpgradeRequired => Hint::WebSocket,
            _ => Hint::None,
        };
        Problem { status, code: status.row().2, text, hint }
    }

    /// The same with this hint.
    #[must_use]
    pub const fn with(self, hint: Hint) -> Problem {
        Problem { hint, ..self }
    }

    /// Writes the whole answer, its body `{"error":{"code":…,"message":…}}`, to the end of `out`.
    pub fn write(&self, out: &mut Vec<u8>, head_only: bool, after: After) {
        let plain =
            |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !b"\"\\".contains(&byte));
        debug_assert!(plain(self.code) && plain(self.text), "fixed texts need no escapes");
        let body = ["{\"error\":{\"code\":\"", self.code, "\",\"message\":\"", self.text, "\"}}"].concat();

        status_line(out, self.status);
        header(out, NOSNIFF.0, NOSNIFF.1);
        header(out, "Cache-Control", "no-store");
        let mut connection = if after == After::Keep { "keep-alive" } else { "close" };
        match self.hint {
            Hint::None => {}
            Hint::Allow(methods) => header(out, "Allow", methods),
            Hint::Bearer => header(out, "WWW-Authenticate", "Bearer"),
            Hint::RetryAfter(seconds) => drop(write!(out, "Retry-After: {seconds}\r\n")),
            Hint::WebSocket => {
                header(out, "Sec-WebSocket-Version", "13");
                header(out, "Upgrade", "websocket");
                connection = if after == After::Keep { "Upgrade" } else { "Upgrade, close" };
            }
        }
        header(out, "Connection", connection);
        let content_type = "application/json";
        let body = body.as_bytes();
        Answer { status: self.status, content_type, headers: &[], body, head_only, after }.write_body(out);
    }
}

/// Writes the 100 that tells a client to send the body it holds back (RFC 9110 §15.2.1).
pub fn go_on(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Writes the 101 that turns the connection into a WebSocket (RFC 6455 §4.2.2). `subprotocol` is one of our
/// own words, never the client's.
pub fn switch_protocols(out: &mut Vec<u8>, accept: &[u8; 28], subprotocol: Option<&'static str>) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept);
    out.extend_from_slice(b"\r\n");
    if let Some(subprotocol) = subprotocol {
        header(out, "Sec-WebSocket-Protocol", subprotocol);
    }
    out.extend_from_slice(b"\r\n");
}

fn status_line(out: &mut Vec<u8>, status: Status) {
    let (number, reason, _) = status.row();
    let _ = write!(out, "HTTP/1.1 {number} {reason}\r\n");
}

/// Writes one header line. A value can neither end the line nor hold other control characters.
fn header(out: &mut Vec<u8>, name: &'static str, value: &str) {
    debug_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend(value.bytes().map(|byte| if (b' '..=b'~').contains(&byte) { byte } else { b'?' }));
    out.extend_from_slice(b"\r\n");
}

impl From<HeadError> for Problem {
    fn from(error: HeadError) -> Problem {
        use Status::{BadRequest, HeaderFieldsTooLarge, HttpVersionNotSupported, UriTooLong};
        let (status, text) = match error {
            HeadError::Method => (BadRequest, "This is not an HTTP request."),
            HeadError::MethodTooLong => (BadRequest, "The method is too long."),
            HeadError::RequestLine => (BadRequest, "The request line is malformed."),
            HeadError::Target => (BadRequest, "The request target holds characters that are not allowed."),
            HeadError::TargetTooLong => (UriTooLong, "The request target is too long."),
            HeadError::Version => (HttpVersionNotSupported, "Only HTTP/1.1 and HTTP/1.0 are spoken here."),
            HeadError::LineEnd => (BadRequest, "Lines of a request end with CR LF."),
            HeadError::TooLong => (HeaderFieldsTooLarge, "The request head is too long."),
            HeadError::HeaderTooLong => (HeaderFieldsTooLarge, "A header is too long."),
            HeadError::TooManyHeaders => (HeaderFieldsTooLarge, "There are too many headers."),
            HeadError::Folded => (BadRequest, "A header line begins with a blank."),
            HeadError::HeaderName => (BadRequest, "A header line has no valid name and colon."),
            HeadError::HeaderValue => (BadRequest, "A header value holds a control character."),
            HeadError::HostMissing => (BadRequest, "The Host header is missing."),
            HeadError::HostRepeated => (BadRequest, "There is more than one Host header."),
            HeadError::Host => (BadRequest, "The Host header is malformed."),
            HeadError::ContentLength => (BadRequest, "The Content-Length header is malformed."),
            HeadError::TransferEncoding => (BadRequest, "Only Transfer-Encoding: chunked is understood."),
            HeadError::LengthAndEncoding => {
                (BadRequest, "Content-Length and Transfer-Encoding exclude each other.")
            }
        };
        Problem::new(status, text)
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Problem {
        let (status, text) = match error {
            BodyError::TooLong => (Status::ContentTooLarge, "The body is longer than --max-message allows."),
            BodyError::ChunkSize => (Status::BadRequest, "The size of a chunk is malformed."),
            BodyError::LineEnd => (Status::BadRequest, "Chunks and their lines end with CR LF."),
            BodyError::LineTooLong => (Status::BadRequest, "There is too much beside the chunks themselves."),
        };
        Problem::new(status, text)
    }
}

impl From<TargetError> for Problem {
    fn from(error: TargetError) -> Problem {
        let text = match error {
            TargetError::NotAPath => "The request target is not a path.",
            TargetError::Authority => "The request target is not an address of this server.",
            TargetError::Fragment => "The request target holds a fragment.",
            TargetError::Escape => "The request target holds a broken percent escape.",
            TargetError::NotUtf8 => "The request target is not valid UTF-8.",
        };
        Problem::new(Status::BadRequest, text)
    }
}

/// Writes an answer, and more header lines, each with its line end, behind its first line.
pub fn with_headers(out: &mut Vec<u8>, headers: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    if headers.is_empty() {
        return;
    }
    if let Some(end) = out[start..].iter().position(|byte| *byte == b'\n') {
        let at = start + end + 1;
        out.splice(at..at, headers.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("answers are text in these tests")
    }

    fn page(head_only: bool, after: After) -> String {
        let headers = [NOSNIFF, ("Content-Security-Policy", "default-src 'self'")];
        let (content_type, body) = ("text/html; charset=utf-8", &b"<p>hello</p>"[..]);
        text(|out| {
            Answer { status: Status::Ok, content_type, headers: &headers, body, head_only, after }.write(out)
        })
    }

    const PAGE_HEAD: &str = "HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\n\
        Content-Security-Policy: default-src 'self'\r\nConnection: keep-alive\r\n\
        Content-Type: text/html; charset=utf-8\r\nContent-Length: 12\r\n\r\n";

    #[test]
    fn a_page() {
        assert_eq!(page(false, After::Keep), format!("{PAGE_HEAD}<p>hello</p>"));
        assert_eq!(page(true, After::Keep), PAGE_HEAD);
        assert!(page(false, After::Close).contains("\r\nConnection: close\r\n"));
    }

    #[test]
    fn not_modified_has_no_body() {
        let headers = [("ETag", "\"a\"")];
        let answer = Answer {
            status: Status::NotModified,
            content_type: "text/html",
            headers: &headers,
            body: b"never sent",
            head_only: false,
            after: After::Keep,
        };
        let want = "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(text(|out| answer.write(out)), want);
    }

    #[test]
    fn problems_are_json_and_their_hints_are_headers() {
        let problem = |problem: Problem, after| text(|out| problem.write(out, false, after));
        let not_found = problem(Problem::new(Status::NotFound, "There is nothing here."), After::Keep);
        let want = "HTTP/1.1 404 Not Found\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\
            Connection: keep-alive\r\nContent-Type: application/json\r\nContent-Length: 65\r\n\r\n\
            {\"error\":{\"code\":\"not_found\",\"message\":\"There is nothing here.\"}}";
        assert_eq!(not_found, want);

        let method = Problem::new(Status::MethodNotAllowed, "Ask otherwise.").with(Hint::Allow("GET, HEAD"));
        assert!(problem(method, After::Close).contains("\r\nAllow: GET, HEAD\r\nConnection: close\r\n"));
        let busy = Problem::new(Status::ServiceUnavailable, "Later.").with(Hint::RetryAfter(7));
        assert!(problem(busy, After::Close).contains("\r\nRetry-After: 7\r\n"));
        let upgrade = problem(Problem::new(Status::UpgradeRequired, "Upgrade."), After::Close);
        let want = "\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n";
        assert!(upgrade.contains(want));
        let head_only = text(|out| Problem::new(Status::NotFound, "No.").write(out, true, After::Keep));
        assert!(head_only.ends_with("Content-Length: 46\r\n\r\n"), "{head_only}");
    }

    #[test]
    fn the_101() {
        let accept = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let want = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert_eq!(text(|out| switch_protocols(out, accept, None)), format!("{want}\r\n"));
        let with = format!("{want}Sec-WebSocket-Protocol: roomcast.v1\r\n\r\n");
        assert_eq!(text(|out| switch_protocols(out, accept, Some("roomcast.v1"))), with);
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let line = text(|out| header(out, "ETag", "a\r\nX-Injected: 1\r\n\r\n\u{b}\u{85}\u{7f}é"));
        assert_eq!(line, "ETag: a??X-Injected: 1??????????\r\n");
        assert_eq!(line.matches('\n').count(), 1);
    }

    /// Every text stands the assertion in `write`, and none says what software this is.
    #[test]
    fn all_refusals_of_heads_and_targets_can_be_written() {
        use HeadError as H;
        let heads = [
            (H::Method, 400),
            (H::MethodTooLong, 400),
            (H::RequestLine, 400),
            (H::Target, 400),
            (H::TargetTooLong, 414),
            (H::Version, 505),
            (H::LineEnd, 400),
            (H::TooLong, 431),
            (H::HeaderTooLong, 431),
            (H::TooManyHeaders, 431),
            (H::Folded, 400),
            (H::HeaderName, 400),
            (H::HeaderValue, 400),
            (H::HostMissing, 400),
            (H::HostRepeated, 400),
            (H::Host, 400),
            (H::ContentLength, 400),
            (H::TransferEncoding, 400),
            (H::LengthAndEncoding, 400),
        ];
        use TargetError as T;
        let targets =
            [T::NotAPath, T::Authority, T::Fragment, T::Escape, T::NotUtf8].map(|error| (error, 400));
        let heads = heads.map(|(error, number)| (Problem::from(error), number));
        let targets = targets.map(|(error, number)| (Problem::from(error), number));
        for (problem, number) in heads.into_iter().chain(targets) {
            assert_eq!(problem.status.number(), number, "{problem:?}");
            let answer = text(|out| problem.write(out, false, After::Close));
            let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
            let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(body["error"]["message"], problem.text);
            assert!(!answer.contains("Server:") && !answer.contains("roomcast"), "{answer}");
        }
    }
}
