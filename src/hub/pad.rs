//! A document as its topic keeps it: the text, and what its users say about themselves.
//!
//! Does not know who is a member: its topic says who comes and goes. Tells nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::base::id::Origin;
use crate::hub::document::{AUTHOR_BYTES, DOCUMENT_BYTES, Document, Limits};

/// Most that one user may say about itself, in bytes: a colour, a picture's address; not the picture.
pub const INFO_BYTES_MAX: usize = 1024;

/// What an edit costs in a store beside what it inserts: key, position, and their place in a page.
const EDIT_BYTES: usize = 64;

/// The whole text is not written before edits come to so many bytes: four hundred keystrokes on a small text.
const WRITTEN_MIN: usize = 32 << 10;

/// What an entry of the tree of infos costs beside its bytes.
const INFO_ENTRY_BYTES: usize = 128;

/// See the module's page.
#[derive(Debug)]
pub struct Pad {
    document: Document,
    /// By user id; only of users who are there.
    infos: BTreeMap<Box<str>, Box<[u8]>>,
    /// Invariant: what `infos` cost.
    info_bytes: usize,
    /// The text in one piece, while somebody holds it, and its version.
    copy: (u64, Weak<String>),
    /// What a store keeps of edits since it was given the whole text.
    edited_bytes: usize,
}

impl Pad {
    /// An empty text that nobody edits.
    #[must_use]
    pub fn new(limits: Limits) -> Pad {
        Pad::of(Document::new(limits))
    }

    /// A text as a store has kept it.
    #[must_use]
    pub fn resume(limits: Limits, text: &str, version: u64) -> Pad {
        Pad::of(Document::resume(limits, text, version))
    }

    fn of(document: Document) -> Pad {
        Pad { document, infos: BTreeMap::new(), info_bytes: 0, copy: (0, Weak::new()), edited_bytes: 0 }
    }

    /// A store is told of one more edit, which inserts so many bytes. The whole text, once the edits since the last
    /// time would cost as much: then they can go, and what is written comes to twice what was typed at most.
    pub fn store_edit(&mut self, inserted: usize) -> Option<Arc<String>> {
        self.edited_bytes += inserted + EDIT_BYTES;
        if self.edited_bytes < WRITTEN_MIN.max(self.document.text_bytes()) {
            return None;
        }
        self.edited_bytes = 0;
        Some(self.content())
    }

    /// What [`Pad::bytes`] may grow by when somebody joins.
    #[must_use]
    pub const fn growth_of_join() -> usize {
        DOCUMENT_BYTES + AUTHOR_BYTES + INFO_ENTRY_BYTES + INFO_BYTES_MAX
    }

    /// Lets `author` edit from the text as it is now. Without `info`, what was known of the user stays.
    pub fn join(&mut self, author: Origin, user: &str, info: Option<&[u8]>) {
        self.document.join(author);
        let Some(info) = info else { return };
        debug_assert!(info.len() <= INFO_BYTES_MAX, "checked where it comes in");
        self.forget_info(user);
        self.infos.insert(user.into(), info.into());
        self.info_bytes += info.len() + INFO_ENTRY_BYTES;
    }

    /// Forgets `author`, and the user if this was its last connection.
    pub fn leave(&mut self, author: Origin, user: &str, last: bool) {
        self.document.leave(author);
        if last {
            self.forget_info(user);
        }
    }

    fn forget_info(&mut self, user: &str) {
        if let Some(info) = self.infos.remove(user) {
            self.info_bytes -= info.len() + INFO_ENTRY_BYTES;
        }
    }

    /// What the user has said about itself.
    #[must_use]
    pub fn info(&self, user: &str) -> Option<&[u8]> {
        self.infos.get(user).map(|info| &**info)
    }

    /// The text in one piece: the same one for all who ask while it does not change.
    pub fn content(&mut self) -> Arc<String> {
        let version = self.document.version();
        if let Some(content) = self.copy.1.upgrade().filter(|_| self.copy.0 == version) {
            return content;
        }
        let content = Arc::new(self.document.text());
        self.copy = (version, Arc::downgrade(&content));
        content
    }

    /// The text.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The text, to be changed.
    pub fn document_mut(&mut self) -> &mut Document {
        &mut self.document
    }

    /// What all this costs, in bytes; rather too much than too little.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.document.memory() + self.info_bytes
    }

    /// Asserts the invariants, in time proportional to the document.
    pub(super) fn check(&self) {
        self.document.check();
        let infos = self.infos.values().map(|info| info.len() + INFO_ENTRY_BYTES);
        assert_eq!(self.info_bytes, infos.sum::<usize>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{Key, ShardId};
    use crate::hub::operation::Operation;

    fn origin(slot: u32) -> Origin {
        Origin { shard: ShardId(0), conn: Key { slot, generation: 0 } }
    }

    #[test]
    fn what_users_say_about_themselves_goes_with_them() {
        let mut pad = Pad::new(Limits { history: 10, bytes_max: 100 });
        let empty = pad.bytes();
        pad.join(origin(1), "ann", Some(b"{}"));
        pad.join(origin(2), "ann", Some(b"[1]"));
        pad.join(origin(2), "ann", None);
        pad.join(origin(3), "bob", None);
        assert_eq!((pad.info("ann"), pad.info("bob")), (Some(&b"[1]"[..]), None), "the newest counts");
        pad.check();
        assert!(pad.bytes() <= empty + 3 * Pad::growth_of_join());
        pad.leave(origin(1), "ann", false);
        assert!(pad.info("ann").is_some());
        pad.leave(origin(2), "ann", true);
        pad.leave(origin(3), "bob", true);
        assert_eq!((pad.info("ann"), pad.bytes()), (None, empty));
        pad.check();
    }

    #[test]
    fn a_text_is_copied_once_for_all_who_join_at_its_version() {
        let mut pad = Pad::new(Limits { history: 10, bytes_max: 100 });
        pad.join(origin(1), "ann", None);
        let first = pad.content();
        assert!(Arc::ptr_eq(&first, &pad.content()));
        let insert = Operation::Insert { position: 0, text: "x".into() };
        pad.document_mut().apply(origin(1), 0, &insert).unwrap();
        let second = pad.content();
        assert_eq!((&**first, &**second), ("", "x"));
        drop(second);
        assert_eq!(*pad.content(), "x", "nobody held it");
    }
}
