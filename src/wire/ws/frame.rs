//! Frame headers, read from clients and written to them (RFC 6455 §5.2).
//!
//! ```text
//!  byte 0             byte 1             then, if length is     then        then
//! ┌─┬─┬─┬─┬───────┐  ┌─┬─────────────┐  126       127          ┌─────────┐ ┌─────────┐
//! │F│R│R│R│opcode │  │M│   length    │ ┌───────┐ ┌──────────┐  │  key    │ │ payload │
//! │I│S│S│S│       │  │A│  0 to 125,  │ │16 bits│ │ 64 bits, │  │ 4 bytes │ │ masked  │
//! │N│V│V│V│4 bits │  │S│ 126 or 127  │ │       │ │ top bit 0│  │ if MASK │ │ if MASK │
//! │ │1│2│3│       │  │K│   7 bits    │ └───────┘ └──────────┘  └─────────┘ └─────────┘
//! └─┴─┴─┴─┴───────┘  └─┴─────────────┘  big endian
//! ```
//!
//! Never looks at payloads and keeps no state: what a header means after the ones before it is decided in
//! [`crate::wire::ws::message`].

/// Longest header of a client's frame: 2 + 8 bytes of length + 4 of key.
pub const CLIENT_HEADER_BYTES_MAX: usize = 14;
/// Longest header of a server's frame, which has no key.
pub const SERVER_HEADER_BYTES_MAX: usize = 10;
/// Longest payload of a control frame (§5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0b1000_0000;
const RESERVED: u8 = 0b0111_0000;
const OPCODE: u8 = 0b0000_1111;
const MASK: u8 = 0b1000_0000;
const LENGTH: u8 = 0b0111_1111;
/// Values of the 7-bit length that announce a longer one.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next part of a message.
    Continuation = 0x0,
    /// A message of UTF-8, or its first part.
    Text = 0x1,
    /// A message of bytes, or its first part.
    Binary = 0x2,
    /// The last frame in its direction.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping, or just says "alive".
    Pong = 0xa,
}

impl Opcode {
    /// Close, ping and pong: short, never fragmented, welcome between the fragments of a message.
    #[inline]
    #[must_use]
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    #[inline]
    fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return None,
        })
    }
}

/// Everything that a client's frame says before its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether this frame ends its message; always set in control frames.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// What the payload is XORed with.
    pub key: [u8; 4],
    /// Bytes of payload, as declared; below 2^63.
    pub payload_len: u64,
}

/// Why bytes are not a header that a client may send. All of these are protocol errors (1002).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// RSV1, RSV2 or RSV3 is set, and no extension gives them a meaning.
    ReservedBits,
    /// An opcode of 3 to 7 or 11 to 15.
    ReservedOpcode,
    /// A control frame without FIN.
    FragmentedControl,
    /// No mask.
    Unmasked,
    /// A control frame that declares more than [`CONTROL_BYTES_MAX`].
    LongControl,
    /// A length that a shorter form could have said.
    LengthNotMinimal,
    /// A 64-bit length with its top bit set.
    LengthTopBit,
}

/// Reads the header at the front of `bytes` and says how many bytes it has; none if more are needed.
///
/// # Errors
/// As soon as the bytes that are there can no longer become a header. The checks stand in the order of the
/// bytes, so that the verdict does not depend on how many have come.
#[inline]
pub fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    // §5.2 "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
    if first & RESERVED != 0 {
        return Err(Violation::ReservedBits);
    }
    // §5.2 "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
    let Some(opcode) = Opcode::from_bits(first & OPCODE) else {
        return Err(Violation::ReservedOpcode);
    };
    // §5.5 "All control frames […] MUST NOT be fragmented."
    let fin = first & FIN != 0;
    if opcode.is_control() && !fin {
        return Err(Violation::FragmentedControl);
    }

    let Some(&second) = bytes.get(1) else { return Ok(None) };
    // §5.1 "The server MUST close the connection upon receiving a frame that is not masked."
    if second & MASK == 0 {
        return Err(Violation::Unmasked);
    }
    // §5.5 "All control frames MUST have a payload length of 125 bytes or less".
    let short = second & LENGTH;
    if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
        return Err(Violation::LongControl);
    }

    let (payload_len, key_at) = if short < LENGTH_16 {
        (u64::from(short), 2)
    } else {
        match read_long_length(short, &bytes[2..])? {
            Some(found) => found,
            None => return Ok(None),
        }
    };
    let Some(&key) = bytes.get(key_at..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
    Ok(Some((Header { fin, opcode, key, payload_len }, key_at + 4)))
}

