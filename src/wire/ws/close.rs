//! Close codes and the payload of close frames (RFC 6455 §5.5.1 and §7.4).
//!
//! Knows which codes exist and which may travel; never decides when to close.

use std::fmt;

use crate::wire::ws::frame::CONTROL_BYTES_MAX;
use crate::wire::ws::utf8;

/// Longest reason, in bytes of UTF-8: a control frame's payload without the code.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// Why a connection is closed, as a number that travels in close frames.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server shuts down, or the page was left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// A kind of message that this endpoint does not take.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// Text that is not UTF-8.
    pub const INVALID_TEXT: CloseCode = CloseCode(1007);
    /// Against a rule that has no code of its own: per-user and per-address limits, origins.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message over the limit.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// The server failed.
    pub const INTERNAL: CloseCode = CloseCode(1011);
    /// Over capacity; come back later.
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);
    /// No token, or a bad one.
    pub const UNAUTHORIZED: CloseCode = CloseCode(4001);
    /// No token came in time.
    pub const AUTH_TIMEOUT: CloseCode = CloseCode(4002);
    /// Nothing was said for too long.
    pub const IDLE_TIMEOUT: CloseCode = CloseCode(4003);
    /// The send queue is full: the client does not read as fast as it is sent to.
    pub const SLOW_CONSUMER: CloseCode = CloseCode(4004);
    /// More messages than allowed, again and again.
    pub const RATE_LIMITED: CloseCode = CloseCode(4005);
    /// No sign of life after a ping.
    pub const HEARTBEAT_TIMEOUT: CloseCode = CloseCode(4006);
    /// The token's time is over.
    pub const TOKEN_EXPIRED: CloseCode = CloseCode(4007);
    /// An operator disconnected the client through the API.
    pub const DISCONNECTED: CloseCode = CloseCode(4008);

    /// Whether the code may stand in a close frame.
    ///
    /// §7.4.1 and the IANA registry name 1000 to 1003 and 1007 to 1014; 1004 is reserved; 1005, 1006 and
    /// 1015 are for endpoints to tell themselves and "MUST NOT be set"; §7.4.2 gives 3000 to 4999 away.
    #[must_use]
    pub fn may_travel(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a close frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// None: the frame was empty (what §7.1.5 calls 1005).
    pub code: Option<CloseCode>,
    /// For people and logs; often empty.
    pub reason: &'a str,
}

/// Why a payload is not one of a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// One byte is half a code.
    HalfCode,
    /// A code that must not travel.
    Code(CloseCode),
    /// The reason is not UTF-8.
    Reason,
}

/// Reads the unmasked payload of a close frame.
///
/// # Errors
/// Says what is wrong with it.
pub fn read(payload: &[u8]) -> Result<Close<'_>, Invalid> {
    // §5.5.1 "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer (in
    // network byte order) representing a status code".
    let Some((&code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(Close { code: None, reason: "" })
        } else {
            Err(Invalid::HalfCode)
        };
    };
    let code = CloseCode(u16::from_be_bytes(code));
    if !code.may_travel() {
        return Err(Invalid::Code(code));
    }
    // §5.5.1 "the body MAY contain UTF-8-encoded data with value /reason/".
    let reason = simdutf8::basic::from_utf8(reason).map_err(|_| Invalid::Reason)?;
    Ok(Close { code: Some(code), reason })
}

/// The payload of a close frame, and how many bytes of the array it takes. A reason above
/// [`REASON_BYTES_MAX`] is cut after the last character that fits.
///
/// # Panics
/// In debug builds, if the code must not travel.
#[must_use]
pub fn write(code: CloseCode, reason: &str) -> ([u8; CONTROL_BYTES_MAX], usize) {
    debug_assert!(code.may_travel(), "{code} must not be set in a close frame");
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    let mut payload = [0; CONTROL_BYTES_MAX];
    payload[..2].copy_from_slice(&code.0.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason);
    debug_assert!(utf8::is_valid(reason), "cut within a character");
    (payload, 2 + reason.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(code: u16, reason: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes(), reason].concat()
    }

    #[test]
    fn codes_that_may_travel() {
        // The registry row by row, not as ranges: the dull version.
        let registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
        for code in 0..=u16::MAX {
            let may = registered.contains(&code) || (3000..5000).contains(&code);
            assert_eq!(CloseCode(code).may_travel(), may, "{code}");
            let expected = if may { Ok(Some(CloseCode(code))) } else { Err(Invalid::Code(CloseCode(code))) };
            assert_eq!(read(&payload(code, b"")).map(|close| close.code), expected);
        }
    }

    #[test]
    fn reads_what_rfc_allows() {
        assert_eq!(read(b""), Ok(Close { code: None, reason: "" }));
        assert_eq!(read(b"\x03"), Err(Invalid::HalfCode));
        let close = payload(1000, "tschüß".as_bytes());
        assert_eq!(read(&close), Ok(Close { code: Some(CloseCode::NORMAL), reason: "tschüß" }));
        assert_eq!(read(&payload(1000, b"\xce\xba\xe1")), Err(Invalid::Reason));
        assert_eq!(read(&payload(1005, b"\xff")), Err(Invalid::Code(CloseCode(1005))));
    }

    #[test]
    fn what_is_written_is_read_and_fits() {
        let long = "é".repeat(100);
        for (reason, kept) in
            [("", ""), ("bye", "bye"), (&long[..], &long[..122]), (&long[..122], &long[..122])]
        {
            let (payload, len) = write(CloseCode::SLOW_CONSUMER, reason);
            assert_eq!(
                read(&payload[..len]),
                Ok(Close { code: Some(CloseCode::SLOW_CONSUMER), reason: kept })
            );
        }
        let (_, len) = write(CloseCode::NORMAL, &"x".repeat(200));
        assert_eq!(len, CONTROL_BYTES_MAX);
    }
}
