//! Binary messages with a type: the words in front of a payload that nobody here looks into.
//!
//! ```text
//! plain        | 0 | type: 31 | payload …
//! addressed    | 1 | type: 31 | room length: 16 | room … | payload …
//! as delivered | 1 | type: 31 | room length: 16 | room … | user length: 16 | user … | offset: 64 | payload …
//! ```
//!
//! Lengths in bits; all numbers big endian; names in UTF-8. A plain message is relayed as it came. Whether a room
//! may be called so, and who may write there, is not asked here.

use std::str;

/// The top bit of the first word: the message says which room it is for.
const ADDRESSED: u32 = 1 << 31;

/// Most that an audio message may hold: some seconds of speech, not a recording.
pub const AUDIO_BYTES_MAX: usize = 1 << 20;

/// What a message is, by number. Invariant: not reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(u32);

impl Kind {
    /// A piece of sound.
    pub const AUDIO: Kind = Kind(1);
    /// A picture.
    pub const IMAGE: Kind = Kind(2);
    /// A file, or a part of one.
    pub const FILE: Kind = Kind(3);
    /// The first number that applications give a meaning to; all above are theirs as well.
    pub const APPLICATION: Kind = Kind(16);

    /// The kind of this number; none if it is reserved (0, 4 to 15) or does not fit beside the top bit.
    #[must_use]
    pub fn new(number: u32) -> Option<Kind> {
        matches!(number, 1..=3 | 16..ADDRESSED).then_some(Kind(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// Most bytes of payload, where the kind has a bound of its own.
    #[must_use]
    pub fn bytes_max(self) -> Option<usize> {
        (self == Kind::AUDIO).then_some(AUDIO_BYTES_MAX)
    }
}

/// Why bytes are no typed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// It ends within its own header.
    TooShort,
    /// A number that means nothing yet.
    Reserved(u32),
    /// A name is not UTF-8.
    NotText,
    /// More payload than the kind may have.
    TooLarge {
        /// The limit, in bytes.
        max: usize,
    },
}

/// What a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent<'a> {
    /// What it is.
    pub kind: Kind,
    /// For which room; none in a plain message. May be empty, or no name at all.
    pub room: Option<&'a str>,
    /// The rest.
    pub payload: &'a [u8],
}

/// What a member of a room gets when somebody sent an addressed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered<'a> {
    /// What it is.
    pub kind: Kind,
    /// In which room.
    pub room: &'a str,
    /// By whom.
    pub user: &'a str,
    /// The room's number for it.
    pub offset: u64,
    /// The rest.
    pub payload: &'a [u8],
}

impl<'a> Sent<'a> {
    /// Reads a whole message.
    ///
    /// # Errors
    /// When it is none; nothing of it is to be relayed.
    pub fn parse(bytes: &'a [u8]) -> Result<Sent<'a>, Invalid> {
        let (kind, is_addressed, rest) = first_word(bytes)?;
        let (room, payload) = if is_addressed {
            let (room, payload) = name(rest)?;
            (Some(room), payload)
        } else {
            (None, rest)
        };
        match kind.bytes_max() {
            Some(max) if payload.len() > max => Err(Invalid::TooLarge { max }),
            _ => Ok(Sent { kind, room, payload }),
        }
    }

    /// Appends the message to `out`.
    ///
    /// # Panics
    /// When the room's name has more than 65,535 bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self.room {
            None => out.extend(self.kind.0.to_be_bytes()),
            Some(room) => {
                out.extend((self.kind.0 | ADDRESSED).to_be_bytes());
                write_name(out, room);
            }
        }
        out.extend(self.payload);
    }
}

impl<'a> Delivered<'a> {
    /// Reads a whole message, as members do; none if it is not one.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Delivered<'a>> {
        let (kind, true, rest) = first_word(bytes).ok()? else { return None };
        let (room, rest) = name(rest).ok()?;
        let (user, rest) = name(rest).ok()?;
        let (offset, payload) = rest.split_first_chunk()?;
        Some(Delivered { kind, room, user, offset: u64::from_be_bytes(*offset), payload })
    }

    /// Bytes that [`Delivered::write`] appends.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<u32>()
            + 2 * size_of::<u16>()
            + self.room.len()
            + self.user.len()
            + size_of::<u64>()
            + self.payload.len()
    }

    /// Appends the message to `out`.
    ///
    /// # Panics
    /// When a name has more than 65,535 bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes());
        out.extend((self.kind.0 | ADDRESSED).to_be_bytes());
        write_name(out, self.room);
        write_name(out, self.user);
        out.extend(self.offset.to_be_bytes());
        out.extend(self.payload);
    }
}

fn first_word(bytes: &[u8]) -> Result<(Kind, bool, &[u8]), Invalid> {
    let (word, rest) = bytes.split_first_chunk().ok_or(Invalid::TooShort)?;
    let word = u32::from_be_bytes(*word);
    let number = word & !ADDRESSED;
    Ok((Kind::new(number).ok_or(Invalid::Reserved(number))?, word != number, rest))
}

