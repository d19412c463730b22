//! Rows of the store as bytes. Numbers are big endian, so that keys sort as their numbers do.
//!
//! ```text
//! topic          kind u8, name                            ─► head u64, first u64, acknowledged u64, epoch
//! publication    length of topic u16, topic, offset u64   ─► time u64, type u32, lengths u16 u16, user id, user name,
//!                                                            payload
//! text           kind u8, name                            ─► version u64, text
//! edit           length of topic u16, topic, version u64  ─► position u64, what is inserted
//!                                                         or start u64, end u64, 0xff
//! ```
//!
//! 0xff is in no text, so an edit's last byte tells which it is.
//!
//! The type is that of bytes; 0 is no type of theirs, and stands for a value.

use std::sync::{Arc, OnceLock};

use crate::base::clock::Wall;
use crate::base::shared::Shared;
use crate::hub::event::{Body, Publication};
use crate::hub::name::{Topic, TopicKind, User};
use crate::hub::operation::Operation;

/// Stands for the length of a user's name where there is none.
const NO_NAME: u16 = u16::MAX;

/// Ends the row of a deletion.
const DELETES: u8 = 0xff;

/// A row that is none of ours: the file is damaged, or of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// What is kept of a topic beside its publications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Offset of the newest publication.
    pub(super) head: u64,
    /// Offset of the oldest that is kept; `head + 1` if none is.
    pub(super) first: u64,
    /// Nobody misses what was published up to here.
    pub(super) acknowledged: u64,
    /// The numbering.
    pub(super) epoch: Box<str>,
}

/// The key of a topic.
pub(super) fn topic(topic: &Topic) -> Vec<u8> {
    [&[topic.kind() as u8], topic.name().as_bytes()].concat()
}

/// Kind and name of a topic's key.
pub(super) fn named(key: &[u8]) -> Result<(TopicKind, &str), Damaged> {
    let (kind, name) = key.split_first().ok_or(Damaged)?;
    let kind = *TopicKind::ALL.get(usize::from(*kind)).ok_or(Damaged)?;
    Ok((kind, std::str::from_utf8(name).map_err(|_| Damaged)?))
}

/// The key of the publication with this offset, or of the edit that makes this version.
pub(super) fn numbered_key(topic: &[u8], offset: u64) -> Vec<u8> {
    let length = u16::try_from(topic.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), topic, &offset.to_be_bytes()].concat()
}

/// The row of a topic.
pub(super) fn standing(standing: &Standing) -> Vec<u8> {
    let Standing { head, first, acknowledged, epoch } = standing;
    let numbers = [*head, *first, *acknowledged].map(u64::to_be_bytes).concat();
    [&*numbers, epoch.as_bytes()].concat()
}

/// Reads the row of a topic.
pub(super) fn read_standing(row: &[u8]) -> Result<Standing, Damaged> {
    let mut row = Row(row);
    let (head, first, acknowledged) = (row.u64()?, row.u64()?, row.u64()?);
    let epoch = std::str::from_utf8(row.0).map_err(|_| Damaged)?;
    let ordered = acknowledged < first && head < u64::MAX && first <= head + 1;
    if ordered { Ok(Standing { head, first, acknowledged, epoch: epoch.into() }) } else { Err(Damaged) }
}

/// The row of a publication.
pub(super) fn publication(publication: &Publication) -> Vec<u8> {
    let Publication { time, user, payload, body, .. } = publication;
    debug_assert!(*body != Body::Plain, "what has no offset is not remembered");
    let kind = if let Body::Typed(number) = body { *number } else { 0 };
    let name = user.name.as_deref().unwrap_or_default();
    let length = |text: &str| u16::try_from(text.len()).unwrap_or(NO_NAME - 1).to_be_bytes();
    let name_length = if user.name.is_some() { length(name) } else { NO_NAME.to_be_bytes() };
    let lengths = [length(&user.id), name_length].concat();
    [&time.0.to_be_bytes(), &kind.to_be_bytes()[..], &*lengths, user.id.as_bytes(), name.as_bytes(), payload]
        .concat()
}

/// Reads the row of the publication with this offset.
pub(super) fn read_publication(offset: u64, row: &[u8]) -> Result<Arc<Publication>, Damaged> {
    let mut row = Row(row);
    let time = Wall(row.u64()?);
    let body = match row.u32()? {
        0 => Body::Value,
        number => Body::Typed(number),
    };
    let (id_length, name_length) = (row.u16()?, row.u16()?);
    let id = row.text(id_length)?.into();
    let name = match name_length {
        NO_NAME => None,
        length => Some(row.text(length)?.into()),
    };
    let (user, payload) = (Arc::new(User { id, name }), Shared::copy_of(row.0));
    Ok(Arc::new(Publication { offset, time, user, payload, body, frame: OnceLock::new() }))
}

/// The row of a text.
pub(super) fn text(version: u64, text: &str) -> Vec<u8> {
    [&version.to_be_bytes(), text.as_bytes()].concat()
}

