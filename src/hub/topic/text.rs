//! A topic that is a document: its text, and whose it is.
//!
//! Adds to [`Record`] only what its [`Pad`] has to know of members.

use std::sync::Arc;

use crate::base::id::Origin;
use crate::hub::event::{LISTED_USERS_MAX, Text};
use crate::hub::name::User;
use crate::hub::pad::Pad;
use crate::hub::policy::Policy;
use crate::hub::topic::{Kept, Record};

impl Record {
    /// Lets a member edit from the text as it is now; the first one finds it empty.
    pub fn edit_from_now(&mut self, origin: Origin, user: &User, info: Option<&[u8]>, policy: &Policy) {
        debug_assert!(self.is_member(origin));
        let kept = self.kept.get_or_insert_with(|| Box::new(Kept::Pad(Box::new(Pad::new(policy.document)))));
        if let Kept::Pad(pad) = &mut **kept {
            pad.join(origin, &user.id, info);
        }
    }

    /// Takes over the text that a store has kept.
    pub fn restore_text(&mut self, text: &str, version: u64, policy: &Policy) {
        debug_assert!(self.kept.is_none());
        self.kept = Some(Box::new(Kept::Pad(Box::new(Pad::resume(policy.document, text, version)))));
        self.stored = true;
    }

    /// The document, if the topic is one.
    #[must_use]
    pub fn pad(&self) -> Option<&Pad> {
        match self.kept.as_deref()? {
            Kept::Pad(pad) => Some(pad),
            Kept::History(_) => None,
        }
    }

    /// The document, to be changed.
    pub fn pad_mut(&mut self) -> Option<&mut Pad> {
        match self.kept.as_deref_mut()? {
            Kept::Pad(pad) => Some(pad),
            Kept::History(_) => None,
        }
    }

    /// The document as it is now, for the listed users in their order.
    pub(super) fn text(&mut self) -> Option<Box<Text>> {
        let content = self.pad_mut()?.content();
        let pad = self.pad()?;
        let users = self.presence.users().take(LISTED_USERS_MAX);
        let infos = users.map(|user| pad.info(&user.id).map(Box::from)).collect();
        let cursors = pad.document().cursors();
        let cursors = cursors.filter_map(|(origin, cursor)| Some((Arc::clone(self.member(origin)?), cursor)));
        let cursors = cursors.take(LISTED_USERS_MAX).collect();
        Some(Box::new(Text { content, version: pad.document().version(), infos, cursors }))
    }
}
