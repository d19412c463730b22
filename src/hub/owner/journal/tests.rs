//! Journals that are followed, and owners that begin with what was followed.

use std::sync::OnceLock;

use super::*;
use crate::base::clock::Wall;
use crate::base::id::ShardId;
use crate::base::shared::Shared;
use crate::hub::command::{Ask, By, Request};
use crate::hub::event::{Body, Outcome, Redelivery, Refusal, Reply};
use crate::hub::name::TopicKind;
use crate::hub::owner::tests::{at_ms, keys, origin, policies, room, tag, user};
use crate::hub::policy::{Options, Policies};

fn owner(durability: Durability) -> Owner {
    let policies = policies(Options::default(), usize::MAX);
    let mut owner = Owner::new(ShardId(0), 3, keys(), policies);
    owner.keep_journal(durability);
    owner
}

/// An owner under the rules that servers have.
fn ordinary() -> Owner {
    let mut owner = Owner::new(ShardId(0), 3, keys(), Policies::new(&Options::default()));
    owner.keep_journal(Durability::Sync);
    owner
}

fn topic(kind: TopicKind, name: &str) -> Topic {
    Topic::new(kind, name, keys())
}

fn history(
    topic: Topic,
    epoch: Arc<str>,
    (head, acknowledged): (u64, u64),
    publications: Vec<Arc<Publication>>,
) -> Restored {
    Restored { topic, content: Content::History { epoch, head, acknowledged, publications } }
}

fn published(offset: u64, ms: u64) -> Arc<Publication> {
    Arc::new(Publication {
        offset,
        time: Wall(ms),
        user: user("ann"),
        payload: Shared::copy_of(b"1"),
        body: Body::Value,
        frame: OnceLock::new(),
    })
}

fn ask(owner: &mut Owner, ask: Ask, ms: u64) {
    owner.handle(Request { topic: room("r"), origin: origin(0, 1), tag: tag("1"), ask }, at_ms(ms));
    owner.check();
}

fn join() -> Ask {
    Ask::Join { user: user("ann"), since: None, history: 9, by_right: false }
}

fn publish() -> Ask {
    Ask::Publish { payload: Shared::copy_of(b"1"), by: By::Member, echo: true }
}

fn polled(owner: &mut Owner) -> usize {
    std::iter::from_fn(|| owner.poll()).count()
}

#[test]
fn nobody_hears_of_what_is_not_stored() {
    let mut owner = owner(Durability::Sync);
    ask(&mut owner, join(), 0);
    assert_eq!(polled(&mut owner), 1, "there is nothing to store yet");
    ask(&mut owner, publish(), 0);
    ask(&mut owner, join(), 0);
    assert_eq!(polled(&mut owner), 0, "not even the answer that tells of it");
    assert_eq!(owner.cut_journal().map(|batch| batch.len()), Some(1));
    ask(&mut owner, publish(), 0);
    assert!(!owner.is_stored());
    owner.stored();
    assert_eq!(polled(&mut owner), 2);
    assert_eq!(owner.cut_journal().map(|batch| batch.len()), Some(1));
    owner.stored();
    assert_eq!(polled(&mut owner), 1);
    assert!(owner.is_stored());
}

/// What the journal says is what a reader has kept who only follows it.
#[test]
fn who_follows_the_journal_can_begin_again_with_it() {
    let mut first = owner(Durability::Async);
    ask(&mut first, join(), 0);
    for ms in 0..7 {
        ask(&mut first, publish(), ms);
    }
    let (mut kept, mut head, mut named) = (Vec::new(), 0, None);
    for entry in first.cut_journal().into_iter().flatten() {
        let Entry::Published { epoch, publication, reach, .. } = entry else { panic!("{entry:?}") };
        (head, named) = (publication.offset, Some(epoch));
        kept.push(publication);
        kept.retain(|publication| publication.offset >= reach.first);
    }
    let offsets: Vec<u64> = kept.iter().map(|publication| publication.offset).collect();
    assert_eq!(offsets, [4, 5, 6, 7], "the policy keeps four");
    let mut second = owner(Durability::Async);
    let (topic, epoch) = (room("r"), named.expect("an epoch"));
    second.restore(history(topic, Arc::clone(&epoch), (head, 0), kept), at_ms(6));
    second.check();
    let since = Some((5, Box::from(&*epoch)));
    ask(&mut second, Ask::Join { user: user("ann"), since, history: 0, by_right: false }, 6);
    let Some((_, Outcome::Reply { reply: Reply::Joined(snapshot), .. })) = second.poll() else {
        panic!("an answer")
    };
    assert_eq!((snapshot.offset, snapshot.recovered), (7, Some(true)));
    assert_eq!(snapshot.messages.map(|messages| messages.len()), Some(2));
}

