//! The owner against a naive model of who must see what, and its borders one by one.

mod attendance;
mod memory;
mod model;
mod moderation;
mod orders;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::base::clock::Wall;
use crate::base::id::Key;
use crate::hub::event::{Snapshot, Told};
use crate::hub::history::PUBLICATION_BYTES;
use crate::hub::policy::Options;

pub(super) const SHARDS: u16 = 3;
/// Age at which test rooms forget.
pub(super) const AGE: Duration = Duration::from_millis(100);

pub(super) fn keys() -> Keys {
    Keys::new([9; 16])
}

/// Small bounds, so that short runs reach them.
pub(super) fn policies(options: Options, history_bytes_total_max: usize) -> Policies {
    let mut policies = Policies::new(&options);
    policies.history_bytes_total_max = history_bytes_total_max;
    let room = policies.of_kind_mut(TopicKind::Room);
    room.history_messages_max = 4;
    room.history_age = AGE;
    room.history_bytes_max = 6 * PUBLICATION_BYTES;
    // Here an inbox stands for a topic that neither counts nor remembers; what it keeps has tests of its own.
    let inbox = policies.of_kind_mut(TopicKind::Inbox);
    (inbox.numbered, inbox.history_messages_max) = (false, 0);
    policies
}

pub(super) fn origin(shard: u16, slot: u32) -> Origin {
    Origin { shard: ShardId(shard), conn: Key { slot, generation: 0 } }
}

pub(super) fn room(name: &str) -> Topic {
    Topic::new(TopicKind::Room, name, keys())
}

pub(super) fn user(id: &str) -> Arc<User> {
    Arc::new(User { id: id.into(), name: None })
}

pub(super) fn at_ms(ms: u64) -> Now {
    Now { mono: Mono(ms * 1000), wall: Wall(ms) }
}

pub(super) fn tag(text: &str) -> Tag {
    Some(text.as_bytes().into())
}

/// One owner, one question at a time: asks without a tag, sweeps, gives back what came of it.
pub(super) struct Desk {
    pub(super) owner: Owner,
    pub(super) now_ms: u64,
}

impl Desk {
    fn new(options: Options) -> Desk {
        Desk::with(policies(options, usize::MAX))
    }

    pub(super) fn with(policies: Policies) -> Desk {
        Desk { owner: Owner::new(ShardId(0), SHARDS, keys(), policies), now_ms: 0 }
    }

    pub(super) fn ask_tagged(
        &mut self,
        topic: &Topic,
        origin: Origin,
        tag: Tag,
        ask: Ask,
    ) -> Vec<(u16, Outcome)> {
        self.owner.handle(Request { topic: topic.clone(), origin, tag, ask }, at_ms(self.now_ms));
        self.owner.check();
        std::iter::from_fn(|| self.owner.poll()).map(|(shard, outcome)| (shard.0, outcome)).collect()
    }

    pub(super) fn ask(&mut self, topic: &Topic, origin: Origin, ask: Ask) -> Vec<(u16, Outcome)> {
        self.ask_tagged(topic, origin, None, ask)
    }

    fn join(&mut self, name: &str, origin: Origin, id: &str) -> Vec<(u16, Outcome)> {
        self.ask(&room(name), origin, Ask::Join { user: user(id), since: None, history: 0, by_right: false })
    }

    fn publish(&mut self, name: &str, origin: Origin, bytes: usize) -> Vec<(u16, Outcome)> {
        self.ask(&room(name), origin, publish(&vec![b'x'; bytes], true))
    }

    /// The snapshot of a join that recovers.
    fn recover(&mut self, name: &str, origin: Origin, offset: u64, epoch: &str) -> Snapshot {
        let since = Some((offset, epoch.into()));
        let outcomes =
            self.ask(&room(name), origin, Ask::Join { user: user("r"), since, history: 0, by_right: false });
        snapshot(outcomes)
    }

    fn leave(&mut self, name: &str, origin: Origin) {
        self.ask(&room(name), origin, Ask::Gone);
    }
}

fn publish(payload: &[u8], echo: bool) -> Ask {
    Ask::Publish { payload: Shared::copy_of(payload), by: By::Member, echo }
}

pub(super) fn snapshot(outcomes: Vec<(u16, Outcome)>) -> Snapshot {
    match outcomes.into_iter().next() {
        Some((_, Outcome::Reply { reply: Reply::Joined(snapshot), .. })) => *snapshot,
        other => panic!("a join is answered first: {other:?}"),
    }
}

