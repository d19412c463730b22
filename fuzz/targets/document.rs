//! Any history of several clients and one document: all come to the same text.
//!
//! Input: one byte that chooses how long the history is, then commands of three bytes: who, what, where. The clients
//! are those of tests/support/editor.rs, which share no code with the server.

#![no_main]

#[path = "../../tests/support/editor.rs"]
mod editor;

use std::collections::VecDeque;

use editor::{Change, Editor};
use libfuzzer_sys::fuzz_target;
use roomcast::base::id::{Key, Origin, ShardId};
use roomcast::hub::document::{Cursor, Document, Limits, Refusal};
use roomcast::hub::operation::Operation;

const CLIENTS: usize = 4;
/// Longest histories to choose from: up to one that nobody falls out of.
const HISTORIES: [usize; 4] = [2, 8, 64, 10_000];
/// Few enough that texts become full.
const BYTES_MAX: usize = 300;
/// Longest input that is played, in commands: what longer ones do, shorter ones do sooner.
const COMMANDS_MAX: usize = 200;
/// So often the document is asked to look at itself, which takes longer than what is done to it.
const CHECKED: u64 = 8;
/// Code points of one to four bytes.
const LETTERS: [char; 4] = ['x', '\u{e9}', '\u{4e2d}', '\u{1f389}'];

enum Up {
    Join,
    Edit(u64, Operation),
    Point(u64, Cursor),
}

enum Down {
    State(String, u64),
    Theirs(u64, Change),
    Acknowledged(u64),
    Refused,
}

/// A client and what is on the way to and from it.
#[derive(Default)]
struct Seat {
    editor: Editor,
    in_step: bool,
    up: VecDeque<Up>,
    down: VecDeque<Down>,
}

struct Table {
    document: Document,
    seats: Vec<Seat>,
}

fn origin(slot: usize) -> Origin {
    Origin { shard: ShardId(0), conn: Key { slot: slot as u32, generation: 0 } }
}

fn operation(change: &Change) -> Operation {
    match change {
        Change::Insert(at, text) => {
            Operation::Insert { position: *at as u64, text: text.iter().collect::<String>().into() }
        }
        Change::Delete(start, end) => Operation::Delete { start: *start as u64, end: *end as u64 },
    }
}

fn change(operation: &Operation) -> Change {
    match operation {
        Operation::Insert { position, text } => Change::Insert(*position as usize, text.chars().collect()),
        Operation::Delete { start, end } => Change::Delete(*start as usize, *end as usize),
    }
}

impl Seat {
    fn edit(&mut self, change: &Change) {
        let version = self.editor.edit(change);
        self.up.push_back(Up::Edit(version, operation(change)));
    }

    /// What a client does; `place` is anywhere.
    fn act(&mut self, what: u8, place: u8) {
        let len = self.editor.text.len();
        let at = usize::from(place) % (len + 1);
        let count = usize::from(what / 8) % 8;
        match what % 8 {
            0..=2 if self.in_step => {
                let letter = LETTERS[usize::from(place) % LETTERS.len()];
                self.edit(&Change::Insert(at, vec![letter; count]));
            }
            3..=4 if self.in_step => self.edit(&Change::Delete(at, (at + 2 * count).min(len))),
            5 if self.in_step => {
                let cursor = Cursor { position: at as u64, selection: Some((0, at as u64)) };
                self.up.push_back(Up::Point(self.editor.version, cursor));
            }
            6 if place == 0 => self.join(),
            _ => self.hear(),
        }
    }

    fn join(&mut self) {
        self.in_step = false;
        self.up.push_back(Up::Join);
    }

    fn hear(&mut self) {
        match self.down.pop_front() {
            Some(Down::State(text, version)) => {
                self.editor.begin(&text, version);
                // A later question is on its way: what it does now would be in vain.
                self.in_step = !self.up.iter().any(|up| matches!(up, Up::Join))
                    && !self.down.iter().any(|down| matches!(down, Down::State(..)));
            }
            Some(Down::Theirs(version, change)) if self.in_step => {
                assert!(self.editor.hear(version, change), "a version is missing");
            }
            Some(Down::Acknowledged(version)) if self.in_step => {
                assert!(self.editor.acknowledged(version), "a version is missing");
            }
            Some(Down::Refused) if self.in_step => self.join(),
            _ => {}
        }
    }
}

impl Table {
    /// One message of a client arrives.
    fn take(&mut self, who: usize) {
        let (version, operation) = match self.seats[who].up.pop_front() {
            None => return,
            Some(Up::Join) => {
                self.document.join(origin(who));
                let state = Down::State(self.document.text(), self.document.version());
                return self.seats[who].down.push_back(state);
            }
            Some(Up::Point(version, cursor)) => {
                self.document.point(origin(who), Some(version), cursor);
                return;
            }
            Some(Up::Edit(version, operation)) => (version, operation),
        };
        match self.document.apply(origin(who), version, &operation) {
            Ok(applied) => {
                let first = applied.version - applied.operations.len() as u64 + 1;
                for other in (0..CLIENTS).filter(|other| *other != who) {
                    let parts = (first..).zip(applied.operations.iter().map(change));
                    self.seats[other].down.extend(parts.map(|(version, part)| Down::Theirs(version, part)));
                }
                self.seats[who].down.push_back(Down::Acknowledged(applied.version));
            }
            Err(Refusal::VersionTooOld { .. } | Refusal::OutOfStep | Refusal::Full) => {
                self.seats[who].down.push_back(Down::Refused);
            }
            Err(refusal) => panic!("{refusal:?}"),
        }
        if self.document.version().is_multiple_of(CHECKED) {
            self.document.check();
        }
    }

    fn is_busy(&self) -> bool {
        self.seats.iter().any(|seat| !seat.up.is_empty() || !seat.down.is_empty())
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&choice, commands)) = input.split_first() else { return };
    let history = HISTORIES[usize::from(choice) % HISTORIES.len()];
    let mut table = Table {
        document: Document::new(Limits { history, bytes_max: BYTES_MAX }),
        seats: (0..CLIENTS).map(|_| Seat::default()).collect(),
    };
    for who in 0..CLIENTS {
        table.seats[who].join();
        table.take(who);
        table.seats[who].hear();
    }
    for command in commands.chunks_exact(3).take(COMMANDS_MAX) {
        let who = usize::from(command[0]) % CLIENTS;
        // Half of what happens is that something arrives.
        if command[0] & 0x80 != 0 {
            table.take(who);
        } else {
            table.seats[who].act(command[1], command[2]);
        }
    }
    while table.is_busy() {
        for who in 0..CLIENTS {
            table.take(who);
            table.seats[who].hear();
        }
    }
    table.document.check();
    let text = table.document.text();
    for seat in &table.seats {
        assert!(seat.in_step && seat.editor.waiting() == 0);
        assert_eq!((seat.editor.content(), seat.editor.version), (text.clone(), table.document.version()));
    }
});
