//! Documents against clients that follow the module page word by word, over a network that delays as it likes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::base::id::{Key, ShardId};

const ROOMY: Limits = Limits { history: 10_000, bytes_max: 1 << 20 };

fn origin(slot: usize) -> Origin {
    Origin { shard: ShardId(0), conn: Key { slot: u32::try_from(slot).unwrap(), generation: 0 } }
}

fn insert(position: u64, text: &str) -> Operation {
    Operation::Insert { position, text: text.into() }
}

fn delete(start: u64, end: u64) -> Operation {
    Operation::Delete { start, end }
}

/// A document that the first `authors` connections have joined, with a text by the first of them.
fn document(text: &str, authors: usize, limits: Limits) -> Document {
    let mut document = Document::new(limits);
    document.join(origin(0));
    document.apply(origin(0), 0, &insert(0, text)).unwrap();
    for author in 0..authors {
        document.join(origin(author));
    }
    document.check();
    document
}

#[test]
fn operations_on_one_version_are_made_to_fit() {
    let mut document = document("hello", 3, ROOMY);
    assert_eq!(document.version(), 1);
    let first = document.apply(origin(0), 1, &insert(5, " world")).unwrap();
    assert_eq!(first, Applied { version: 2, operations: vec![insert(5, " world")] });
    let second = document.apply(origin(1), 1, &insert(5, "!")).unwrap();
    assert_eq!(second, Applied { version: 3, operations: vec![insert(11, "!")] }, "accepted later: right");
    let third = document.apply(origin(2), 1, &delete(0, 5)).unwrap();
    assert_eq!(third, Applied { version: 4, operations: vec![delete(0, 5)] });
    assert_eq!(document.text(), " world!");
    assert_eq!(document.pieces().collect::<String>(), " world!");
    document.check();
}

#[test]
fn a_delete_spares_what_was_written_into_its_range_meanwhile() {
    let mut document = document("abcdef", 3, ROOMY);
    document.apply(origin(0), 1, &insert(2, "XY")).unwrap();
    document.apply(origin(2), 1, &insert(4, "Z")).unwrap();
    let applied = document.apply(origin(1), 1, &delete(1, 5)).unwrap();
    assert_eq!(document.text(), "aXYZf");
    assert_eq!(applied.version, 6, "three parts, three versions");
    assert_eq!(applied.operations, [delete(7, 8), delete(4, 6), delete(1, 2)]);
    document.check();
}

#[test]
fn what_another_deleted_already_leaves_nothing_to_do() {
    let mut document = document("abc", 2, ROOMY);
    document.apply(origin(0), 1, &delete(0, 3)).unwrap();
    let applied = document.apply(origin(1), 1, &delete(1, 2)).unwrap();
    assert_eq!(applied, Applied { version: 2, operations: vec![] });
    assert!(document.is_empty());
    // And what does nothing in the first place is taken as well, wherever it fits.
    let nothing = Applied { version: 2, operations: vec![] };
    assert_eq!(document.apply(origin(1), 2, &insert(0, "")), Ok(nothing.clone()));
    assert_eq!(document.apply(origin(1), 2, &delete(0, 0)), Ok(nothing));
    assert_eq!(document.apply(origin(1), 2, &insert(1, "")), Err(Refusal::OutOfBounds { len: 0 }));
    document.check();
}

#[test]
fn an_author_builds_on_its_own_operations_before_they_are_acknowledged() {
    let mut document = document("ab", 2, ROOMY);
    document.apply(origin(1), 1, &insert(0, "<<<")).unwrap();
    // Author 0 has seen none of that, and types three letters between a and b.
    for (n, letter) in ["x", "y", "z"].into_iter().enumerate() {
        let n = u64::try_from(n).unwrap();
        let applied = document.apply(origin(0), 1, &insert(1 + n, letter)).unwrap();
        assert_eq!(applied.operations, [insert(4 + n, letter)]);
    }
    // Then takes the middle one back, still on the version it knows.
    document.apply(origin(0), 1, &delete(2, 3)).unwrap();
    assert_eq!(document.text(), "<<<axzb");
    // The text that it sees now is "axzb", four letters long; once it has followed, seven.
    assert_eq!(document.apply(origin(0), 1, &delete(4, 5)), Err(Refusal::OutOfBounds { len: 4 }));
    document.join(origin(0));
    assert_eq!(document.apply(origin(0), 6, &insert(8, "")), Err(Refusal::OutOfBounds { len: 7 }));
    document.check();
}