#[test]
fn what_is_forgotten_is_forgotten_by_the_store_too() {
    let mut owner = owner(Durability::Async);
    ask(&mut owner, join(), 0);
    ask(&mut owner, publish(), 0);
    ask(&mut owner, Ask::Leave, 0);
    owner.cut_journal();
    owner.expire(owner.next_expiry().expect("the history has an age"));
    let last = owner.cut_journal().and_then(|mut batch| batch.pop());
    assert!(matches!(last, Some(Entry::Forgotten { .. })), "{last:?}");
}

/// Asks about an inbox in the name of its user; what is answered, once all is stored.
fn post(owner: &mut Owner, name: &str, ask: Ask) -> Option<Reply> {
    let topic = topic(TopicKind::Inbox, name);
    owner.handle(Request { topic, origin: origin(0, 1), tag: tag("1"), ask }, at_ms(5));
    owner.check();
    let mut answer = None;
    while let Some((_, outcome)) = owner.poll() {
        if let Outcome::Reply { reply, .. } = outcome {
            answer = Some(reply);
        }
    }
    answer
}

fn direct() -> Ask {
    Ask::Direct { payload: Shared::copy_of(b"1"), user: user("bob"), receipt: None }
}

fn kept(reply: Option<Reply>) -> (Option<(u64, u64)>, Vec<u64>) {
    let Some(Reply::Inbox(Redelivery { lost, messages })) = reply else { panic!("{reply:?}") };
    (lost, messages.iter().map(|message| message.offset).collect())
}

#[test]
fn an_acknowledgement_is_stored_before_it_is_answered() {
    let mut owner = ordinary();
    (0..3).for_each(|_| drop(post(&mut owner, "ann", direct())));
    owner.cut_journal();
    owner.stored();
    polled(&mut owner);
    assert!(post(&mut owner, "ann", Ask::Acknowledge { seq: 2 }).is_none(), "it waits");
    let batch = owner.cut_journal().expect("an entry");
    let [Entry::Trimmed { reach, .. }] = &batch[..] else { panic!("{batch:?}") };
    assert_eq!(*reach, Reach { first: 3, acknowledged: 2 });
    owner.stored();
    assert_eq!(polled(&mut owner), 1);
    // Nothing new is nothing to store.
    assert!(post(&mut owner, "ann", Ask::Acknowledge { seq: 1 }).is_some());
    assert!(owner.cut_journal().is_none());
    post(&mut owner, "ann", Ask::Acknowledge { seq: 3 });
    let last = owner.cut_journal().and_then(|mut batch| batch.pop());
    assert!(matches!(last, Some(Entry::Forgotten { .. })), "{last:?}");
}