/// The length after byte 1, and where in the frame the key begins.
fn read_long_length(short: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    let (length, least, key_at) = if short == LENGTH_16 {
        let Some(&length) = bytes.first_chunk() else { return Ok(None) };
        (u64::from(u16::from_be_bytes(length)), u64::from(LENGTH_16), 4)
    } else {
        let Some(&length) = bytes.first_chunk() else { return Ok(None) };
        (u64::from_be_bytes(length), 1 << 16, 10)
    };
    // §5.2 "the minimal number of bytes MUST be used to encode the length".
    if length < least {
        return Err(Violation::LengthNotMinimal);
    }
    // §5.2 "a 64-bit unsigned integer (the most significant bit MUST be 0)".
    if length >> 63 != 0 {
        return Err(Violation::LengthTopBit);
    }
    Ok(Some((length, key_at)))
}

/// The header of a server's frame, and how many bytes of the array it takes.
///
/// Unmasked, as §5.1 demands of servers, with the shortest form of the length.
///
/// # Panics
/// In debug builds, if a control frame is fragmented or longer than [`CONTROL_BYTES_MAX`].
#[inline]
#[must_use]
pub fn write(fin: bool, opcode: Opcode, payload_len: usize) -> ([u8; SERVER_HEADER_BYTES_MAX], usize) {
    debug_assert!(!opcode.is_control() || (fin && payload_len <= CONTROL_BYTES_MAX), "no such control frame");
    let mut head = [0; SERVER_HEADER_BYTES_MAX];
    head[0] = if fin { FIN } else { 0 } | opcode as u8;
    // Each form is the shortest that can say the length: it fails to convert into all shorter ones.
    let len = if let Some(short) = u8::try_from(payload_len).ok().filter(|len| *len < LENGTH_16) {
        head[1] = short;
        2
    } else if let Ok(length) = u16::try_from(payload_len) {
        head[1] = LENGTH_16;
        head[2..4].copy_from_slice(&length.to_be_bytes());
        4
    } else {
        head[1] = LENGTH_64;
        head[2..].copy_from_slice(&(payload_len as u64).to_be_bytes());
        10
    };
    (head, len)
}

/// Encodes one text frame into `scratch` and gives it.
#[inline]
pub fn text(scratch: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
    encode(Opcode::Text, scratch, payload)
}