/// What came of a question, in words: `1:reply`, `0:deliver` with the sender's copy.
pub(super) fn words(outcomes: &[(u16, Outcome)]) -> Vec<String> {
    let word = |(shard, outcome): &(u16, Outcome)| match outcome {
        Outcome::Reply { reply, .. } => match reply {
            Reply::Joined(snapshot) => format!("{shard}:joined {}", snapshot.members_count),
            Reply::Accepted { offset } => format!("{shard}:accepted {offset}"),
            Reply::Refused(refusal) => format!("{shard}:{refusal:?}"),
            Reply::Left => format!("{shard}:left"),
            Reply::Kicked { by, seconds } => format!("{shard}:kicked by {} {seconds}", by.id),
            Reply::Muted { by, seconds } => format!("{shard}:muted by {} {seconds}", by.id),
            Reply::Edited { version } => format!("{shard}:edited {version}"),
            other => format!("{shard}:{other:?}"),
        },
        Outcome::Direct { message, .. } => format!("{shard}:direct {}", message.offset),
        Outcome::Matched { pattern, topic, sender, .. } => {
            let copy = if sender.is_some() { " no copy" } else { "" };
            format!("{shard}:{} by {}{copy}", topic.name(), pattern.name())
        }
        Outcome::Told { number, told, .. } => match &**told {
            Told::Posted(stamp) => {
                format!("{shard}:{number} posted {} to {}", stamp.offset, stamp.delivered)
            }
            other => format!("{shard}:{number} {other:?}"),
        },
        Outcome::Deliver { event, sender, .. } => {
            let what = match event {
                Event::Published(publication) => format!("published {}", publication.offset),
                Event::UserJoined { user, members_count, moderator } => {
                    format!("+{}{} {members_count}", user.id, if *moderator { "*" } else { "" })
                }
                Event::UserLeft { user, members_count } => format!("-{} {members_count}", user.id),
                Event::Typing { user, is_typing } => format!("typing {} {is_typing}", user.id),
                Event::Attendance(told) => {
                    let roll = told.roll.as_ref().map(|roll| roll.users.len());
                    format!("count {} {} {roll:?}", told.members_count, told.user_count)
                }
                Event::HistoryCleared(cleared) => format!("cleared {} by {}", cleared.offset, cleared.by.id),
                Event::EditorJoined(editor) => format!("+{} {}", editor.user.id, editor.members_count),
                Event::Edited(edit) => format!("{} by {}: {:?}", edit.version, edit.user.id, edit.operation),
                Event::Pointed(pointed) => format!("{} at {}", pointed.user.id, pointed.cursor.position),
            };
            let copy = match sender {
                None => "",
                Some(Sender { copy: None, .. }) => " no copy",
                Some(Sender { copy: Some(None), .. }) => " copy",
                Some(Sender { copy: Some(Some(_)), .. }) => " tagged copy",
            };
            format!("{shard}:{what}{copy}")
        }
    };
    outcomes.iter().map(word).collect()
}

#[test]
fn a_join_is_answered_before_the_others_hear_of_it_shard_by_shard() {
    let mut desk = Desk::new(Options::default());
    assert_eq!(words(&desk.join("r", origin(2, 1), "ann")), ["2:joined 1"]);
    assert_eq!(words(&desk.join("r", origin(0, 1), "bob")), ["0:joined 2", "2:+bob 2"]);
    assert_eq!(words(&desk.join("r", origin(2, 2), "cat")), ["2:joined 3", "0:+cat 3", "2:+cat 3 no copy"]);
    assert_eq!(words(&desk.join("r", origin(1, 1), "bob")), ["1:joined 4"], "no first connection");
    assert_eq!(words(&desk.join("r", origin(1, 1), "bob")), ["1:joined 4"], "again is no error");
    let left = desk.ask(&room("r"), origin(2, 2), Ask::Leave);
    assert_eq!(words(&left), ["2:left", "0:-cat 3", "1:-cat 3", "2:-cat 3 no copy"]);
    assert_eq!(words(&desk.ask(&room("r"), origin(2, 2), Ask::Leave)), ["2:NotMember(Room)"]);
    assert!(desk.ask(&room("r"), origin(2, 2), Ask::Gone).is_empty());
    assert!(desk.ask(&room("r"), origin(1, 1), Ask::Gone).is_empty(), "bob has one more");
    assert_eq!(words(&desk.ask(&room("r"), origin(0, 1), Ask::Gone)), ["2:-bob 1"]);
}

