//! What a killed process must have left behind: where clients stood, what was cleared, what texts were.
//!
//! At level `sync` all processes are one life: everything goes on. At `async` each has a life of its own: what the
//! last one said may be lost, and nothing new may be taken for it.

use std::collections::BTreeMap;

use roomcast::hub::journal::Durability;
use serde_json::Value;

use super::{Numbering, Since, Truth, Viewer, number, text};

/// A document that a client had open when the process was killed.
struct Document {
    version: u64,
    /// The text of that version, where it is known.
    text: Option<String>,
    /// It may be forgotten from then on, in microseconds.
    until_us: u64,
}

/// What all clients together know of processes that are gone.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) durability: Option<Durability>,
    process: u64,
    /// Where clients stood.
    pub(crate) positions: Vec<(String, Since)>,
    /// Up to where members were told that all is forgotten.
    cleared: BTreeMap<Numbering, u64>,
    documents: BTreeMap<String, Document>,
}

impl Kept {
    fn is_safe(&self) -> bool {
        self.durability == Some(Durability::Sync)
    }

    /// Which life what `process` says belongs to.
    pub(crate) fn life(&self, process: u64) -> u64 {
        if self.is_safe() { 0 } else { process }
    }

    /// Whether this is the process that runs.
    pub(super) fn is_present(&self, process: u64) -> bool {
        process == self.process
    }

    /// Whether numberings that were seen go on, whatever has died.
    pub(super) fn goes_on(&self) -> bool {
        self.is_safe() || self.process == 0
    }

    /// The process was killed.
    pub(crate) fn begin_anew(&mut self) {
        self.process += 1;
        self.documents.clear();
    }

    /// Notes what a client knew that was connected when the process was killed. `open_until_us`: its documents were
    /// open, and may be forgotten from then on.
    pub(crate) fn note(&mut self, viewer: &Viewer, open_until_us: Option<u64>) {
        let places = viewer.rooms.iter().map(|(room, member)| {
            let (offset, epoch) = (member.next - 1, member.epoch.clone());
            (room.clone(), Since { offset, epoch, ahead: false })
        });
        self.positions.extend(places);
        if !self.is_safe() {
            return;
        }
        for (numbering, offset) in &viewer.cleared {
            let cleared = self.cleared.entry(numbering.clone()).or_default();
            *cleared = (*cleared).max(*offset);
        }
        let Some(until_us) = open_until_us else { return };
        let known = viewer.papers.by_name.iter();
        for (name, (version, text)) in known.filter_map(|(name, paper)| Some((name, paper.known()?))) {
            let before = self.documents.get(name).map(|kept| (kept.version, kept.text.is_some()));
            if before < Some((version, text.is_some())) {
                self.documents.insert(name.clone(), Document { version, text, until_us });
            }
        }
    }

    /// What a new process says that a text is.
    pub(crate) fn compare(&self, said: &Value, process: u64, now_us: u64) {
        let kept = self.documents.get(text(said, "doc_id")).filter(|kept| now_us < kept.until_us);
        let Some(kept) = kept.filter(|_| process == self.process) else { return };
        let version = number(said, "version");
        assert!(version >= kept.version, "{said}: it was at {}", kept.version);
        let known = kept.text.as_deref().filter(|_| version == kept.version);
        assert!(known.is_none_or(|known| text(said, "content") == known), "{said}: it was {known:?}");
    }

    /// Up to where nothing can be told by `process`, as it was cleared before that began.
    pub(super) fn cleared(&self, process: u64, numbering: &Numbering) -> u64 {
        let cleared = self.cleared.get(numbering).filter(|_| process == self.process);
        cleared.copied().unwrap_or(0)
    }
}

impl Truth {
    /// Whether the publications after a position can be missing from an answer.
    pub(super) fn excuses(&self, room: &str, since: &Since, epoch: &str, offset: u64) -> bool {
        let numbering = (room.to_owned(), since.epoch.clone());
        let seen = self.log.get(&numbering).is_some_and(|log| log.keys().any(|offset| *offset > 0));
        // A hundred messages are kept, for an hour: in a shorter run, nothing else excuses but a moderator.
        let crowded_out = offset.saturating_sub(since.offset) > 100;
        let over = since.epoch != epoch && !(seen && self.kept.goes_on());
        over || since.ahead || crowded_out || self.clears.contains(room)
    }
}