#[test]
fn an_inbox_goes_on_where_it_was() {
    let mut owner = ordinary();
    owner.restore_inbox_floor(20);
    let inbox = topic(TopicKind::Inbox, "ann");
    owner.restore(history(inbox, "".into(), (9, 4), vec![published(8, 5), published(9, 5)]), at_ms(5));
    owner.check();
    assert!(owner.cut_journal().is_none(), "nothing has changed");
    assert_eq!(
        kept(post(&mut owner, "ann", Ask::Inbox)),
        (Some((5, 7)), vec![8, 9]),
        "what was lost is known"
    );
    post(&mut owner, "ann", direct());
    post(&mut owner, "new", direct());
    let offsets: Vec<u64> = owner
        .cut_journal()
        .into_iter()
        .flatten()
        .map(|entry| match entry {
            Entry::Published { publication, .. } => publication.offset,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(offsets, [10, 21], "its own numbering, and that of one who may have been forgotten");
}

/// An emptied inbox is restored for its number alone, and forgotten at once.
#[test]
fn an_emptied_inbox_raises_the_floor() {
    let mut owner = ordinary();
    owner.restore(history(topic(TopicKind::Inbox, "ann"), "".into(), (9, 9), vec![]), at_ms(5));
    owner.check();
    assert_eq!(owner.counts().topics, 0);
    let batch = owner.cut_journal().expect("the store is told");
    assert!(matches!(&batch[..], [Entry::Forgotten { .. }]), "{batch:?}");
    owner.stored();
    assert!(matches!(
        post(&mut owner, "ann", Ask::Acknowledge { seq: 10 }),
        Some(Reply::Refused(Refusal::InvalidField { .. }))
    ));
    assert!(post(&mut owner, "ann", Ask::Acknowledge { seq: 9 }).is_some());
}

/// Clocks are set back: what is older stands behind what is newer, and only the front can go.
#[test]
fn a_clock_that_was_set_back_leaves_no_hole() {
    let mut owner = owner(Durability::Sync);
    let (day, old) = (86_400_000, 1);
    let publications = vec![published(1, old), published(2, day), published(3, old), published(4, day)];
    owner.restore(history(room("r"), "e".into(), (4, 0), publications), at_ms(day));
    owner.check();
    let batch = owner.cut_journal().expect("what has aged");
    let [Entry::Trimmed { reach, .. }] = &batch[..] else { panic!("{batch:?}") };
    assert_eq!(reach.first, 2);
}

/// The rule for the room has changed since: what is not remembered any more must leave the disk.
#[test]
fn what_is_not_remembered_any_more_is_forgotten_by_the_store() {
    let mut policies = policies(Options::default(), usize::MAX);
    policies.of_kind_mut(TopicKind::Room).history_messages_max = 0;
    let mut owner = Owner::new(ShardId(0), 3, keys(), policies);
    owner.keep_journal(Durability::Sync);
    owner.restore(history(room("r"), "e".into(), (2, 0), vec![published(1, 5), published(2, 5)]), at_ms(5));
    owner.check();
    let last = owner.cut_journal().and_then(|mut batch| batch.pop());
    assert!(matches!(last, Some(Entry::Forgotten { .. })), "{last:?}");
}

#[test]
fn the_value_of_a_feed_is_not_stored() {
    let mut owner = ordinary();
    let ask = Ask::Publish { payload: Shared::copy_of(b"1"), by: By::Server(user("feed")), echo: false };
    owner.handle(
        Request { topic: topic(TopicKind::Feed, "f"), origin: origin(0, 1), tag: None, ask },
        at_ms(0),
    );
    assert!(owner.cut_journal().is_none() && owner.is_stored());
}

fn write(owner: &mut Owner, ask: Ask) -> usize {
    let topic = topic(TopicKind::Document, "d");
    owner.handle(Request { topic, origin: origin(0, 1), tag: tag("1"), ask }, at_ms(0));
    owner.check();
    polled(owner)
}

fn insert(version: u64, text: &str) -> Ask {
    Ask::Edit { version, operation: Operation::Insert { position: 0, text: text.into() } }
}

#[test]
fn an_edit_is_stored_before_it_is_answered_and_the_text_now_and_then() {
    let mut owner = ordinary();
    write(&mut owner, Ask::Open { user: user("ann"), info: None });
    assert_eq!(write(&mut owner, insert(0, "ab")), 0, "it waits");
    let batch = owner.cut_journal().expect("an entry");
    assert!(matches!(&batch[..], [Entry::Edited { version: 1, .. }]), "{batch:?}");
    owner.stored();
    assert_eq!(polled(&mut owner), 1);
    let (mut text, mut wholes) = (String::from("ab"), 0);
    for version in 1..2000 {
        write(&mut owner, insert(version, "x"));
        text.insert(0, 'x');
        for entry in owner.cut_journal().into_iter().flatten() {
            if let Entry::Written { version: whole, text: told, .. } = entry {
                assert_eq!((whole, &*told), (version + 1, &text));
                wholes += 1;
            }
        }
        owner.stored();
    }
    assert_eq!(wholes, 3, "one for some five hundred keystrokes");
    write(&mut owner, Ask::Gone);
    owner.expire(owner.next_expiry().expect("it has an age"));
    let last = owner.cut_journal().and_then(|mut batch| batch.pop());
    assert!(matches!(last, Some(Entry::Forgotten { .. })), "{last:?}");
}

/// A text that is longer than what is allowed by now is not cut, and can be made shorter.
#[test]
fn a_text_goes_on_where_it_was() {
    let mut policies = Policies::new(&Options::default());
    policies.of_kind_mut(TopicKind::Document).document.bytes_max = 3;
    let mut owner = Owner::new(ShardId(0), 3, keys(), policies);
    owner.keep_journal(Durability::Off);
    let content = Content::Text { version: 7, text: "abcd".into() };
    owner.restore(Restored { topic: topic(TopicKind::Document, "d"), content }, at_ms(0));
    owner.check();
    assert_eq!(owner.counts().topics, 1);
    owner.handle(
        Request {
            topic: topic(TopicKind::Document, "d"),
            origin: origin(0, 1),
            tag: tag("1"),
            ask: Ask::Open { user: user("ann"), info: None },
        },
        at_ms(0),
    );
    let Some((_, Outcome::Reply { reply: Reply::Joined(snapshot), .. })) = owner.poll() else {
        panic!("an answer")
    };
    let text = snapshot.text.expect("a document");
    assert_eq!((&**text.content, text.version), ("abcd", 7));
    assert_eq!(write(&mut owner, insert(7, "x")), 1, "refused");
    let content = |owner: &Owner| {
        let slot = owner.slots[&topic(TopicKind::Document, "d")];
        owner.records[slot as usize].record.pad().map(|pad| pad.document().text())
    };
    assert_eq!(content(&owner).as_deref(), Some("abcd"));
    write(&mut owner, Ask::Open { user: user("ann"), info: None });
    write(&mut owner, Ask::Edit { version: 7, operation: Operation::Delete { start: 0, end: 2 } });
    assert_eq!(content(&owner).as_deref(), Some("cd"));
}