#[test]
fn a_publication_reaches_each_shard_once_and_answers_as_asked() {
    let mut desk = Desk::new(Options::default());
    let (ann, topic) = (origin(0, 1), room("r"));
    assert_eq!(words(&desk.publish("r", ann, 1)), ["0:NotMember(Room)"]);
    assert_eq!(desk.owner.counts(), Counts::default(), "a stranger's publication creates nothing");
    desk.join("r", ann, "ann");
    assert_eq!(words(&desk.publish("r", ann, 1)), ["0:published 1 copy"]);
    assert_eq!(words(&desk.ask_tagged(&topic, ann, tag("7"), publish(b"", false))), ["0:accepted 2"]);
    for slot in 0..3 {
        desk.join("r", origin(1, slot), "bob");
    }
    let echoed = desk.ask_tagged(&topic, ann, tag("7"), publish(b"hi", true));
    assert_eq!(words(&echoed), ["0:published 3 tagged copy", "1:published 3"]);
    assert!(matches!(&echoed[1].1, Outcome::Deliver { event: Event::Published(publication), .. }
        if &*publication.user.id == "ann" && &*publication.payload == b"hi"));
    let silent = desk.ask_tagged(&topic, ann, tag("7"), publish(b"", false));
    assert_eq!(words(&silent), ["0:accepted 4", "1:published 4"]);
    assert_eq!(words(&desk.ask(&topic, ann, publish(b"", false))), ["1:published 5"]);
    assert_eq!(words(&desk.ask(&topic, ann, Ask::Typing { is_typing: true })), ["1:typing ann true"]);
    let typing = desk.ask_tagged(&topic, origin(1, 0), tag("8"), Ask::Typing { is_typing: false });
    assert_eq!(words(&typing), ["1:accepted 0", "0:typing bob false", "1:typing bob false no copy"]);
}

#[test]
fn everyone_is_every_shard_and_nobodys_member() {
    let mut desk = Desk::new(Options::default());
    let everyone = Topic::new(TopicKind::Everyone, "*", keys());
    let mut cast = |tag, from: Option<Arc<User>>, echo| {
        let by = from.map_or(By::Member, By::Anyone);
        let ask = Ask::Publish { payload: Shared::copy_of(b"all"), by, echo };
        words(&desk.ask_tagged(&everyone, origin(1, 1), tag, ask))
    };
    let told = ["0:published 0", "1:published 0 no copy", "2:published 0"];
    assert_eq!(cast(None, Some(user("ann")), true), told);
    assert_eq!(cast(tag("1"), Some(user("ann")), false)[0], "1:accepted 0");
    assert_eq!(cast(tag("1"), Some(user("ann")), true)[1..], told);
    assert_eq!(cast(None, None, false), ["1:Forbidden"], "nobody publishes as nobody");
    let join = Ask::Join { user: user("ann"), since: None, history: 0, by_right: false };
    assert_eq!(words(&desk.ask(&everyone, origin(1, 1), join)), ["1:RoomFull"]);
    assert_eq!(desk.owner.counts(), Counts::default());
}

#[test]
fn limits_refuse_one_more_and_leave_no_trace() {
    let mut desk =
        Desk::new(Options { room_members_max: Some(1), user_connections_max: Some(2), ..Options::default() });
    desk.join("r", origin(0, 1), "ann");
    assert_eq!(words(&desk.join("r", origin(0, 2), "bob")), ["0:RoomFull"]);
    assert_eq!(words(&desk.join("r", origin(0, 1), "ann")), ["0:joined 1"], "again");
    let inbox = Topic::new(TopicKind::Inbox, "ann", keys());
    for (slot, expected) in [(1, "0:joined 1"), (2, "0:joined 2"), (3, "0:RoomFull")] {
        let join = Ask::Join { user: user("ann"), since: None, history: 0, by_right: false };
        assert_eq!(words(&desk.ask(&inbox, origin(0, slot), join)), [expected]);
    }
    let since = Some((0, "".into()));
    let again =
        desk.ask(&inbox, origin(0, 1), Ask::Join { user: user("ann"), since, history: 0, by_right: false });
    assert_eq!(snapshot(again).recovered, Some(false), "without numbers nothing can be proved");
    let direct = Ask::Publish { payload: Shared::copy_of(b"psst"), by: By::Anyone(user("bob")), echo: true };
    let direct = desk.ask_tagged(&inbox, origin(2, 1), tag("1"), direct);
    assert_eq!(words(&direct), ["2:accepted 0", "0:published 0"], "no copy to a stranger");
    assert_eq!((desk.owner.counts().topics_with_members, desk.owner.counts().rooms_with_members), (2, 1));
    assert_eq!(desk.owner.largest(9).len(), 1, "rooms only");
    let mut nobody = Desk::new(Options { room_members_max: Some(0), ..Options::default() });
    assert_eq!(words(&nobody.join("r", origin(0, 2), "bob")), ["0:RoomFull"]);
    assert_eq!(nobody.owner.counts(), Counts::default());
}

