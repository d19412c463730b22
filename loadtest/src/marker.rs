//! The mark in every message by which it is known again: who sent it, its number, and when it was to be sent.
//!
//! ```text
//! ~ 0001c7 0000002a 000000000bc614e c ~   then filler to the size asked for
//!   sender number   nanoseconds     check
//!   6      8        15              1 hex digits
//! ```
//!
//! All digits are fixed in width, so that a frame is built once and only its digits are written anew. Nothing
//! here needs escaping in JSON. The last digit is all others, exclusive-ored: no book would notice a damaged time.
//! The short form, for echo, ends after the number: the sender has the time, and books know every sender and number.

use roomcast::base::prng::Prng;

use crate::clock::Nanos;
use crate::frame;

/// Bytes of the short form, and so of the smallest echo.
pub const SHORT_BYTES: usize = 16;
/// Bytes of the long form, and so of the smallest message to a room.
pub const LONG_BYTES: usize = 32;
/// Most senders that six digits can name.
pub const SENDERS_MAX: usize = 1 << 24;

const SENDER_AT: usize = 1;
const NUMBER_AT: usize = 7;
const TIME_AT: usize = 15;
const TIME_DIGITS: usize = 15;
const CHECK_AT: usize = TIME_AT + TIME_DIGITS;
/// Times that the digits can hold: 36 years of a run.
const TIME_MASK: Nanos = (1 << (4 * TIME_DIGITS)) - 1;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// What a marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Index of the sender in the whole run.
    pub sender: u32,
    /// Counts the sender's messages from zero.
    pub number: u32,
    /// When it was to be sent; zero in the short form.
    pub time: Nanos,
}

impl Mark {
    /// The check digit: all digits, exclusive-ored, so that no single one can change unseen.
    fn check(self) -> u64 {
        let all = u64::from(self.sender) ^ u64::from(self.number) ^ (self.time & TIME_MASK);
        // Halves, quarters and so on are folded onto each other; digits stay on digits.
        [32, 16, 8, 4].into_iter().fold(all, |all, half| all ^ all >> half) & 15
    }

    /// The long form, as text.
    #[cfg(test)]
    pub(crate) fn text(self) -> String {
        format!("~{:06x}{:08x}{:015x}{:x}~", self.sender, self.number, self.time, self.check())
    }
}

/// Filler of `len` bytes: printable, the same for everybody, without a tilde, quote or backslash.
#[must_use]
pub fn filler(len: usize) -> Vec<u8> {
    let mut prng = Prng::new(len as u64);
    (0..len).map(|_| b'A' + u8::try_from(prng.below(26)).unwrap_or(0)).collect()
}

/// A payload of `size` bytes that opens with a marker of zeros.
#[must_use]
pub fn payload(size: usize, long: bool) -> Vec<u8> {
    let marker = if long { LONG_BYTES } else { SHORT_BYTES };
    assert!(size >= marker, "the options check the size");
    let mut bytes = vec![b'0'; marker];
    bytes[0] = b'~';
    bytes[marker - 1] = b'~';
    bytes.extend(filler(size - marker));
    bytes
}

/// Reads a marker at the front of `bytes`.
#[inline]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "six and eight digits fit 32 bits")]
pub fn read(bytes: &[u8], long: bool) -> Option<Mark> {
    let marker = if long { LONG_BYTES } else { SHORT_BYTES };
    let bytes = bytes.get(..marker)?;
    if bytes[0] != b'~' || bytes[marker - 1] != b'~' {
        return None;
    }
    let sender = digits(&bytes[1..NUMBER_AT])? as u32;
    let number = digits(&bytes[NUMBER_AT..TIME_AT])? as u32;
    if !long {
        return Some(Mark { sender, number, time: 0 });
    }
    let mark = Mark { sender, number, time: digits(&bytes[TIME_AT..CHECK_AT])? };
    (digits(&bytes[CHECK_AT..=CHECK_AT])? == mark.check()).then_some(mark)
}

/// Whether a long marker stood at the front of `bytes` before somebody changed its digits.
#[must_use]
pub fn is_damaged(bytes: &[u8]) -> bool {
    bytes.len() >= LONG_BYTES
        && (bytes[0], bytes[LONG_BYTES - 1]) == (b'~', b'~')
        && read(bytes, true).is_none()
}

#[inline]
fn digits(bytes: &[u8]) -> Option<u64> {
    let mut value = 0;
    let mut bad = 0;
    for byte in bytes {
        let digit = VALUES[usize::from(*byte)];
        bad |= digit;
        value = value << 4 | u64::from(digit & 15);
    }
    (bad < 16).then_some(value)
}

