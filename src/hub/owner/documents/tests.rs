//! Documents as their owner has them: who is told what, who has to come again, and what memory does.

use super::*;
use crate::base::hash::Keys;
use crate::hub::command::Ask;
use crate::hub::document::{Cursor, DOCUMENT_BYTES, Limits};
use crate::hub::event::Outcome;
use crate::hub::name::{Topic, TopicKind};
use crate::hub::owner::tests::{Desk, keys, origin, policies, snapshot, tag, user, words};
use crate::hub::policy::{Documents, Options, Policies};

const HOUR_MS: u64 = 3_600_000;

fn document(name: &str) -> Topic {
    let keys: Keys = keys();
    Topic::new(TopicKind::Document, name, keys)
}

fn desk(bytes_total_max: usize) -> Desk {
    let limits = Limits { history: 4, bytes_max: 20_000 };
    let documents = Documents { limits, bytes_total_max, ..Documents::default() };
    Desk::with(policies(Options { documents, ..Options::default() }, usize::MAX))
}

fn open(desk: &mut Desk, name: &str, origin: Origin, id: &str) -> Vec<(u16, Outcome)> {
    desk.ask(&document(name), origin, Ask::Open { user: user(id), info: None })
}

fn insert(version: u64, position: u64, text: &str) -> Ask {
    Ask::Edit { version, operation: Operation::Insert { position, text: text.into() } }
}

fn delete(version: u64, start: u64, end: u64) -> Ask {
    Ask::Edit { version, operation: Operation::Delete { start, end } }
}

fn point(version: Option<u64>, position: u64) -> Ask {
    Ask::Point(Box::new(Pointer { version, cursor: Cursor { position, selection: None } }))
}

/// The text that `origin` finds when it joins (again).
fn content(desk: &mut Desk, name: &str, origin: Origin) -> (String, u64) {
    let text = snapshot(open(desk, name, origin, "reader")).text.expect("a document has a text");
    (text.content.to_string(), text.version)
}

#[test]
fn an_edit_is_acknowledged_and_told_to_the_others_part_by_part() {
    let mut desk = desk(usize::MAX);
    let (topic, ann, bob) = (document("d"), origin(0, 1), origin(1, 1));
    assert_eq!(words(&desk.ask(&topic, ann, insert(0, 0, "x"))), ["0:NotMember(Document)"]);
    assert_eq!(words(&open(&mut desk, "d", ann, "ann")), ["0:joined 1"]);
    assert_eq!(words(&open(&mut desk, "d", bob, "bob")), ["1:joined 2", "0:+bob 2"]);
    let told = words(&desk.ask(&topic, ann, insert(0, 0, "abcd")));
    assert_eq!(told, ["0:edited 1", "1:1 by ann: Insert { position: 0, text: \"abcd\" }"]);
    words(&desk.ask(&topic, ann, insert(1, 2, "X")));
    let told = words(&desk.ask_tagged(&topic, bob, tag("1"), delete(1, 1, 3)));
    let parts = ["0:3 by bob: Delete { start: 3, end: 4 }", "0:4 by bob: Delete { start: 1, end: 2 }"];
    assert_eq!(told, ["1:edited 4", parts[0], parts[1]]);
    assert_eq!(
        words(&desk.ask(&topic, ann, delete(4, 1, 1))),
        ["0:edited 4"],
        "nothing to do, nothing to tell"
    );
    assert_eq!(content(&mut desk, "d", origin(2, 1)), ("aXd".into(), 4));
    assert_eq!(words(&desk.ask(&topic, bob, Ask::Leave)), ["1:left", "0:-bob 2", "2:-bob 2"]);
    assert_eq!(words(&desk.ask(&topic, bob, insert(4, 0, "x"))), ["1:NotMember(Document)"]);
    assert_eq!(desk.owner.counts().rooms_with_members, 0);
}

