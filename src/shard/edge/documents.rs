//! What clients ask of documents.
//!
//! Keeps nothing of a document: text, version and who is in step are the owner's.

use crate::base::id::Key;
use crate::hub::command::{Ask, Command, Tag};
use crate::hub::event::Refusal;
use crate::hub::name::TopicKind;
use crate::shard::state::Shard;

impl Shard {
    /// Joins a document. Its text may be long, so nothing more of the client is handled before it has it.
    pub(crate) fn open_document(
        &mut self,
        key: Key,
        tag: Tag,
        name: &str,
        info: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        let info = info.map(Box::from);
        self.enter(key, tag, (TopicKind::Document, name), true, |user| Ask::Open { user, info })
    }

    /// A command was not taken as there were too many. Where it was an edit, those after it fit no text, and the owner
    /// has to know.
    pub(crate) fn on_rate_limited(&mut self, key: Key, command: &Command<'_>) {
        if let Command::Edit { document, .. } = command {
            // Who is not in the document has nothing to lose.
            let _ = self.ask_member(key, None, (TopicKind::Document, document), Ask::Skip);
        }
    }
}