#[test]
fn versions_are_taken_from_the_history_up_to_now() {
    let limits = Limits { history: 3, ..ROOMY };
    let mut document = document("", 2, limits);
    for n in 0..5 {
        document.apply(origin(0), n, &insert(0, "x")).unwrap();
        document.check();
    }
    for (version, expected) in [
        (1, Err(Refusal::VersionTooOld { oldest: 2 })),
        (2, Ok(6)),
        (5, Ok(6)),
        (6, Err(Refusal::VersionAhead { newest: 5 })),
        (u64::MAX, Err(Refusal::VersionAhead { newest: 5 })),
    ] {
        // Each on a document of its own: what is refused, or taken, changes what comes after.
        let mut document = tests_twin(limits);
        document.join(origin(1));
        document.authors.get_mut(&origin(1)).unwrap().seen = 0;
        document.authors.get_mut(&origin(1)).unwrap().taken = 0;
        let applied = document.apply(origin(1), version, &insert(0, "y"));
        assert_eq!(applied.map(|applied| applied.version), expected, "{version}");
        document.check();
    }
    // Nobody goes back behind what they said to have seen.
    let applied = document.apply(origin(0), 3, &insert(0, "y"));
    assert_eq!(applied, Err(Refusal::VersionTooOld { oldest: 4 }));
}

/// Five letters in five operations.
fn tests_twin(limits: Limits) -> Document {
    let mut document = Document::new(limits);
    document.join(origin(0));
    for n in 0..5 {
        document.apply(origin(0), n, &insert(0, "x")).unwrap();
    }
    document
}

#[test]
fn whoever_was_refused_is_out_of_step_until_it_joins_again() {
    let mut document = document("abc", 2, Limits { history: 100, bytes_max: 5 });
    assert_eq!(document.apply(origin(7), 1, &insert(0, "x")), Err(Refusal::NotJoined));
    assert_eq!(document.apply(origin(1), 1, &insert(0, "ééé")), Err(Refusal::Full));
    assert_eq!(document.apply(origin(1), 1, &insert(3, "x")), Err(Refusal::OutOfStep));
    assert_eq!(document.point(origin(1), None, Cursor { position: 0, selection: None }), None);
    document.join(origin(1));
    assert!(document.apply(origin(1), 1, &insert(3, "x")).is_ok());
    assert_eq!(document.apply(origin(1), 2, &delete(2, 1)), Err(Refusal::Reversed));
    document.leave(origin(1));
    assert_eq!(document.apply(origin(1), 2, &insert(0, "x")), Err(Refusal::NotJoined));
    assert_eq!(document.text(), "abcx");
    document.check();
}

#[test]
fn cursors_move_with_the_text_and_are_there_for_who_joins_later() {
    let mut document = document("hello world", 3, ROOMY);
    let at = |position| Cursor { position, selection: None };
    let ann = Cursor { position: 11, selection: Some((11, 6)) };
    assert_eq!(document.point(origin(0), Some(1), ann), Some(ann));
    assert_eq!(document.point(origin(1), None, at(u64::MAX)), Some(at(11)), "no further than the end");
    document.apply(origin(2), 1, &delete(0, 6)).unwrap();
    document.apply(origin(1), 1, &insert(11, "!")).unwrap();
    let now: Vec<_> = document.cursors().map(|(_, cursor)| cursor).collect();
    assert_eq!(now, [Cursor { position: 5, selection: Some((5, 0)) }, at(6)], "who types moves on");
    // Author 0 has seen nothing of this: its 6 is where "world" begins.
    assert_eq!(document.point(origin(0), Some(1), at(6)), Some(at(0)));
    assert_eq!(document.point(origin(0), Some(1), at(7)), Some(at(1)));
    assert_eq!(document.point(origin(0), Some(99), at(7)), Some(at(6)), "a wrong version is none");
    document.join(origin(0));
    assert_eq!(document.leave(origin(0)), Some(at(6)), "joining again keeps it");
    assert_eq!(document.cursors().count(), 1);
    document.check();
}