/// A name with its length before it, and what follows.
fn name(bytes: &[u8]) -> Result<(&str, &[u8]), Invalid> {
    let (len, rest) = bytes.split_first_chunk().ok_or(Invalid::TooShort)?;
    let (name, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into()).ok_or(Invalid::TooShort)?;
    Ok((str::from_utf8(name).map_err(|_| Invalid::NotText)?, rest))
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    let len = u16::try_from(name.len());
    assert!(len.is_ok(), "names are checked where they come in");
    out.extend(len.unwrap_or(u16::MAX).to_be_bytes());
    out.extend(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(message: &Sent<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.write(&mut out);
        out
    }

    #[test]
    fn the_bytes_are_those_that_the_page_draws() {
        let plain = [0, 0, 0, 2, b'p', b'n', b'g'];
        let sent = Sent { kind: Kind::IMAGE, room: None, payload: b"png" };
        assert_eq!(Sent::parse(&plain), Ok(sent));
        assert_eq!(written(&sent), plain);
        let addressed = [0x80, 0, 1, 0, 0, 2, b'h', b'i', 9];
        let kind = Kind::new(256).unwrap();
        let sent = Sent { kind, room: Some("hi"), payload: &[9] };
        assert_eq!(Sent::parse(&addressed), Ok(sent));
        assert_eq!(written(&sent), addressed);
        let delivered = Delivered { kind, room: "hi", user: "é", offset: 258, payload: &[9] };
        let mut out = Vec::new();
        delivered.write(&mut out);
        assert_eq!(out, [0x80, 0, 1, 0, 0, 2, b'h', b'i', 0, 2, 0xc3, 0xa9, 0, 0, 0, 0, 0, 0, 1, 2, 9]);
        assert_eq!(Delivered::parse(&out), Some(delivered));
        for len in 0..out.len() - 1 {
            assert_eq!(Delivered::parse(&out[..len]), None, "{len}");
        }
        assert_eq!(delivered.bytes(), out.len());
        assert_eq!(Delivered::parse(&plain), None);
    }

    #[test]
    fn every_cut_of_a_header_is_too_short() {
        let whole = written(&Sent { kind: Kind::FILE, room: Some("room"), payload: b"" });
        for len in 0..whole.len() {
            assert_eq!(Sent::parse(&whole[..len]), Err(Invalid::TooShort), "{len}");
        }
        let empty = Sent { kind: Kind::FILE, room: Some("room"), payload: b"" };
        assert_eq!(Sent::parse(&whole), Ok(empty));
        assert_eq!(Sent::parse(&[0x80, 0, 0, 3, 0, 0]).unwrap().room, Some(""), "for the hub to refuse");
        assert_eq!(Sent::parse(&[0x80, 0, 0, 3, 0, 1, 0xff]), Err(Invalid::NotText));
        assert_eq!(Sent::parse(&[0x80, 0, 0, 3, 0xff, 0xff]), Err(Invalid::TooShort));
    }

    #[test]
    fn reserved_numbers_are_refused_in_both_forms() {
        for number in [0, 4, 15] {
            assert_eq!(Sent::parse(&[0, 0, 0, number, 1]), Err(Invalid::Reserved(number.into())));
            assert_eq!(Sent::parse(&[0x80, 0, 0, number, 1]), Err(Invalid::Reserved(number.into())));
        }
        for number in [1, 2, 3, 16, ADDRESSED - 1] {
            let kind = Kind::new(number).unwrap();
            assert_eq!(kind.number(), number);
            assert_eq!(Sent::parse(&number.to_be_bytes()).map(|sent| sent.kind), Ok(kind));
        }
        assert_eq!(Kind::new(ADDRESSED), None);
        assert_eq!(Kind::new(u32::MAX), None);
        assert_eq!(Kind::new(16), Some(Kind::APPLICATION));
    }

    #[test]
    fn sound_has_a_bound_of_its_own() {
        let payload = vec![0; AUDIO_BYTES_MAX + 1];
        for room in [None, Some("hall")] {
            let most = written(&Sent { kind: Kind::AUDIO, room, payload: &payload[1..] });
            assert!(Sent::parse(&most).is_ok());
            let more = written(&Sent { kind: Kind::AUDIO, room, payload: &payload });
            assert_eq!(Sent::parse(&more), Err(Invalid::TooLarge { max: AUDIO_BYTES_MAX }));
            let other = written(&Sent { kind: Kind::IMAGE, room, payload: &payload });
            assert!(Sent::parse(&other).is_ok());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            number in prop_oneof![1u32..=3, 16u32..ADDRESSED],
            room in prop::option::of(".{0,40}"),
            user in ".{0,40}",
            offset: u64,
            payload: Vec<u8>,
        ) {
            let kind = Kind::new(number).unwrap();
            let sent = Sent { kind, room: room.as_deref(), payload: &payload };
            let bytes = written(&sent);
            prop_assert_eq!(Sent::parse(&bytes), Ok(sent));
            let room = room.as_deref().unwrap_or("");
            let delivered = Delivered { kind, room, user: &user, offset, payload: &payload };
            let mut out = Vec::new();
            delivered.write(&mut out);
            prop_assert_eq!(Delivered::parse(&out), Some(delivered));
        }

        /// Any bytes are refused, or are what they would be written as; never a panic.
        #[test]
        fn what_is_read_is_written(first in any::<Option<[u8; 6]>>(), bytes: Vec<u8>) {
            // Small numbers in front, or else hardly anything is more than a bad first word.
            let header = first.map(|[a, _, c, d, _, f]| vec![a & 0x80, 0, c & 1, d, 0, f & 7]);
            let bytes = [header.unwrap_or_default(), bytes].concat();
            if let Ok(sent) = Sent::parse(&bytes) {
                prop_assert_eq!(written(&sent), bytes.clone());
            }
            if let Some(delivered) = Delivered::parse(&bytes) {
                let mut out = Vec::new();
                delivered.write(&mut out);
                prop_assert_eq!(out, bytes);
            }
        }
    }
}
