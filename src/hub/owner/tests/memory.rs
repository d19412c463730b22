//! What histories may cost together, and who pays first.

use super::*;

/// Bytes that a room's history costs, in units of a publication without payload.
fn units(desk: &Desk, name: &str) -> Option<usize> {
    let slot = *desk.owner.slots.get(&room(name))? as usize;
    Some(desk.owner.records[slot].record.bytes() / PUBLICATION_BYTES)
}

#[test]
fn the_budget_takes_deserted_rooms_first_and_then_from_the_largest() {
    let mut desk = Desk::with(policies(Options::default(), 8 * PUBLICATION_BYTES));
    let each = [("idle", 0, 1), ("big", 1, 4), ("small", 2, 1)];
    for (name, slot, count) in each {
        desk.join(name, origin(0, slot), "ann");
        for _ in 0..count {
            desk.publish(name, origin(0, slot), 0);
        }
    }
    desk.leave("idle", origin(0, 0));
    // Eight units: 1 + 4 + 1 are used, three more are wanted.
    desk.publish("small", origin(0, 2), PUBLICATION_BYTES);
    assert_eq!((desk.owner.counts().topics, desk.owner.counts().evicted), (2, 1), "the deserted one");
    let bytes_of = |desk: &Desk, name| {
        let slot = desk.owner.slots[&room(name)] as usize;
        desk.owner.records[slot].record.bytes() / PUBLICATION_BYTES
    };
    assert_eq!((bytes_of(&desk, "big"), bytes_of(&desk, "small")), (4, 4));
    desk.publish("small", origin(0, 2), 0);
    assert_eq!(
        (bytes_of(&desk, "big"), bytes_of(&desk, "small")),
        (4, 4),
        "the publisher had become the largest"
    );
    desk.publish("big", origin(0, 1), 0);
    assert_eq!(desk.owner.counts().history_bytes, 8 * PUBLICATION_BYTES, "its own count bounds it");
    assert_eq!(desk.owner.counts().evicted, 2);
}

#[test]
fn among_deserted_rooms_the_least_recently_used_goes_first() {
    let mut desk = Desk::with(policies(Options::default(), 4 * PUBLICATION_BYTES));
    // The first to be left remembers longest: what counts is who was there last.
    for (name, slot, published_ms, left_ms) in [("a", 0, 9, 10), ("b", 1, 0, 30), ("c", 2, 5, 20)] {
        desk.now_ms = published_ms;
        desk.join(name, origin(0, slot), "ann");
        desk.publish(name, origin(0, slot), 0);
        desk.now_ms = left_ms;
        desk.leave(name, origin(0, slot));
    }
    desk.now_ms = 40;
    desk.join("d", origin(0, 9), "bob");
    let mut left = Vec::new();
    for _ in 0..4 {
        desk.publish("d", origin(0, 9), 0);
        left.push(["a", "b", "c"].map(|name| units(&desk, name).unwrap_or(0)));
    }
    assert_eq!(left, [[1, 1, 1], [0, 1, 1], [0, 1, 0], [0, 0, 0]]);
    assert_eq!((desk.owner.counts().topics, desk.owner.counts().evicted), (1, 3));
}

#[test]
fn who_comes_back_makes_a_deserted_room_a_recently_used_one() {
    let mut desk = Desk::with(policies(Options::default(), 2 * PUBLICATION_BYTES));
    for (name, slot) in [("a", 0), ("b", 1)] {
        desk.now_ms += 1;
        desk.join(name, origin(0, slot), "ann");
        desk.publish(name, origin(0, slot), 0);
        desk.leave(name, origin(0, slot));
    }
    desk.now_ms += 1;
    desk.join("a", origin(0, 0), "ann");
    desk.leave("a", origin(0, 0));
    desk.join("c", origin(0, 2), "bob");
    desk.publish("c", origin(0, 2), 0);
    assert_eq!((units(&desk, "a"), units(&desk, "b")), (Some(1), None));
}

#[test]
fn a_room_whose_users_may_come_back_loses_its_history_but_not_its_numbering() {
    let options = Options { presence_grace: Duration::from_millis(50), ..Options::default() };
    let mut desk = Desk::with(policies(options, 2 * PUBLICATION_BYTES));
    let ann = origin(0, 0);
    let known = snapshot(desk.join("a", ann, "ann"));
    desk.publish("a", ann, 0);
    desk.leave("a", ann);
    desk.join("b", origin(0, 1), "bob");
    for _ in 0..2 {
        desk.publish("b", origin(0, 1), 0);
    }
    assert_eq!((units(&desk, "a"), units(&desk, "b")), (Some(0), Some(2)));
    let back = desk.recover("a", ann, 1, &known.epoch);
    assert_eq!((back.recovered, back.offset), (Some(true), 1), "nothing was missed");
    assert_eq!(desk.recover("a", ann, 0, &known.epoch).recovered, Some(false));
}

proptest! {
    /// Under a tight sum: never above it, and what is called recovered is complete.
    #[test]
    fn the_budget_holds_and_recovery_stays_exact(
        steps in prop::collection::vec((0u32..12, 0usize..6, 0u64..4, any::<bool>()), 1..150),
    ) {
        let mut desk = Desk::with(policies(Options::default(), 10 * PUBLICATION_BYTES));
        let names: Vec<String> = (0..12).map(|n| format!("r{n}")).collect();
        for (who, units, back, leaves) in steps {
            let (name, me) = (&names[who as usize], origin(0, who));
            let known = snapshot(desk.join(name, me, "ann"));
            desk.publish(name, me, units * PUBLICATION_BYTES / 2);
            if leaves {
                desk.leave(name, me);
            }
            let since = (known.offset + 1).saturating_sub(back);
            let found = desk.recover(name, me, since, &known.epoch);
            if found.recovered == Some(true) {
                let offsets = found.messages.unwrap_or_default().iter().map(|one| one.offset).collect::<Vec<_>>();
                prop_assert_eq!(offsets, (since + 1..=known.offset + 1).collect::<Vec<_>>());
            }
            if leaves {
                desk.leave(name, me);
            }
        }
    }
}