/// Whatever is asked at the limits of numbers: refused, or done, and the document stays whole.
#[test]
fn absurd_numbers_are_refused() {
    let far = [0, 1, 3, 4, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
    for start in far {
        for end in far {
            for operation in [insert(start, "x"), insert(end, ""), delete(start, end)] {
                let mut document = document("abc", 3, ROOMY);
                document.apply(origin(1), 1, &insert(1, "🎉")).unwrap();
                let _ = document.apply(origin(2), 1, &operation);
                let cursor = Cursor { position: start, selection: Some((end, start)) };
                document.point(origin(1), Some(1), cursor);
                document.point(origin(1), Some(end), cursor);
                document.check();
            }
        }
    }
}

/// Two who work together against the rule that splits deletes: what one of them sends would be published to everybody
/// in hundreds of pieces.
#[test]
fn splitting_ends_at_a_bound() {
    const HISTORY: usize = 1000;
    let limits = Limits { history: HISTORY, bytes_max: 1 << 20 };
    // One delete around so many inserts comes in one part more.
    for (inserts, fits) in [(PARTS_MAX - 1, true), (PARTS_MAX, false), (HISTORY / 2, false)] {
        let mut document = document(&"x".repeat(4 * HISTORY), 3, limits);
        let spread = u64::try_from(inserts).unwrap();
        for n in 0..spread {
            document.apply(origin(0), 1 + n, &insert(8 * (spread - n), "y")).unwrap();
        }
        let (seen, before) = (document.version(), document.text());
        let applied = document.apply(origin(1), 1, &delete(0, 4 * HISTORY as u64));
        if fits {
            let applied = applied.unwrap();
            assert_eq!(applied.operations.len(), PARTS_MAX);
            assert_eq!(applied.version, seen + PARTS_MAX as u64);
            assert_eq!(document.text(), "y".repeat(inserts));
        } else {
            assert_eq!(applied, Err(Refusal::VersionTooOld { oldest: seen }), "{inserts}");
            assert_eq!((document.version(), document.text()), (seen, before), "nothing is done by half");
            assert_eq!(document.apply(origin(1), 1, &delete(0, 1)), Err(Refusal::OutOfStep));
        }
        document.check();
    }
}

/// Nested deletes around one place, then inserts into it by one who saw none of them: the bridge grows at each.
#[test]
fn bridges_end_at_a_bound() {
    const HISTORY: usize = 1000;
    let limits = Limits { history: HISTORY, bytes_max: 1 << 20 };
    let mut document = document(&"x".repeat(HISTORY), 3, limits);
    let spread = u64::try_from(HISTORY / 2).unwrap();
    for n in 0..spread - 10 {
        let middle = document.len() / 2;
        document.apply(origin(0), 1 + n, &delete(middle - 1, middle + 1)).unwrap();
    }
    let mut taken = 0;
    while document.apply(origin(1), 1, &insert(spread, "y")).is_ok() {
        taken += 1;
        document.check();
    }
    assert!(taken >= 2 && document.memory() < 1 << 20, "{taken}");
    assert_eq!(document.text().matches('y').count(), taken);
    document.check();
}

#[test]
fn the_history_goes_with_the_last_author() {
    let mut document = document("abc", 2, ROOMY);
    document.apply(origin(0), 1, &insert(0, "x")).unwrap();
    document.leave(origin(0));
    let shared = document.memory();
    document.leave(origin(1));
    document.check();
    assert!(document.memory() < shared);
    document.join(origin(1));
    assert_eq!(document.apply(origin(1), 1, &insert(0, "y")), Err(Refusal::VersionTooOld { oldest: 2 }));
    document.join(origin(1));
    assert_eq!(document.apply(origin(1), 2, &insert(0, "y")).unwrap().version, 3);
    assert_eq!(document.text(), "yxabc");
    document.check();
}

/// The rope's overhead, whatever is done to it: small pieces, holes, growth at one place. `check` compares.
#[test]
fn memory_is_counted_at_its_worst() {
    for (hole, rest) in [(990, 10), (500, 100), (400, 600), (90, 10), (2000, 1)] {
        let mut document = document(&"x".repeat(200_000), 1, ROOMY);
        let mut start = 0;
        while start + hole < document.len() {
            document.apply(origin(0), document.version(), &delete(start, start + hole)).unwrap();
            start += rest;
        }
        document.check();
    }
    let mut grown = document("", 1, ROOMY);
    for n in 0..3_000 {
        let places = [0, n, n / 2, n * 7919 % (n + 1)];
        grown.apply(origin(0), n, &insert(places[index(n) % 4], "x")).unwrap();
        if n % 50 == 0 {
            grown.check();
        }
    }
    let mut document = document(&"x".repeat(100_000), 2, ROOMY);
    let mut prng = crate::base::prng::Prng::new(1);
    for round in 0..3_000 {
        let len = document.len();
        let at = if round % 3 == 0 { prng.below(len + 1) } else { (round * 700) % (len + 1) };
        let operation =
            if round % 2 == 0 { insert(at, "é") } else { delete(at, (at + prng.below(900)).min(len)) };
        document.apply(origin(0), document.version(), &operation).unwrap();
        if round % 100 == 0 || document.len() < 3000 {
            document.check();
        }
    }
}

/// One edit as the page tells it to those who write clients; positions in code points.
#[derive(Clone, Debug, PartialEq)]
enum Edit {
    Put(usize, Vec<char>),
    Cut(usize, usize),
}

impl Edit {
    fn from(operation: &Operation) -> Edit {
        match operation {
            Operation::Insert { position, text } => Edit::Put(index(*position), text.chars().collect()),
            Operation::Delete { start, end } => Edit::Cut(index(*start), index(*end)),
        }
    }

    fn operation(&self) -> Operation {
        match self {
            Edit::Put(at, text) => insert(*at as u64, &text.iter().collect::<String>()),
            Edit::Cut(start, end) => delete(*start as u64, *end as u64),
        }
    }

    fn is_nothing(&self) -> bool {
        match self {
            Edit::Put(_, text) => text.is_empty(),
            Edit::Cut(start, end) => start == end,
        }
    }

    fn apply(&self, text: &mut Vec<char>) {
        match self {
            Edit::Put(at, new) => drop(text.splice(at..at, new.iter().copied())),
            Edit::Cut(start, end) => drop(text.drain(start..end)),
        }
    }

    /// Moves this edit over `other`; `late`: it was accepted after it, or is not yet.
    fn over(&self, other: &Edit, late: bool) -> Vec<Edit> {
        match (self, other) {
            (Edit::Put(p, text), Edit::Put(q, more)) => {
                let right = if late { p >= q } else { p > q };
                vec![Edit::Put(if right { p + more.len() } else { *p }, text.clone())]
            }
            (Edit::Put(p, text), Edit::Cut(s, e)) => {
                let gone = (*s..*e).filter(|cut| cut < p).count();
                vec![Edit::Put(p - gone, text.clone())]
            }
            (Edit::Cut(s, e), Edit::Put(q, more)) => {
                let n = more.len();
                if q <= s {
                    vec![Edit::Cut(s + n, e + n)]
                } else if q >= e {
                    vec![self.clone()]
                } else {
                    vec![Edit::Cut(q + n, e + n), Edit::Cut(*s, *q)]
                }
            }
            (Edit::Cut(s, e), Edit::Cut(from, to)) => {
                let left: Vec<usize> = (*s..*e).filter(|cut| !(from..to).contains(&cut)).collect();
                let before = left.first().map_or(0, |first| (*from..*to).filter(|cut| cut < first).count());
                match left.first() {
                    None => vec![],
                    Some(first) => vec![Edit::Cut(first - before, first - before + left.len())],
                }
            }
        }
    }
}

/// What comes down to a client, in the owner's order.
enum Down {
    State(String, u64),
    Theirs(u64, Edit),
    Acknowledged(u64),
    Refused,
}

/// A client of the protocol, by the module page.
#[derive(Default)]
struct TestClient {
    text: Vec<char>,
    version: u64,
    pending: VecDeque<Vec<Edit>>,
    /// None: it waits for the state.
    joined: Option<()>,
}

impl TestClient {
    fn edit(&mut self, edit: &Edit) -> (u64, Operation) {
        edit.apply(&mut self.text);
        self.pending.push_back(if edit.is_nothing() { vec![] } else { vec![edit.clone()] });
        (self.version, edit.operation())
    }

    /// Takes one message; whether the client has to join again.
    fn take(&mut self, down: Down) -> bool {
        match down {
            Down::State(text, version) => {
                *self = TestClient {
                    text: text.chars().collect(),
                    version,
                    pending: VecDeque::new(),
                    joined: Some(()),
                };
            }
            _ if self.joined.is_none() => {}
            Down::Theirs(version, edit) => {
                assert_eq!(version, self.version + 1);
                let mut theirs = vec![edit];
                for entry in &mut self.pending {
                    let mut entry_left = Vec::new();
                    for part in entry.drain(..) {
                        let (mut parts, mut rest) = (vec![part], Vec::new());
                        for early in theirs {
                            // What is early crosses all parts of what is late; one of the two is one piece.
                            let mut earlies = vec![early];
                            let mut lates = Vec::new();
                            for late in parts {
                                lates.extend(earlies.iter().fold(vec![late.clone()], |lates, early| {
                                    assert_eq!(lates.len().min(earlies.len()), 1);
                                    lates.iter().flat_map(|late| late.over(early, true)).collect()
                                }));
                                earlies = earlies.iter().flat_map(|early| early.over(&late, false)).collect();
                            }
                            parts = lates;
                            rest.extend(earlies);
                        }
                        theirs = rest;
                        entry_left.extend(parts);
                    }
                    *entry = entry_left;
                }
                theirs.iter().for_each(|edit| edit.apply(&mut self.text));
                self.version = version;
            }
            Down::Acknowledged(version) => {
                let parts = self.pending.pop_front().expect("only what was sent is acknowledged").len();
                assert_eq!(version, self.version + parts as u64);
                self.version = version;
            }
            Down::Refused => {
                self.joined = None;
                return true;
            }
        }
        false
    }
}

/// What goes up from a client.
enum Up {
    Join,
    Edit(u64, Operation),
    Point(u64, Cursor),
}

/// A document, its clients, and everything that is on the way between them.
struct Net {
    document: Document,
    clients: Vec<TestClient>,
    up: Vec<VecDeque<Up>>,
    down: Vec<VecDeque<Down>>,
    /// Code points used so far: each insert uses new ones, so that they can be told apart.
    used: u32,
    /// The code points of every operation on the way, as put in or taken out; by client.
    sent: Vec<VecDeque<(Vec<char>, bool)>>,
    put: BTreeSet<char>,
    cut: BTreeSet<char>,
    refusals: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, usize, u32),
    Cut(usize, usize, usize),
    Point(usize, usize),
    Up(usize),
    Down(usize),
    Join(usize),
}

