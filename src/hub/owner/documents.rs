//! Documents: edits are fitted into one order and told to the others; all texts together stay within a bound.
//!
//! Knows no rule of fitting (that is `hub::document`) and no word of a protocol. What can be forgotten when memory is
//! short is documents that nobody is in; what is being edited is never forgotten, it only stops growing.

use std::sync::Arc;

use crate::base::clock::Now;
use crate::base::id::Origin;
use crate::hub::command::Pointer;
use crate::hub::document;
use crate::hub::event::{Edit, Editor, Event, Pointed, Refusal, Reply, Sender};
use crate::hub::name::User;
use crate::hub::operation::Operation;
use crate::hub::owner::{Asker, Owner};
use crate::hub::pad::Pad;
use crate::hub::topic::Wanted;

impl Owner {
    /// Makes the asker a member of a document, or lets it begin anew.
    pub(super) fn open(&mut self, asker: Asker, user: Arc<User>, info: Option<Box<[u8]>>, now: Now) {
        let known = self.slots.get(&asker.topic).copied();
        let again = self.author(&asker).is_some();
        let has_room = (again && info.is_none()) || self.make_room(Pad::growth_of_join(), known);
        if !has_room && !again {
            return self.reply(asker, Reply::Refused(Refusal::DocumentsFull));
        }
        // Who has to come back into step can always do so; only what else it says needs memory.
        let info = info.filter(|_| has_room);
        self.join(asker, user, Wanted::Text(info.as_deref()), false, now);
    }

    /// What the others are told of a user's first connection.
    pub(super) fn arrival(user: Arc<User>, wanted: Wanted<'_>, members_count: u32, moderator: bool) -> Event {
        match wanted {
            Wanted::Text(Some(info)) => {
                Event::EditorJoined(Arc::new(Editor { user, info: info.into(), members_count }))
            }
            _ => Event::UserJoined { user, members_count, moderator },
        }
    }

    /// Does an edit, as far as it is left to do, and tells the others. The author is always told the version: nothing
    /// it does afterwards could be understood without.
    pub(super) fn edit(&mut self, asker: Asker, version: u64, operation: &Operation) {
        let Some((slot, user)) = self.author(&asker) else {
            return self.refuse(asker, Refusal::NotMember);
        };
        let inserted = if let Operation::Insert { text, .. } = operation { text.len() } else { 0 };
        let has_room = self.has_room_for(slot, asker.origin, version, inserted);
        let Some(pad) = self.records[slot as usize].record.pad_mut() else { return };
        let document = pad.document_mut();
        let applied = if has_room {
            document.apply(asker.origin, version, operation)
        } else {
            document.put_out_of_step(asker.origin);
            Err(document::Refusal::Full)
        };
        self.weigh(slot);
        let origin = asker.origin;
        let applied = match applied {
            Ok(applied) => applied,
            Err(refusal) => return self.reply(asker, Reply::Refused(Refusal::Edit(refusal))),
        };
        self.note_edited(slot, &applied);
        self.reply(asker, Reply::Edited { version: applied.version });
        let parts = u64::try_from(applied.operations.len()).unwrap_or(u64::MAX);
        for (version, operation) in (applied.version - parts + 1..).zip(applied.operations) {
            let edit = Edit { user: Arc::clone(&user), operation, version };
            self.tell(slot, &Event::Edited(Arc::new(edit)), Sender { origin, copy: None });
        }
    }

    /// Takes down where a member is, and tells the others.
    pub(super) fn point(&mut self, asker: Asker, pointer: Pointer) {
        let Some((slot, user)) = self.author(&asker) else {
            return self.refuse(asker, Refusal::NotMember);
        };
        let origin = asker.origin;
        let seen = pointer.version.filter(|version| self.has_room_for(slot, origin, *version, 0));
        let Some(pad) = self.records[slot as usize].record.pad_mut() else { return };
        let document = pad.document_mut();
        let (cursor, version) = (document.point(origin, seen, pointer.cursor), document.version());
        self.weigh(slot);
        let Some(cursor) = cursor else {
            return self.reply(asker, Reply::Refused(Refusal::Edit(document::Refusal::OutOfStep)));
        };
        if asker.tag.is_some() {
            self.reply(asker, Reply::Accepted { offset: 0 });
        }
        let pointed = Pointed { user, cursor, version };
        self.tell(slot, &Event::Pointed(Arc::new(pointed)), Sender { origin, copy: None });
    }

    /// An edit of the asker's will never come: those after it were made on a text that nobody else has.
    pub(super) fn skip(&mut self, asker: &Asker) {
        let Some((slot, _)) = self.author(asker) else { return };
        if let Some(pad) = self.records[slot as usize].record.pad_mut() {
            pad.document_mut().put_out_of_step(asker.origin);
        }
        self.weigh(slot);
    }

    /// Where the document is held, and as whom the asker edits it.
    fn author(&self, asker: &Asker) -> Option<(u32, Arc<User>)> {
        let slot = *self.slots.get(&asker.topic)?;
        let record = &self.records[slot as usize].record;
        record.pad()?;
        Some((slot, Arc::clone(record.member(asker.origin)?)))
    }

    /// Whether there is memory for what an author is about to do; makes some if not.
    fn has_room_for(&mut self, slot: u32, author: Origin, version: u64, inserted: usize) -> bool {
        let pad = self.records[slot as usize].record.pad();
        let growth = pad.map_or(0, |pad| pad.document().growth(author, version, inserted));
        self.make_room(growth, Some(slot))
    }

    /// Forgets documents that nobody is in, the soonest to expire first, until all together can grow by `more` bytes.
    /// The one at `kept` stays in any case. False if there are not enough.
    pub(super) fn make_room(&mut self, more: usize, kept: Option<u32>) -> bool {
        let max = self.policies.document_bytes_total_max;
        while self.counts.document_bytes.saturating_add(more) > max {
            let victim = self.idle_documents.iter().find(|(_, slot)| Some(*slot) != kept);
            let Some(&(_, slot)) = victim else { return false };
            self.counts.evicted += 1;
            self.remove(slot);
        }
        true
    }
}

#[cfg(test)]
mod tests;
