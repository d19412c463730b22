//! UTF-8 that comes in pieces (RFC 3629, RFC 6455 §8.1).
//!
//! Never keeps text and never repairs it. Fails at the first byte that no valid text can have there, even
//! when more is still to come: so bad text costs its sender the connection before it costs us the memory.

/// The bytes are not, and cannot become, UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Whether `bytes` are whole characters of UTF-8.
#[inline]
#[must_use]
pub fn is_valid(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}

/// What the text so far demands of its next byte.
///
/// The rows of Table 3-7 of the Unicode standard: only the second byte of a character has bounds of its own
/// (they shut out overlong forms, surrogates and everything above U+10FFFF), later ones are 80..=BF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utf8 {
    /// Bytes that the cut character still lacks, 0 to 3; 0 between characters.
    missing: u8,
    /// Bounds of its next byte; without meaning while `missing` is 0.
    low: u8,
    high: u8,
}

/// Lowest and highest continuation byte.
const CONTINUATION: (u8, u8) = (0x80, 0xbf);

impl Default for Utf8 {
    fn default() -> Utf8 {
        Utf8::new()
    }
}

impl Utf8 {
    /// The start of a text.
    #[must_use]
    pub fn new() -> Utf8 {
        Utf8 { missing: 0, low: CONTINUATION.0, high: CONTINUATION.1 }
    }

    /// Takes the next piece of the text, of any length.
    ///
    /// # Errors
    /// If the text up to some byte of `bytes` is not the start of any valid text. It stays invalid then:
    /// push no more.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        let mut rest = bytes;
        while self.missing > 0
            && let Some((&byte, after)) = rest.split_first()
        {
            self.step(byte)?;
            rest = after;
        }
        // Everything up to the last character in one go; that one byte by byte, if the end may cut it.
        let (whole, cut) = rest.split_at(rest.len() - cut_len(rest));
        if !is_valid(whole) {
            return Err(Invalid);
        }
        cut.iter().try_for_each(|&byte| self.step(byte))
    }

    /// The text ends here.
    ///
    /// # Errors
    /// If it ends within a character.
    pub fn finish(self) -> Result<(), Invalid> {
        if self.missing == 0 { Ok(()) } else { Err(Invalid) }
    }

    fn step(&mut self, byte: u8) -> Result<(), Invalid> {
        let (missing, (low, high)) = if self.missing > 0 {
            if byte < self.low || byte > self.high {
                return Err(Invalid);
            }
            (self.missing - 1, CONTINUATION)
        } else {
            match byte {
                0x00..=0x7f => (0, CONTINUATION),
                0xc2..=0xdf => (1, CONTINUATION),
                0xe0 => (2, (0xa0, 0xbf)),
                0xed => (2, (0x80, 0x9f)),
                0xe1..=0xef => (2, CONTINUATION),
                0xf0 => (3, (0x90, 0xbf)),
                0xf1..=0xf3 => (3, CONTINUATION),
                0xf4 => (3, (0x80, 0x8f)),
                // A continuation of nothing; C0 and C1 (overlong); F5 and above (beyond U+10FFFF).
                _ => return Err(Invalid),
            }
        };
        *self = Utf8 { missing, low, high };
        Ok(())
    }
}

/// How many bytes at the end of `bytes` begin a character without ending it, as far as lead bytes tell; 0 to 3.
fn cut_len(bytes: &[u8]) -> usize {
    for (i, byte) in bytes.iter().rev().take(3).enumerate() {
        let here = i + 1;
        let width = match byte {
            0x00..=0x7f => return 0,
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
        };
        return if width > here { here } else { 0 };
    }
    // Nothing but continuation bytes: the last character is whole, or no character at all.
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dull version: whether `bytes` can still become valid text, asked of the standard library.
    fn may_continue(bytes: &[u8]) -> bool {
        std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
    }

    fn push_all(pieces: &[&[u8]]) -> Result<Utf8, Invalid> {
        let mut utf8 = Utf8::new();
        pieces.iter().try_for_each(|piece| utf8.push(piece))?;
        Ok(utf8)
    }

    /// Both verdicts (so far, and if it ended here) of one text in every cut into three pieces.
    fn check(text: &[u8]) {
        for i in 0..=text.len() {
            for j in i..=text.len() {
                let pushed = push_all(&[&text[..i], &text[i..j], &text[j..]]);
                assert_eq!(pushed.is_ok(), may_continue(text), "{text:02x?} at {i}, {j}");
                let finished = pushed.and_then(Utf8::finish);
                assert_eq!(finished.is_ok(), std::str::from_utf8(text).is_ok(), "{text:02x?} at {i}, {j}");
            }
        }
    }

    /// Every byte at which any rule begins or ends, and its neighbours.
    const BORDERS: [u8; 27] = [
        0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed,
        0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf7, 0xf8, 0xff,
    ];

    #[test]
    fn all_short_texts_of_border_bytes_in_all_cuts() {
        for a in BORDERS {
            check(&[a]);
            for b in BORDERS {
                check(&[a, b]);
                for c in BORDERS {
                    check(&[a, b, c]);
                }
            }
        }
    }

    #[test]
    fn all_second_third_and_fourth_bytes() {
        for lead in 0xc0..=0xff_u8 {
            for next in 0..=0xff_u8 {
                check(&[lead, next]);
                check(&[lead, 0x80, next]);
                check(&[lead, 0x90, 0x80, next]);
            }
        }
    }

    #[test]
    fn every_character_byte_by_byte() {
        for character in '\0'..=char::MAX {
            let mut utf8 = Utf8::new();
            let mut buffer = [0; 4];
            for &byte in character.encode_utf8(&mut buffer).as_bytes() {
                assert_eq!(utf8.push(&[byte]), Ok(()), "{character:?}");
            }
            assert_eq!(utf8.finish(), Ok(()), "{character:?}");
        }
    }

    #[test]
    fn long_texts_in_all_cuts() {
        // Longer than the 64 bytes from which the vectorised validator takes over.
        let good = "Hellö-Wörld € 日本語 🎉 κόσμε ".repeat(3);
        check(good.as_bytes());
        for bad in [&b"\xed\xa0\x80"[..], b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xff"] {
            let mut text = good.clone().into_bytes();
            text.extend_from_slice(bad);
            check(&text);
            text.extend_from_slice(good.as_bytes());
            check(&text);
        }
    }

    #[test]
    fn fails_at_the_first_impossible_byte() {
        // Autobahn 6.4: the rest of the message has not come yet.
        for (start, impossible) in [
            (&b"\xed"[..], 0xa0),
            (b"\xf4", 0x90),
            (b"\xe0", 0x9f),
            (b"\xf0", 0x8f),
            (b"", 0xc0),
            (b"", 0xf5),
        ] {
            let mut utf8 = push_all(&[b"\xce\xba", start]).unwrap();
            assert_eq!(utf8.push(&[impossible]), Err(Invalid), "{start:02x?} {impossible:02x}");
        }
    }

    #[test]
    fn state_is_tiny() {
        assert_eq!(size_of::<Utf8>(), 3);
    }
}
