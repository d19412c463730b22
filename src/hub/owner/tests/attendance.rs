//! Who is told of whom: the grace, and crowds.

use super::*;
use crate::hub::owner::grace::LINGERING_MAX;

const GRACE: Duration = Duration::from_millis(50);

fn graceful() -> Desk {
    Desk::new(Options { presence_grace: GRACE, ..Options::default() })
}

impl Desk {
    /// What comes of time.
    fn expire_at(&mut self, ms: u64) -> Vec<String> {
        self.now_ms = ms;
        self.owner.expire(at_ms(ms).mono);
        self.owner.check();
        let told: Vec<_> =
            std::iter::from_fn(|| self.owner.poll()).map(|(shard, told)| (shard.0, told)).collect();
        words(&told)
    }

    fn users_of(&mut self, name: &str, asker: Origin) -> (u32, u32, Vec<String>) {
        match self.ask(&room(name), asker, Ask::Users).pop() {
            Some((_, Outcome::Reply { reply: Reply::Users { members_count, user_count, roll }, .. })) => {
                (members_count, user_count, roll.users.iter().map(|user| user.id.to_string()).collect())
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What every chat complains about: a page that is loaded anew is told to everybody, twice.
#[test]
fn a_reload_within_the_grace_is_told_to_nobody() {
    let mut desk = graceful();
    let (watcher, ann) = (origin(1, 1), origin(0, 1));
    desk.join("r", watcher, "watcher");
    assert_eq!(words(&desk.join("r", ann, "ann")), ["0:joined 2", "1:+ann 2"]);
    assert_eq!(desk.ask(&room("r"), ann, Ask::Gone).len(), 0);
    assert_eq!(
        desk.users_of("r", watcher),
        (1, 2, vec!["watcher".into(), "ann".into()]),
        "connections are exact"
    );
    desk.now_ms = 49;
    assert_eq!(words(&desk.join("r", origin(2, 7), "ann")), ["2:joined 2"]);
    assert_eq!(desk.owner.next_expiry(), None, "she is not waited for any more");
    assert_eq!(desk.expire_at(500), [""; 0]);
    // The time counts from the last departure, not from one before a return.
    desk.leave("r", origin(2, 7));
    desk.now_ms = 520;
    desk.join("r", ann, "ann");
    desk.leave("r", ann);
    assert_eq!(desk.expire_at(569), [""; 0]);
    assert_eq!(desk.expire_at(570), ["1:-ann 1"]);
    assert_eq!(desk.users_of("r", watcher), (1, 1, vec!["watcher".into()]));
}

#[test]
fn a_deserted_room_keeps_its_numbering_for_who_may_come_back() {
    let mut desk = graceful();
    let ann = origin(0, 1);
    let first = snapshot(desk.join("r", ann, "ann"));
    desk.leave("r", ann);
    assert_eq!((desk.owner.counts().topics, desk.owner.counts().topics_with_members), (1, 0));
    desk.now_ms = 40;
    let since = Some((0, (*first.epoch).into()));
    let back = snapshot(desk.ask(
        &room("r"),
        ann,
        Ask::Join { user: user("ann"), since, history: 0, by_right: false },
    ));
    assert_eq!((back.recovered, back.epoch), (Some(true), first.epoch));
    desk.leave("r", ann);
    // Somebody else comes, sees her, and is told when she is gone.
    desk.now_ms = 60;
    assert_eq!(snapshot(desk.join("r", origin(1, 1), "bob")).roll.users.len(), 2);
    assert_eq!(desk.expire_at(90), ["1:-ann 1"]);
    desk.leave("r", origin(1, 1));
    assert_eq!(desk.expire_at(139), [""; 0]);
    assert_eq!(desk.owner.counts().topics, 1);
    desk.expire_at(140);
    assert_eq!((desk.owner.counts(), desk.owner.next_expiry()), (Counts::default(), None));
}

#[test]
fn the_grace_is_of_users_and_not_of_their_connections() {
    let mut desk = graceful();
    desk.join("r", origin(1, 1), "watcher");
    for slot in 1..4 {
        desk.join("r", origin(0, slot), "ann");
    }
    for slot in 1..3 {
        desk.leave("r", origin(0, slot));
    }
    assert_eq!(desk.owner.next_expiry(), None, "one connection is left");
    desk.now_ms = 7;
    desk.leave("r", origin(0, 3));
    assert_eq!(desk.owner.next_expiry(), Some(at_ms(57).mono));
    assert_eq!(desk.expire_at(57), ["1:-ann 1"]);
}

#[test]
fn many_who_are_gone_are_told_in_portions() {
    let mut desk = graceful();
    desk.join("r", origin(1, 1), "watcher");
    let count = u32::try_from(EXPIRED_PER_CALL_MAX).unwrap() + 1;
    for slot in 0..count {
        desk.join("r", origin(0, slot), &format!("u{slot}"));
        desk.leave("r", origin(0, slot));
    }
    desk.leave("r", origin(1, 1));
    assert_eq!(desk.owner.counts().topics, 1);
    desk.expire_at(1000);
    assert!(desk.owner.next_expiry().is_some_and(|due| due <= at_ms(1000).mono), "there is more");
    desk.expire_at(1000);
    assert_eq!((desk.owner.counts(), desk.owner.next_expiry()), (Counts::default(), None));
}

#[test]
fn no_more_users_are_waited_for_than_fit() {
    let options =
        Options { presence_grace: Duration::from_secs(3), presence_list_max: u32::MAX, ..Options::default() };
    let mut owner = Owner::new(ShardId(0), SHARDS, keys(), policies(options, usize::MAX));
    let mut pass = |slot: u32| {
        for ask in
            [Ask::Join { user: user(&slot.to_string()), since: None, history: 0, by_right: false }, Ask::Gone]
        {
            owner.handle(
                Request { topic: room(&(slot % 97).to_string()), origin: origin(0, slot), tag: None, ask },
                at_ms(0),
            );
        }
        while owner.poll().is_some() {}
        owner.grace.len()
    };
    let most = u32::try_from(LINGERING_MAX).unwrap();
    (0..most).for_each(|slot| _ = pass(slot));
    assert_eq!(pass(most), LINGERING_MAX, "the next one is gone at once");
    owner.check();
}

/// What melts large rooms elsewhere: each who comes is told to each who is there.
#[test]
fn joins_to_a_large_room_do_not_flood_it() {
    let mut desk = Desk::new(Options { presence_list_max: 8, ..Options::default() });
    let mut told = Vec::new();
    for slot in 0..8 {
        told.extend(words(&desk.join("r", origin(0, slot), &format!("u{slot}"))));
    }
    assert_eq!(told.iter().filter(|word| word.contains('+')).count(), 7);
    assert_eq!(desk.users_of("r", origin(0, 0)).2.len(), 8);
    // One more is told as a count, and from now on nobody by name.
    let outcomes = desk.join("r", origin(0, 8), "u8");
    assert_eq!(words(&outcomes), ["0:joined 9", "0:count 9 9 None no copy"]);
    assert!(snapshot(outcomes).roll.users.is_empty());
    desk.now_ms = 5;
    for slot in 9..200 {
        assert_eq!(
            desk.join("r", origin(0, slot), &format!("u{slot}")).len(),
            1,
            "the answer, and nothing else"
        );
    }
    assert_eq!(desk.users_of("r", origin(0, 0)), (200, 200, vec![]));
    assert_eq!(desk.expire_at(1004), [""; 0]);
    assert_eq!(desk.expire_at(1005), ["0:count 200 200 None"]);
    assert_eq!(desk.owner.next_expiry(), None, "nothing has changed since");
    for slot in 8..200 {
        desk.leave("r", origin(0, slot));
    }
    assert_eq!(desk.owner.next_expiry(), Some(at_ms(2005).mono));
    // Few enough again: all are told who is there, and of each who goes.
    let left = desk.ask(&room("r"), origin(0, 7), Ask::Gone);
    assert_eq!(words(&left), ["0:count 7 7 Some(7) no copy"]);
    assert_eq!(desk.owner.next_expiry(), None);
    assert_eq!(words(&desk.ask(&room("r"), origin(0, 6), Ask::Gone)), ["0:-u6 6 no copy"]);
    assert_eq!(desk.users_of("r", origin(0, 0)).2.len(), 6);
}

#[test]
fn rooms_that_list_nobody_count_from_the_first() {
    let mut desk = Desk::new(Options { presence_list_max: 0, ..Options::default() });
    assert!(snapshot(desk.join("r", origin(0, 1), "ann")).roll.users.is_empty());
    assert_eq!(words(&desk.join("r", origin(0, 2), "bob")), ["0:joined 2"]);
    assert_eq!(desk.expire_at(1000), ["0:count 2 2 None"]);
    desk.leave("r", origin(0, 1));
    desk.leave("r", origin(0, 2));
    assert_eq!((desk.owner.counts(), desk.owner.next_expiry()), (Counts::default(), None));
}

#[test]
fn a_crowd_without_presence_is_told_nothing() {
    let mut policies = policies(Options { presence_list_max: 1, ..Options::default() }, usize::MAX);
    policies.of_kind_mut(TopicKind::Room).presence = false;
    let mut desk = Desk::with(policies);
    for slot in 0..3 {
        assert_eq!(desk.join("r", origin(0, slot), &format!("u{slot}")).len(), 1);
    }
    for slot in 0..3 {
        assert_eq!(desk.ask(&room("r"), origin(0, slot), Ask::Gone).len(), 0);
    }
    assert_eq!((desk.owner.counts(), desk.owner.next_expiry()), (Counts::default(), None));
}