#[test]
fn who_is_out_of_step_stays_a_member_and_joins_again() {
    let mut desk = desk(usize::MAX);
    let (topic, ann, bob) = (document("d"), origin(0, 1), origin(0, 2));
    open(&mut desk, "d", ann, "ann");
    open(&mut desk, "d", bob, "bob");
    for version in 0..5 {
        desk.ask(&topic, ann, insert(version, 0, "x"));
    }
    let old = words(&desk.ask(&topic, bob, insert(0, 0, "y")));
    assert_eq!(old, ["0:Edit(VersionTooOld { oldest: 1 })"]);
    assert_eq!(words(&desk.ask(&topic, bob, insert(5, 0, "y"))), ["0:Edit(OutOfStep)"]);
    assert_eq!(words(&desk.ask(&topic, bob, point(Some(5), 0))), ["0:Edit(OutOfStep)"]);
    assert_eq!(
        words(&desk.ask(&topic, ann, insert(5, 0, "z"))).len(),
        2,
        "it is told what happens all the same"
    );
    assert_eq!(words(&open(&mut desk, "d", bob, "bob")), ["0:joined 2"], "nobody is told of that");
    assert_eq!(words(&desk.ask(&topic, bob, insert(6, 0, "y"))).len(), 2);
    // An edit that was lost on the way, as there were too many.
    assert!(desk.ask(&topic, bob, Ask::Skip).is_empty());
    assert_eq!(words(&desk.ask(&topic, bob, insert(7, 1, "y"))), ["0:Edit(OutOfStep)"]);
    assert!(desk.ask(&topic, origin(2, 9), Ask::Skip).is_empty(), "a stranger loses nothing");
    assert_eq!(content(&mut desk, "d", bob), ("yzxxxxx".into(), 7));
}

#[test]
fn cursors_are_told_where_the_text_is_now() {
    let mut desk = desk(usize::MAX);
    let (topic, ann, bob) = (document("d"), origin(0, 1), origin(1, 1));
    open(&mut desk, "d", ann, "ann");
    open(&mut desk, "d", bob, "bob");
    desk.ask(&topic, ann, insert(0, 0, "abc"));
    desk.ask(&topic, ann, insert(1, 0, "<<"));
    assert_eq!(words(&desk.ask(&topic, bob, point(Some(1), 1))), ["0:bob at 3"]);
    assert_eq!(
        words(&desk.ask_tagged(&topic, bob, tag("1"), point(None, 9))),
        ["1:accepted 0", "0:bob at 5"]
    );
    assert_eq!(words(&desk.ask(&topic, origin(1, 2), point(None, 9))), ["1:NotMember(Document)"]);
    let text = snapshot(open(&mut desk, "d", origin(2, 1), "cat")).text.expect("a text");
    let places: Vec<_> = text.cursors.iter().map(|(user, at)| (&*user.id, at.position)).collect();
    assert_eq!(places, [("bob", 5)]);
}

#[test]
fn users_are_introduced() {
    let mut desk = desk(usize::MAX);
    let topic = document("d");
    let came = |desk: &mut Desk, origin, id, info: &[u8]| {
        desk.ask(&topic, origin, Ask::Open { user: user(id), info: Some(info.into()) })
    };
    came(&mut desk, origin(0, 1), "ann", b"1");
    let told = came(&mut desk, origin(0, 2), "bob", b"2");
    assert!(matches!(&told[1].1, Outcome::Deliver { event: Event::EditorJoined(editor), .. }
        if &*editor.info == b"2" && editor.members_count == 2));
    let joined = snapshot(open(&mut desk, "d", origin(0, 3), "cat"));
    let infos = joined.text.expect("a text").infos;
    assert_eq!(
        infos.iter().map(|info| info.as_deref()).collect::<Vec<_>>(),
        [Some(&b"1"[..]), Some(b"2"), None]
    );
    desk.ask(&topic, origin(0, 2), Ask::Gone);
    let infos = snapshot(open(&mut desk, "d", origin(0, 3), "cat")).text.expect("a text").infos;
    assert_eq!(infos.len(), 2);
}

/// Complaint: a document is destroyed when its last editor reconnects too fast, or is never unloaded.
#[test]
fn an_idle_document_keeps_its_text_for_its_time_and_no_longer() {
    let mut desk = desk(usize::MAX);
    let (topic, ann) = (document("d"), origin(0, 1));
    open(&mut desk, "empty", ann, "ann");
    desk.ask(&document("empty"), ann, Ask::Gone);
    assert_eq!(desk.owner.counts().topics, 0, "what nobody wrote in is forgotten at once");
    open(&mut desk, "d", ann, "ann");
    desk.ask(&topic, ann, insert(0, 0, "text"));
    desk.ask(&topic, ann, Ask::Gone);
    assert_eq!(desk.owner.counts().topics, 1);
    desk.now_ms = HOUR_MS - 1;
    desk.owner.expire(crate::hub::owner::tests::at_ms(desk.now_ms).mono);
    assert_eq!(content(&mut desk, "d", ann), ("text".into(), 1), "and its version goes on");
    desk.ask(&topic, ann, Ask::Gone);
    desk.now_ms += HOUR_MS;
    assert_eq!(desk.owner.next_expiry(), Some(crate::hub::owner::tests::at_ms(desk.now_ms).mono));
    desk.owner.expire(crate::hub::owner::tests::at_ms(desk.now_ms).mono);
    assert_eq!((desk.owner.counts().topics, desk.owner.counts().document_bytes), (0, 0));
    assert_eq!(content(&mut desk, "d", ann), (String::new(), 0));
}