impl Net {
    fn new(clients: usize, limits: Limits) -> Net {
        let mut net = Net {
            document: Document::new(limits),
            clients: (0..clients).map(|_| TestClient::default()).collect(),
            up: (0..clients).map(|_| VecDeque::from([Up::Join])).collect(),
            down: (0..clients).map(|_| VecDeque::new()).collect(),
            used: 0,
            sent: vec![VecDeque::new(); clients],
            put: BTreeSet::new(),
            cut: BTreeSet::new(),
            refusals: 0,
        };
        // All but the last are there from the beginning.
        for client in 0..clients - 1 {
            net.step(&Step::Up(client));
            net.step(&Step::Down(client));
        }
        net
    }

    /// A code point that was not used before: of two, three and four bytes, combining marks among them.
    fn fresh(&mut self) -> char {
        let n = self.used;
        self.used += 1;
        let base = [0x2c0, 0x4e00, 0x1_f300][n as usize % 3];
        char::from_u32(base + n / 3).expect("no surrogates there")
    }

    fn send(&mut self, who: usize, edit: &Edit, marks: Vec<char>) {
        self.sent[who].push_back((marks, matches!(edit, Edit::Put(..))));
        let (version, operation) = self.clients[who].edit(edit);
        self.up[who].push_back(Up::Edit(version, operation));
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Put(who, at, len) if self.clients[who].joined.is_some() => {
                let new: Vec<char> = (0..len).map(|_| self.fresh()).collect();
                let at = at % (self.clients[who].text.len() + 1);
                self.send(who, &Edit::Put(at, new.clone()), new);
            }
            Step::Cut(who, at, len) if self.clients[who].joined.is_some() => {
                let text = &self.clients[who].text;
                let start = at % (text.len() + 1);
                let end = (start + len).min(text.len());
                let gone = text[start..end].to_vec();
                self.send(who, &Edit::Cut(start, end), gone);
            }
            Step::Point(who, at) if self.clients[who].joined.is_some() => {
                let client = &self.clients[who];
                let at = (at % (client.text.len() + 1)) as u64;
                let cursor = Cursor { position: at, selection: Some((0, at)) };
                self.up[who].push_back(Up::Point(client.version, cursor));
            }
            Step::Up(who) => {
                if let Some(up) = self.up[who].pop_front() {
                    self.arrive(who, up);
                    self.document.check();
                }
            }
            Step::Down(who) => {
                if let Some(down) = self.down[who].pop_front()
                    && self.clients[who].take(down)
                {
                    self.up[who].push_back(Up::Join);
                }
            }
            Step::Join(who) if self.clients[who].joined.is_some() => {
                self.clients[who].joined = None;
                self.up[who].push_back(Up::Join);
            }
            _ => {}
        }
    }

    /// What the owner does with what comes up.
    fn arrive(&mut self, who: usize, up: Up) {
        let (version, operation) = match up {
            Up::Join => {
                self.document.join(origin(who));
                self.down[who].push_back(Down::State(self.document.text(), self.document.version()));
                return;
            }
            Up::Point(version, cursor) => {
                let most = self.document.memory() + self.document.growth(origin(who), version, 0);
                self.document.point(origin(who), Some(version), cursor);
                assert!(self.document.memory() <= most, "growth is told before");
                return;
            }
            Up::Edit(version, operation) => (version, operation),
        };
        let inserted = if let Operation::Insert { text, .. } = &operation { text.len() } else { 0 };
        let most = self.document.memory() + self.document.growth(origin(who), version, inserted);
        let (marks, is_put) = self.sent[who].pop_front().expect("one for each edit on the way");
        let applied = self.document.apply(origin(who), version, &operation);
        assert!(self.document.memory() <= most, "growth is told before");
        match applied {
            Ok(Applied { version, operations }) => {
                if is_put { &mut self.put } else { &mut self.cut }.extend(marks);
                let first = version - operations.len() as u64;
                for other in (0..self.clients.len()).filter(|other| *other != who) {
                    if !self.document.authors.contains_key(&origin(other)) {
                        continue;
                    }
                    for (at, operation) in (first + 1..).zip(&operations) {
                        self.down[other].push_back(Down::Theirs(at, Edit::from(operation)));
                    }
                }
                self.down[who].push_back(Down::Acknowledged(version));
            }
            Err(refusal) => {
                assert!(matches!(
                    refusal,
                    Refusal::VersionTooOld { .. } | Refusal::OutOfStep | Refusal::Full
                ));
                self.refusals += 1;
                self.down[who].push_back(Down::Refused);
            }
        }
    }

    /// Delivers all that is on the way, and looks whether all have the same.
    fn settle(&mut self) {
        while self.up.iter().any(|lane| !lane.is_empty()) || self.down.iter().any(|lane| !lane.is_empty()) {
            for who in 0..self.clients.len() {
                self.step(&Step::Up(who));
                self.step(&Step::Down(who));
            }
        }
        let text = self.document.text();
        for client in &self.clients {
            assert_eq!(client.text.iter().collect::<String>(), text);
            assert_eq!((client.version, client.pending.len()), (self.document.version(), 0));
        }
        // Nothing vanishes but what somebody who saw it deleted, and nothing comes twice.
        let mut there = BTreeMap::new();
        text.chars().for_each(|c| *there.entry(c).or_insert(0) += 1);
        let expected: BTreeMap<char, i32> = self.put.difference(&self.cut).map(|c| (*c, 1)).collect();
        assert_eq!(there, expected);
    }
}