#[test]
fn a_deserted_room_waits_for_its_people_as_long_as_it_remembers() {
    let mut desk = Desk::new(Options::default());
    let ann = origin(0, 1);
    let first = snapshot(desk.join("r", ann, "ann"));
    assert_eq!((first.offset, first.epoch.len(), first.recovered), (0, EPOCH_CHARS, None));
    desk.leave("r", ann);
    assert_eq!(desk.owner.counts(), Counts::default(), "nothing said, nothing kept");
    let second = snapshot(desk.join("r", ann, "ann"));
    assert_ne!(first.epoch, second.epoch);
    assert_eq!(desk.recover("r", ann, 0, &second.epoch).recovered, Some(true), "before the first message");
    desk.publish("r", ann, 1);
    desk.publish("r", ann, 1);
    desk.leave("r", ann);
    assert_eq!((desk.owner.counts().topics, desk.owner.counts().topics_with_members), (1, 0));
    assert_eq!(desk.owner.largest(9), []);
    assert_eq!(words(&desk.publish("r", ann, 1)), ["0:NotMember(Room)"]);
    desk.now_ms = 99;
    desk.owner.expire(at_ms(99).mono);
    let back = desk.recover("r", ann, 1, &second.epoch);
    assert_eq!((back.recovered, back.messages.map(|all| all.len())), (Some(true), Some(1)));
    assert_eq!(desk.owner.next_expiry(), None, "somebody is there");
    desk.leave("r", ann);
    assert_eq!(desk.owner.next_expiry(), Some(at_ms(100).mono));
    desk.now_ms = 100;
    desk.owner.expire(at_ms(100).mono);
    assert_eq!((desk.owner.counts(), desk.owner.next_expiry()), (Counts::default(), None));
    assert_eq!(desk.recover("r", ann, 2, &second.epoch).recovered, Some(false), "another numbering");
}

#[test]
fn leaving_after_everything_expired_forgets_the_topic_at_once() {
    let mut desk = Desk::new(Options::default());
    desk.join("r", origin(0, 1), "ann");
    desk.publish("r", origin(0, 1), 1);
    desk.now_ms = 100;
    desk.leave("r", origin(0, 1));
    assert_eq!(desk.owner.counts(), Counts::default());
}

#[test]
fn expiry_is_done_in_portions() {
    let mut desk = Desk::new(Options::default());
    for n in 0..EXPIRED_PER_CALL_MAX + 1 {
        let name = format!("r{n}");
        desk.join(&name, origin(0, 1), "ann");
        desk.publish(&name, origin(0, 1), 1);
        desk.leave(&name, origin(0, 1));
    }
    let late = at_ms(1000).mono;
    desk.owner.expire(late);
    assert_eq!(desk.owner.counts().topics, 1);
    assert!(desk.owner.next_expiry().is_some_and(|until| until <= late));
    desk.owner.expire(late);
    assert_eq!((desk.owner.counts(), desk.owner.records.capacity()), (Counts::default(), 0));
    assert!(desk.owner.slots.capacity() <= EXPIRED_PER_CALL_MAX, "{}", desk.owner.slots.capacity());
}

#[test]
fn largest_rooms_are_ordered_by_members_and_then_by_name() {
    let mut desk = Desk::new(Options::default());
    for (name, members) in [("b", 2), ("d", 1), ("a", 2), ("c", 3), ("e", 1)] {
        for slot in 0..members {
            desk.join(name, origin(0, slot), &format!("u{slot}"));
        }
    }
    let names = |count| -> Vec<String> {
        let largest = desk.owner.largest(count);
        largest.iter().map(|(topic, members)| format!("{}{members}", topic.name())).collect()
    };
    assert_eq!(names(4), ["c3", "a2", "b2", "d1"]);
    assert_eq!(names(0), Vec::<String>::new());
    assert_eq!(names(99).len(), 5);
}

#[test]
fn epochs_differ_between_shards_and_counts() {
    let a = epoch(keys(), ShardId(0), 1);
    assert!(a.bytes().all(|byte| EPOCH_ALPHABET.contains(&byte)));
    assert_ne!(a, epoch(keys(), ShardId(1), 1));
    assert_ne!(a, epoch(keys(), ShardId(0), 2));
    assert_eq!(a, epoch(keys(), ShardId(0), 1));
}
