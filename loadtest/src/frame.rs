//! Frames as a client sees them: reads those of a server, writes masked ones (RFC 6455 §5.2).
//!
//! Reads in place and keeps no state; never looks at payloads. What is wrong with a server's frame ends its
//! connection: a generator that forgives would testify falsely.

use roomcast::wire::ws::mask::unmask;

/// Opcode of the next part of a message.
pub const CONTINUATION: u8 = 0x0;
/// Opcode of text.
pub const TEXT: u8 = 0x1;
/// Opcode of bytes.
pub const BINARY: u8 = 0x2;
/// Opcode of the last frame in its direction.
pub const CLOSE: u8 = 0x8;
/// Opcode of a question that [`PONG`] answers.
pub const PING: u8 = 0x9;
/// Opcode of the answer.
pub const PONG: u8 = 0xa;

/// Longest header that a server writes: 2 bytes and 8 of length.
pub const HEAD_BYTES_MAX: usize = 10;
/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// A whole frame: `head` bytes of header, then `len` of payload.
    Frame {
        /// Whether it ends its message.
        fin: bool,
        /// What it is.
        opcode: u8,
        /// Bytes of its header.
        head: usize,
        /// Bytes of its payload.
        len: usize,
    },
    /// Less than a frame; so many bytes are the least that could be more.
    Need(usize),
}

/// Reads the front of `bytes`; a payload of more than `longest` bytes is not taken.
///
/// # Errors
/// It is no frame that a server may send without extensions; the text says why.
#[inline]
pub fn front(bytes: &[u8], longest: usize) -> Result<Front, &'static str> {
    let [first, second, rest @ ..] = bytes else { return Ok(Front::Need(2)) };
    if first & 0x70 != 0 {
        return Err("reserved bits are set");
    }
    if second & 0x80 != 0 {
        return Err("the server's frame is masked");
    }
    let (opcode, fin) = (first & 0x0f, first & 0x80 != 0);
    let (head, len) = match second {
        126 => {
            let Some(&length) = rest.first_chunk() else { return Ok(Front::Need(4)) };
            (4, usize::from(u16::from_be_bytes(length)))
        }
        127 => {
            let Some(&length) = rest.first_chunk() else { return Ok(Front::Need(HEAD_BYTES_MAX)) };
            (HEAD_BYTES_MAX, usize::try_from(u64::from_be_bytes(length)).unwrap_or(usize::MAX))
        }
        short => (2, usize::from(*short)),
    };
    if len > longest {
        return Err("a frame that is longer than any answer can be");
    }
    match opcode {
        CONTINUATION | TEXT | BINARY => {}
        CLOSE | PING | PONG if fin && len < 126 => {}
        CLOSE | PING | PONG => return Err("a control frame that is long or fragmented"),
        _ => return Err("an unknown opcode"),
    }
    Ok(if bytes.len() >= head + len {
        Front::Frame { fin, opcode, head, len }
    } else {
        Front::Need(head + len)
    })
}

/// Appends a whole masked frame to `out`, and says how many bytes its header has.
#[expect(clippy::cast_possible_truncation, reason = "each arm knows the range")]
pub fn append(out: &mut Vec<u8>, opcode: u8, payload: &[u8], key: [u8; 4]) -> usize {
    let start = out.len();
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
    let head = out.len() - start;
    out.extend_from_slice(payload);
    unmask(&mut out[start + head..], key, 0);
    head
}

/// A whole masked text.
#[must_use]
pub fn masked(text: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::new();
    append(&mut frame, TEXT, text, key);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's frame is a client's without mask.
    fn server(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let head = append(&mut out, opcode, payload, [0; 4]);
        out[1] &= 0x7f;
        out.drain(head - 4..head);
        out
    }

    #[test]
    fn every_length_is_read_back_and_every_prefix_asks_for_more() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let bytes = server(BINARY, &vec![7; len]);
            let head = bytes.len() - len;
            assert_eq!(front(&bytes, len), Ok(Front::Frame { fin: true, opcode: BINARY, head, len }));
            assert!(len == 0 || front(&bytes[..head], len - 1).is_err(), "refused before it is gathered");
            for cut in (0..bytes.len()).step_by(1 + len / 50) {
                let Ok(Front::Need(need)) = front(&bytes[..cut], len) else { panic!("{len} cut at {cut}") };
                assert!(need > cut && need <= bytes.len());
            }
        }
    }

    #[test]
    fn what_no_server_may_send_is_refused() {
        for bytes in [
            &[0xc1, 0][..],
            &[0x81, 0x80],
            &[0x83, 0],
            &[0x09, 0],
            &[0x88, 126, 0, 200],
            &[0x82, 127, 1, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(front(bytes, 1 << 20).is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn masking_is_undone_by_masking() {
        let (mut out, key) = (Vec::new(), [9, 8, 7, 6]);
        let head = append(&mut out, TEXT, b"hello", key);
        assert_eq!(&out[..2], [0x81, 0x85]);
        unmask(&mut out[head..], key, 0);
        assert_eq!(&out[head..], b"hello");
    }
}