fn steps(clients: usize, joins: u32) -> impl Strategy<Value = Vec<Step>> {
    let who = 0..clients;
    let step = prop_oneof![
        6 => (who.clone(), 0usize..64, 0u32..4).prop_map(|(who, at, len)| Step::Put(who, at, len)),
        5 => (who.clone(), 0usize..64, 0usize..9).prop_map(|(who, at, len)| Step::Cut(who, at, len)),
        1 => (who.clone(), 0usize..64).prop_map(|(who, at)| Step::Point(who, at)),
        5 => who.clone().prop_map(Step::Up),
        6 => who.clone().prop_map(Step::Down),
        joins => who.prop_map(Step::Join),
    ];
    prop::collection::vec(step, 0..160)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// With room for everything, nobody is refused, and all come to the same text.
    #[test]
    fn all_come_to_the_same_text(steps in (3usize..6).prop_flat_map(|clients| (Just(clients), steps(clients, 0)))) {
        let (clients, steps) = steps;
        let mut net = Net::new(clients, ROOMY);
        steps.iter().for_each(|step| net.step(step));
        net.settle();
        prop_assert_eq!(net.refusals, 0);
    }

    /// With a short history and little space, some are refused, join again, and come to the same text too.
    #[test]
    fn who_falls_out_of_step_comes_back(
        history in 0usize..12,
        bytes_max in 20usize..200,
        steps in steps(4, 1),
    ) {
        let mut net = Net::new(4, Limits { history, bytes_max });
        steps.iter().for_each(|step| net.step(step));
        net.settle();
    }
}