/// The value of every digit; 255 for what is none.
static VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut i = 0;
    while i < 16 {
        values[HEX[i] as usize] = i as u8;
        i += 1;
    }
    values
};

/// A masked frame, built once, whose digits are written anew for each message.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    /// Where the marker begins in `bytes`, and in the payload that the mask counts from.
    at: usize,
    in_payload: usize,
    key: [u8; 4],
    long: bool,
}

impl Template {
    /// A frame with `payload`, whose marker stands at `in_payload`.
    #[must_use]
    pub fn new(opcode: u8, payload: &[u8], in_payload: usize, long: bool, key: [u8; 4]) -> Template {
        let mut bytes = Vec::new();
        let head = frame::append(&mut bytes, opcode, payload, key);
        Template { bytes, at: head + in_payload, in_payload, key, long }
    }

    /// Appends the frame to `out`; `mark.time` is left out of the short form, and is below 2^60 in the long one.
    #[inline]
    pub fn append(&self, out: &mut Vec<u8>, mark: Mark) {
        let start = out.len() + self.at;
        out.extend_from_slice(&self.bytes);
        self.write(&mut out[start..], SENDER_AT, 6, u64::from(mark.sender));
        self.write(&mut out[start..], NUMBER_AT, 8, u64::from(mark.number));
        if self.long {
            debug_assert!(mark.time <= TIME_MASK, "runs are shorter than 36 years");
            self.write(&mut out[start..], TIME_AT, TIME_DIGITS, mark.time);
            self.write(&mut out[start..], CHECK_AT, 1, mark.check());
        }
    }

    #[inline]
    fn write(&self, marker: &mut [u8], at: usize, width: usize, value: u64) {
        for (i, byte) in marker[at..at + width].iter_mut().enumerate() {
            let digit = HEX[(value >> (4 * (width - 1 - i))) as usize & 15];
            *byte = digit ^ self.key[(self.in_payload + at + i) & 3];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomcast::wire::ws::mask::unmask;

    #[test]
    fn what_is_written_is_read() {
        let key = [0xa1, 0x02, 0xff, 0x7e];
        for (before, size, long) in
            [("", 16, false), ("", 64, false), ("{\"m\":\"", 32, true), ("xyz", 200, true)]
        {
            let whole = [before.as_bytes(), &payload(size, long)].concat();
            let template = Template::new(frame::TEXT, &whole, before.len(), long, key);
            for (number, time) in
                [(0, 0), (7, 9), (u32::MAX, TIME_MASK), (0xdead_beef, 0x0123_4567_89ab_cdef)]
            {
                let mark = Mark { sender: 0x12_34ab, number, time: if long { time } else { 0 } };
                let mut out = vec![1, 2, 3];
                template.append(&mut out, mark);
                let head = if out[4] & 0x7f < 126 { 6 } else { 8 };
                let mut got = out.split_off(3 + head);
                unmask(&mut got, key, 0);
                assert_eq!(read(&got[before.len()..], long), Some(mark));
                assert!(!long || got[before.len()..].starts_with(mark.text().as_bytes()));
                let marker = if long { LONG_BYTES } else { SHORT_BYTES };
                assert_eq!(&got[before.len() + marker..], filler(size - marker));
            }
        }
    }

    #[test]
    fn damage_is_seen() {
        let good = payload(40, true);
        assert!(read(&good, true).is_some());
        for at in 0..LONG_BYTES {
            let mut bad = good.clone();
            bad[at] = b'x';
            assert_eq!(read(&bad, true), None, "byte {at}");
        }
        assert_eq!(read(&good[..31], true), None);
    }

    #[test]
    fn a_digit_that_is_another_is_seen_wherever_it_stands() {
        let mark = Mark { sender: 0x1c7, number: 0xdead_beef, time: 0x0abc_def0_1234_5678 & TIME_MASK };
        let good = mark.text().into_bytes();
        assert_eq!(read(&good, true), Some(mark));
        assert!(!is_damaged(&good) && !is_damaged(b"~~"));
        for at in 1..LONG_BYTES - 1 {
            for digit in HEX.iter().filter(|digit| **digit != good[at]) {
                let mut bad = good.clone();
                bad[at] = *digit;
                assert_eq!(read(&bad, true), None, "byte {at}");
                assert!(is_damaged(&bad));
            }
        }
    }
}