/// Reads the row of a text: its version, and the text.
pub(super) fn read_text(row: &[u8]) -> Result<(u64, &str), Damaged> {
    let mut row = Row(row);
    Ok((row.u64()?, std::str::from_utf8(row.0).map_err(|_| Damaged)?))
}

/// The row of an edit.
pub(super) fn edit(operation: &Operation) -> Vec<u8> {
    match operation {
        Operation::Insert { position, text } => [&position.to_be_bytes(), text.as_bytes()].concat(),
        Operation::Delete { start, end } => {
            [&start.to_be_bytes()[..], &end.to_be_bytes(), &[DELETES]].concat()
        }
    }
}

/// Reads the row of an edit.
pub(super) fn read_edit(row: &[u8]) -> Result<Operation, Damaged> {
    let mut row = Row(row);
    let position = row.u64()?;
    if row.0.last() == Some(&DELETES) {
        let end = row.u64()?;
        let ends = row.0.len() == 1 && position <= end;
        return if ends { Ok(Operation::Delete { start: position, end }) } else { Err(Damaged) };
    }
    let text = std::str::from_utf8(row.0).map_err(|_| Damaged)?;
    Ok(Operation::Insert { position, text: text.into() })
}

/// What is not read yet of a row.
struct Row<'a>(&'a [u8]);

impl<'a> Row<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u64(&mut self) -> Result<u64, Damaged> {
        Ok(u64::from_be_bytes(self.take(8)?.try_into().map_err(|_| Damaged)?))
    }

    fn u32(&mut self) -> Result<u32, Damaged> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into().map_err(|_| Damaged)?))
    }

    fn u16(&mut self) -> Result<u16, Damaged> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into().map_err(|_| Damaged)?))
    }

    fn text(&mut self, length: u16) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.take(usize::from(length))?).map_err(|_| Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Keys;

    fn message(name: Option<&str>, payload: &[u8]) -> Publication {
        Publication {
            offset: 7,
            time: Wall(1_735_689_600_000),
            user: Arc::new(User { id: "ada".into(), name: name.map(Into::into) }),
            payload: Shared::copy_of(payload),
            body: if payload.is_empty() { Body::Typed(16) } else { Body::Value },
            frame: OnceLock::new(),
        }
    }

    #[test]
    fn rows_come_back_as_they_were() {
        for (name, payload) in [(None, &b"1"[..]), (Some("Ada"), b"{}"), (Some(""), b"")] {
            let kept = message(name, payload);
            let read = read_publication(7, &publication(&kept)).expect("our own row");
            assert_eq!((read.offset, read.time, &read.user), (7, kept.time, &kept.user));
            assert_eq!((&*read.payload, read.body), (payload, kept.body));
        }
        let kept = Standing { head: 9, first: 3, acknowledged: 1, epoch: "k3v9".into() };
        assert_eq!(read_standing(&standing(&kept)), Ok(kept));
        assert_eq!(read_text(&text(7, "日")), Ok((7, "日")));
        let insert = |text: &str| Operation::Insert { position: 5, text: text.into() };
        for operation in
            [insert("x"), insert("123456789"), insert(""), Operation::Delete { start: 2, end: 9 }]
        {
            assert_eq!(read_edit(&edit(&operation)), Ok(operation));
        }
        let room = Topic::new(TopicKind::Room, "日", Keys::new([1; 16]));
        assert_eq!(named(&topic(&room)), Ok((TopicKind::Room, "日")));
    }

    #[test]
    fn every_cut_row_is_damaged_or_shorter() {
        let row = publication(&message(Some("Ada"), b""));
        for end in 0..row.len() {
            assert_eq!(read_publication(1, &row[..end]).err(), Some(Damaged), "{end}");
        }
        assert_eq!(read_standing(&[0; 23]), Err(Damaged));
        let impossible = [(9, 11, 3), (9, 3, 3), (u64::MAX, 3, 1)];
        for (head, first, acknowledged) in impossible {
            let kept = Standing { head, first, acknowledged, epoch: "".into() };
            assert_eq!(read_standing(&standing(&kept)), Err(Damaged), "{kept:?}");
        }
        let row = edit(&Operation::Delete { start: 2, end: 9 });
        for bad in [&row[..7], &row[8..], &[&row[..8], &row[9..]].concat(), &[&[1; 8][..], &[0xfe]].concat()]
        {
            assert_eq!(read_edit(bad), Err(Damaged), "{bad:?}");
        }
        assert!(read_text(&[0; 7]).is_err() && read_text(&[0xff; 9]).is_err());
        assert!(named(&[]).is_err() && named(&[255, b'a']).is_err() && named(&[0, 0xff]).is_err());
    }

    #[test]
    fn keys_sort_as_their_offsets_do() {
        let keys: Vec<_> = [0, 1, 255, 256, u64::MAX].map(|offset| numbered_key(b"\0r", offset)).into();
        assert!(keys.is_sorted());
        assert_ne!(numbered_key(b"\0a", 1)[..4], numbered_key(b"\0ab", 1)[..4]);
    }
}