#[test]
fn texts_together_are_bounded_and_idle_ones_go_first() {
    const MAX: usize = 100_000;
    let mut desk = desk(MAX);
    let text = "x".repeat(5_000);
    // Idle documents come and go for ever, the oldest first.
    for n in 0..40 {
        let (name, ann) = (n.to_string(), origin(0, n));
        desk.now_ms += 1;
        assert_eq!(words(&open(&mut desk, &name, ann, "ann")), ["0:joined 1"]);
        assert_eq!(words(&desk.ask(&document(&name), ann, insert(0, 0, &text))), ["0:edited 1"]);
        desk.ask(&document(&name), ann, Ask::Gone);
        assert!(desk.owner.counts().document_bytes <= MAX);
    }
    let counts = desk.owner.counts();
    assert!(counts.evicted >= 30 && counts.topics >= 4, "{counts:?}");
    assert_eq!(content(&mut desk, "39", origin(0, 1)).0, text);
    assert_eq!(content(&mut desk, "0", origin(0, 1)).0, "");
    // What is open stays whole and stops growing; nothing of it is lost.
    let mut taken = 0;
    for n in 100..200 {
        let name = n.to_string();
        open(&mut desk, &name, origin(0, n), "ann");
        let told = words(&desk.ask(&document(&name), origin(0, n), insert(0, 0, &text)));
        taken += usize::from(told == ["0:edited 1"]);
    }
    assert!((3..7).contains(&taken), "{taken}");
    assert_eq!(words(&open(&mut desk, "more", origin(1, 1), "bob")), ["1:DocumentsFull"]);
    let full = words(&desk.ask(&document("39"), origin(0, 1), insert(1, 0, &text)));
    assert_eq!(full, ["0:Edit(Full)"], "its author has to join again");
    assert_eq!(words(&desk.ask(&document("39"), origin(0, 1), delete(1, 0, 1))), ["0:Edit(OutOfStep)"]);
    assert_eq!(content(&mut desk, "100", origin(0, 100)).0, text);
    // A room's history takes nothing from documents, nor the other way round.
    assert_eq!(desk.owner.counts().history_bytes, 0);
}

#[test]
fn one_text_is_bounded() {
    let mut desk = desk(usize::MAX);
    let (topic, ann) = (document("d"), origin(0, 1));
    open(&mut desk, "d", ann, "ann");
    assert_eq!(words(&desk.ask(&topic, ann, insert(0, 0, &"x".repeat(20_000)))), ["0:edited 1"]);
    assert_eq!(words(&desk.ask(&topic, ann, insert(1, 0, "x"))), ["0:Edit(Full)"]);
    assert!(desk.owner.counts().document_bytes > DOCUMENT_BYTES);
}

/// Members who never follow cost memory for each operation that they have not seen: within the bound as well.
#[test]
fn who_stays_behind_on_purpose_is_bounded() {
    const MAX: usize = 60_000;
    let limits = Limits { history: 1000, bytes_max: 20_000 };
    let documents = Documents { limits, bytes_total_max: MAX, ..Documents::default() };
    let mut desk = Desk::with(Policies::new(&Options { documents, ..Options::default() }));
    let topic = document("d");
    for n in 0..10 {
        open(&mut desk, "d", origin(0, n), "ann");
    }
    for version in 0..200 {
        desk.ask(&topic, origin(0, 0), insert(version, 0, "x"));
    }
    for n in 1..10 {
        desk.ask(&topic, origin(0, n), point(Some(0), 0));
        desk.ask(&topic, origin(0, n), insert(0, 0, "y"));
        assert!(desk.owner.counts().document_bytes <= MAX);
    }
    let out_of_step = (1..10)
        .filter(|n| words(&desk.ask(&topic, origin(0, *n), insert(0, 0, "y"))) == ["0:Edit(OutOfStep)"]);
    assert!(out_of_step.count() > 2);
    assert_eq!(words(&desk.ask(&topic, origin(0, 0), insert(200, 0, "x"))).len(), 1 + 1, "honest ones go on");
}
