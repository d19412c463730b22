//! A client of one document, written from docs/protocol.md alone: text, version, and what is not yet acknowledged.
//!
//! Knows no connection and shares no code with the server, so that the page's rules are tried and not the server's own.
//! Panics where the server breaks a promise.

use std::collections::VecDeque;

/// One edit; positions in code points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// These code points before the one at this position.
    Insert(usize, Vec<char>),
    /// The code points from the first position up to the second one less.
    Delete(usize, usize),
}

impl Change {
    fn apply(&self, text: &mut Vec<char>) {
        match self {
            Change::Insert(at, new) => drop(text.splice(at..at, new.iter().copied())),
            Change::Delete(start, end) => drop(text.drain(start..end)),
        }
    }

    /// This change moved over one that was made on the same text; `late`: the other one was first.
    fn over(&self, other: &Change, late: bool) -> Vec<Change> {
        match (self, other) {
            (Change::Insert(p, text), Change::Insert(q, more)) => {
                let pushed = if late { q <= p } else { q < p };
                vec![Change::Insert(if pushed { p + more.len() } else { *p }, text.clone())]
            }
            (Change::Insert(p, text), Change::Delete(s, e)) => {
                vec![Change::Insert(after_delete(*p, *s, *e), text.clone())]
            }
            (Change::Delete(s, e), Change::Insert(p, text)) => {
                let n = text.len();
                if p <= s {
                    vec![Change::Delete(s + n, e + n)]
                } else if p >= e {
                    vec![self.clone()]
                } else {
                    vec![Change::Delete(p + n, e + n), Change::Delete(*s, *p)]
                }
            }
            (Change::Delete(s, e), Change::Delete(from, to)) => {
                let (start, end) = (after_delete(*s, *from, *to), after_delete(*e, *from, *to));
                if start < end { vec![Change::Delete(start, end)] } else { vec![] }
            }
        }
    }
}

fn after_delete(p: usize, s: usize, e: usize) -> usize {
    if p <= s {
        p
    } else if p >= e {
        p - (e - s)
    } else {
        s
    }
}

/// Moves lists of changes, each to be done one after the other, over each other.
fn cross(late: Vec<Change>, early: Vec<Change>) -> (Vec<Change>, Vec<Change>) {
    match (late.len(), early.len()) {
        (0, _) | (_, 0) => (late, early),
        (1, 1) => (late[0].over(&early[0], true), early[0].over(&late[0], false)),
        (1, _) => {
            // One after the other over the one late change, which is moved on by each.
            let (mut late, mut moved) = (late, Vec::new());
            for one in early {
                let (rest, left) = cross(late, vec![one]);
                late = rest;
                moved.extend(left);
            }
            (late, moved)
        }
        _ => {
            let (mut early, mut moved) = (early, Vec::new());
            for one in late {
                let (left, rest) = cross(vec![one], early);
                early = rest;
                moved.extend(left);
            }
            (moved, early)
        }
    }
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Editor {
    pub(crate) text: Vec<char>,
    pub(crate) version: u64,
    /// Own edits that are not acknowledged, oldest first, each in its parts.
    pending: VecDeque<Vec<Change>>,
}

impl Editor {
    /// `document_state`.
    pub(crate) fn begin(&mut self, text: &str, version: u64) {
        *self = Editor { text: text.chars().collect(), version, pending: VecDeque::new() };
    }

    /// Makes an edit; the version to send it with.
    pub(crate) fn edit(&mut self, change: &Change) -> u64 {
        change.apply(&mut self.text);
        let nothing = match change {
            Change::Insert(_, text) => text.is_empty(),
            Change::Delete(start, end) => start == end,
        };
        self.pending.push_back(if nothing { vec![] } else { vec![change.clone()] });
        self.version
    }

    /// `text_operation` of somebody else. False if it is not the next version.
    #[must_use]
    pub(crate) fn hear(&mut self, version: u64, change: Change) -> bool {
        if version != self.version + 1 {
            return false;
        }
        let mut theirs = vec![change];
        for mine in &mut self.pending {
            let (late, early) = cross(std::mem::take(mine), theirs);
            (*mine, theirs) = (late, early);
        }
        theirs.iter().for_each(|change| change.apply(&mut self.text));
        self.version = version;
        true
    }

    /// `ack`. False if it is not the version that was expected.
    #[must_use]
    pub(crate) fn acknowledged(&mut self, version: u64) -> bool {
        let parts = self.pending.pop_front().expect("only what was sent is acknowledged").len();
        let expected = self.version + parts as u64;
        self.version = version;
        version == expected
    }

    /// How many edits are under way.
    pub(crate) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// The text as a string.
    pub(crate) fn content(&self) -> String {
        self.text.iter().collect()
    }
}