/// Encodes one whole frame into `scratch` and gives it: the header is as long as the payload demands, so room for the
/// longest is left in front of the payload that `payload` appends, and the frame begins where the real one does.
pub fn encode(opcode: Opcode, scratch: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
    scratch.clear();
    scratch.resize(SERVER_HEADER_BYTES_MAX, 0);
    payload(scratch);
    let (header, length) = write(true, opcode, scratch.len() - SERVER_HEADER_BYTES_MAX);
    let start = SERVER_HEADER_BYTES_MAX - length;
    scratch[start..SERVER_HEADER_BYTES_MAX].copy_from_slice(&header[..length]);
    &scratch[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    /// The bytes before the key, then the key and the first byte of a payload.
    fn with_key(start: &[u8]) -> Vec<u8> {
        [start, &KEY, &[0xff]].concat()
    }

    /// Reads every prefix: no verdict may change once it is there.
    fn check(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
        let verdict = read(bytes);
        for len in 0..bytes.len() {
            let prefix = read(&bytes[..len]);
            assert!(prefix == verdict || prefix == Ok(None), "{bytes:02x?}: {prefix:?} after {len} bytes");
            if let Ok(Some((_, head_len))) = verdict {
                assert_eq!(prefix.unwrap().is_some(), len >= head_len, "{bytes:02x?} after {len} bytes");
            }
        }
        verdict
    }

    #[test]
    fn reads_every_form_of_length() {
        let forms: [(&[u8], u64); 8] = [
            (&[0x82, 0x80], 0),
            (&[0x82, 0x80 | 125], 125),
            (&[0x82, 0xfe, 0, 126], 126),
            (&[0x82, 0xfe, 0x12, 0x34], 0x1234),
            (&[0x82, 0xfe, 0xff, 0xff], 0xffff),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], 0x1_0000),
            (&[0x82, 0xff, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef], 0x0123_4567_89ab_cdef),
            (&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], u64::MAX >> 1),
        ];
        for (start, payload_len) in forms {
            let header = Header { fin: true, opcode: Opcode::Binary, key: KEY, payload_len };
            assert_eq!(check(&with_key(start)), Ok(Some((header, start.len() + 4))));
        }
    }

    #[test]
    fn reads_every_opcode_and_refuses_the_others() {
        for bits in 0..16_u8 {
            for fin in [false, true] {
                let first = if fin { 0x80 } else { 0 } | bits;
                let verdict = check(&with_key(&[first, 0x85])).map(|found| found.unwrap().0);
                match bits {
                    0..=2 | 8..=10 if fin || bits < 8 => {
                        let header = verdict.unwrap();
                        assert_eq!((header.opcode as u8, header.fin), (bits, fin));
                        assert_eq!(header.opcode.is_control(), bits >= 8);
                    }
                    8..=10 => assert_eq!(verdict, Err(Violation::FragmentedControl)),
                    _ => assert_eq!(verdict, Err(Violation::ReservedOpcode)),
                }
            }
        }
    }

    #[test]
    fn refuses_every_violation() {
        let cases: [(&[u8], Violation); 11] = [
            (&[0xc1, 0x80], Violation::ReservedBits),
            (&[0xa1, 0x80], Violation::ReservedBits),
            (&[0x91, 0x80], Violation::ReservedBits),
            (&[0x83, 0x80], Violation::ReservedOpcode),
            (&[0x09, 0x80], Violation::FragmentedControl),
            (&[0x81, 0x05], Violation::Unmasked),
            (&[0x89, 0xfe, 0, 126], Violation::LongControl),
            (&[0x88, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], Violation::LongControl),
            (&[0x81, 0xfe, 0, 125], Violation::LengthNotMinimal),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Violation::LengthNotMinimal),
            (&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], Violation::LengthTopBit),
        ];
        for (start, violation) in cases {
            assert_eq!(check(&with_key(start)), Err(violation), "{start:02x?}");
        }
    }

    #[test]
    fn says_at_once_what_more_bytes_cannot_mend() {
        for (bytes, violation) in [
            (&[0x71][..], Violation::ReservedBits),
            (&[0x8f], Violation::ReservedOpcode),
            (&[0x08], Violation::FragmentedControl),
            (&[0x81, 0x7f], Violation::Unmasked),
            (&[0x8a, 0xff], Violation::LongControl),
            (&[0x81, 0xfe, 0, 0], Violation::LengthNotMinimal),
        ] {
            assert_eq!(read(bytes), Err(violation), "{bytes:02x?}");
        }
    }

    /// Turns a server's header into a client's: sets the mask bit, appends a key.
    fn masked(head: &[u8]) -> Vec<u8> {
        let mut bytes = with_key(head);
        bytes[1] |= MASK;
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        for opcode in
            [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong]
        {
            for payload_len in [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536, 1 << 20, usize::MAX >> 1] {
                for fin in [true, false] {
                    if opcode.is_control() && (!fin || payload_len > CONTROL_BYTES_MAX) {
                        continue;
                    }
                    let (head, len) = write(fin, opcode, payload_len);
                    let (header, _) = check(&masked(&head[..len])).unwrap().unwrap();
                    let expected = Header { fin, opcode, key: KEY, payload_len: payload_len as u64 };
                    assert_eq!(header, expected);
                }
            }
        }
    }

    #[test]
    fn examples_of_the_rfc() {
        // RFC 6455 §5.7, the unmasked ones.
        for (fin, opcode, payload_len, bytes) in [
            (true, Opcode::Text, 5, &[0x81, 0x05][..]),
            (false, Opcode::Text, 3, &[0x01, 0x03]),
            (true, Opcode::Continuation, 2, &[0x80, 0x02]),
            (true, Opcode::Ping, 5, &[0x89, 0x05]),
            (true, Opcode::Binary, 256, &[0x82, 0x7e, 0x01, 0x00]),
            (true, Opcode::Binary, 65_536, &[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let (head, len) = write(fin, opcode, payload_len);
            assert_eq!(&head[..len], bytes);
        }
    }
}
