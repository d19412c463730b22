//! Orders of the application: it is no member, and answered all the same.

use super::*;
use crate::hub::command::Order;
use crate::hub::event::Stamp;
use crate::hub::stamps::STAMP_AGE;

/// Where the application's connection is.
const APP: (u16, u32) = (1, 9);

fn post(payload: &[u8], mark: Option<u128>) -> Order {
    Order::Post { user: user("server"), payload: Shared::copy_of(payload), mark }
}

impl Desk {
    fn order(&mut self, topic: &Topic, order: Order) -> Vec<(u16, Outcome)> {
        self.ask(topic, origin(APP.0, APP.1), Ask::Order { number: 5, order: Box::new(order) })
    }

    fn told(&mut self, topic: &Topic, order: Order) -> Told {
        match self.order(topic, order).pop() {
            Some((1, Outcome::Told { number: 5, told, .. })) => *told,
            other => panic!("an order is answered last: {other:?}"),
        }
    }

    fn stamp(&mut self, topic: &Topic, order: Order) -> Stamp {
        match self.told(topic, order) {
            Told::Posted(stamp) => stamp,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_application_publishes_where_it_is_no_member() {
    let mut desk = Desk::new(Options::default());
    for (shard, slot, id) in [(0, 1, "ann"), (1, 1, "bob"), (1, 2, "bob")] {
        desk.join("r", origin(shard, slot), id);
    }
    let told = words(&desk.order(&room("r"), post(b"1", None)));
    assert_eq!(told, ["0:published 1", "1:published 1 no copy", "1:5 posted 1 to 3"]);
    let topic = |kind, name| Topic::new(kind, name, keys());
    assert_eq!(words(&desk.order(&topic(TopicKind::Feed, "f"), post(b"1", None))), ["1:5 posted 1 to 0"]);
    assert_eq!(words(&desk.order(&topic(TopicKind::Channel, "c"), post(b"1", None))), ["1:5 posted 1 to 0"]);
    let everyone = words(&desk.order(&topic(TopicKind::Everyone, ""), post(b"1", None)));
    assert_eq!(everyone, ["0:published 0", "1:published 0 no copy", "2:published 0", "1:5 posted 0 to 0"]);
    assert_eq!(desk.owner.counts().topics, 3);
}

#[test]
fn what_is_published_to_nobody_waits_in_the_history() {
    let mut desk = Desk::new(Options::default());
    let first = desk.stamp(&room("r"), post(b"1", None));
    let second = desk.stamp(&room("r"), post(b"2", None));
    assert_eq!((first.offset, second.offset, first.delivered), (1, 2, 0));
    let joined = desk.recover("r", origin(0, 1), 1, &first.epoch);
    assert_eq!((joined.recovered, joined.messages.map(|all| all.len())), (Some(true), Some(1)));
    let mut forgetful = Desk::new(Options::default());
    forgetful.owner.policies.of_kind_mut(TopicKind::Room).history_messages_max = 0;
    let stamp = forgetful.stamp(&room("r"), post(b"1", Some(1)));
    assert_eq!((stamp.offset, stamp.delivered), (1, 0));
    assert_eq!(forgetful.owner.counts(), Counts::default(), "nothing is kept for nobody");
}

/// Centrifugo and AnyCable have it, the others publish twice: whoever got no answer cannot know whether to try again.
#[test]
fn a_publication_that_is_tried_again_is_done_once() {
    let mut desk = Desk::new(Options::default());
    desk.join("r", origin(0, 1), "ann");
    let first = desk.stamp(&room("r"), post(b"1", Some(7)));
    desk.publish("r", origin(0, 1), 1);
    assert_eq!(
        words(&desk.order(&room("r"), post(b"1", Some(7)))),
        ["1:5 posted 1 to 1"],
        "and nobody hears of it"
    );
    assert_eq!(desk.stamp(&room("r"), post(b"1", Some(7))), first);
    assert!(matches!(desk.told(&room("r"), post(b"2", Some(7))), Told::MarkTaken));
    assert_eq!(desk.stamp(&room("r"), post(b"1", Some(8))).offset, 3);
    assert_eq!(desk.stamp(&room("r"), post(b"1", None)).offset, 4);
    let age = u64::try_from(STAMP_AGE.as_millis()).unwrap();
    desk.now_ms = age - 1;
    assert_eq!(desk.stamp(&room("r"), post(b"1", Some(7))), first);
    desk.now_ms = age;
    assert_eq!(desk.stamp(&room("r"), post(b"1", Some(7))).offset, 5);
    assert_eq!(desk.owner.next_expiry(), Some(at_ms(2 * age).mono));
    desk.owner.expire(at_ms(2 * age).mono);
    assert_eq!(desk.owner.next_expiry(), None);
}

#[test]
fn questions_need_no_membership_and_create_nothing() {
    let mut desk = Desk::new(Options::default());
    let r = room("r");
    assert!(matches!(
        desk.told(&r, Order::Standing),
        Told::Standing { members_count: 0, user_count: 0, offset: 0, epoch: None }
    ));
    assert!(matches!(desk.told(&r, Order::Users { limit: 9 }), Told::Users { user_count: 0, .. }));
    let history = |limit, before| Order::History { limit, before };
    assert!(matches!(desk.told(&r, history(9, None)), Told::History { epoch: None, .. }));
    assert_eq!(desk.owner.counts(), Counts::default());

    for (slot, id) in [(1, "ann"), (2, "bob"), (3, "bob")] {
        desk.join("r", origin(0, slot), id);
    }
    for _ in 0..3 {
        desk.publish("r", origin(0, 1), 1);
    }
    assert!(matches!(
        desk.told(&r, Order::Standing),
        Told::Standing { members_count: 3, user_count: 2, offset: 3, epoch: Some(_) }
    ));
    match desk.told(&r, Order::Users { limit: 1 }) {
        Told::Users { members_count: 3, user_count: 2, roll } => assert_eq!(&*roll.users[0].id, "ann"),
        other => panic!("{other:?}"),
    }
    match desk.told(&r, history(1, Some(3))) {
        Told::History { messages, offset: 3, epoch: Some(_) } => assert_eq!(messages[0].offset, 2),
        other => panic!("{other:?}"),
    }
}

/// Members keep a topic alive; here nobody does, and reading finds that the last of it is too old.
#[test]
fn a_deserted_room_that_is_read_too_late_is_forgotten() {
    let mut desk = Desk::new(Options::default());
    desk.stamp(&room("r"), post(b"1", None));
    desk.now_ms = 99;
    assert!(matches!(desk.told(&room("r"), Order::Standing), Told::Standing { offset: 1, .. }));
    desk.now_ms = 100;
    let history = Order::History { limit: 9, before: None };
    assert!(matches!(desk.told(&room("r"), history), Told::History { offset: 1, .. }));
    assert_eq!(desk.owner.counts(), Counts::default());
}
