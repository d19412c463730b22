//! The wheel against a list that is searched from the front, and the borders of its levels as a table.

use proptest::prelude::*;

use super::*;
use crate::base::id::Key;

/// The slow twin: knows nothing of levels.
#[derive(Default)]
struct Twin {
    now: u64,
    timers: Vec<(u64, u32)>,
}

impl Twin {
    fn insert(&mut self, deadline: u64, value: u32) {
        self.timers.push((deadline.max(self.now), value));
    }

    fn remove(&mut self, value: u32) -> u64 {
        let at = self.timers.iter().position(|timer| timer.1 == value).unwrap();
        self.timers.swap_remove(at).0
    }

    fn earliest(&self) -> Option<u64> {
        self.timers.iter().map(|timer| timer.0).min()
    }
}

/// Both, in step, with every check that holds after every step.
struct Pair {
    wheel: Wheel<u32>,
    twin: Twin,
    ids: Vec<(TimerId, u32)>,
    next_value: u32,
}

impl Pair {
    fn new(now: u64) -> Pair {
        Pair {
            wheel: Wheel::new(now),
            twin: Twin { now, timers: Vec::new() },
            ids: Vec::new(),
            next_value: 0,
        }
    }

    fn insert(&mut self, deadline: u64) {
        let value = self.next_value;
        self.next_value += 1;
        self.ids.push((self.wheel.insert(deadline, value), value));
        self.twin.insert(deadline, value);
        self.check();
    }

    fn cancel(&mut self, pick: usize) {
        if self.ids.is_empty() {
            return;
        }
        let (id, value) = self.ids.swap_remove(pick % self.ids.len());
        assert_eq!(self.wheel.cancel(id), value);
        self.twin.remove(value);
        self.check();
    }

    fn reschedule(&mut self, pick: usize, deadline: u64) {
        if self.ids.is_empty() {
            return;
        }
        let (id, value) = self.ids[pick % self.ids.len()];
        self.wheel.reschedule(id, deadline);
        self.twin.remove(value);
        self.twin.insert(deadline, value);
        self.check();
    }

    /// Pops one timer due at `now`, if there is one; returns whether.
    fn pop(&mut self, now: u64) -> bool {
        let earliest = self.twin.earliest().filter(|&deadline| deadline <= now);
        let popped = self.wheel.pop(now);
        match popped {
            None => {
                assert_eq!(earliest, None, "a due timer was not popped at {now}");
                self.twin.now = self.twin.now.max(now);
                assert!(self.wheel.next_deadline().is_none_or(|next| next > now), "no progress at {now}");
            }
            Some((id, value)) => {
                let at =
                    self.ids.iter().position(|&live| live == (id, value)).expect("popped once, under its id");
                self.ids.swap_remove(at);
                let deadline = self.twin.remove(value);
                assert_eq!(Some(deadline), earliest, "earliest first, never early");
                self.twin.now = self.twin.now.max(deadline);
            }
        }
        self.check();
        popped.is_some()
    }

    fn drain(&mut self, now: u64) -> usize {
        std::iter::repeat_with(|| self.pop(now)).take_while(|&popped| popped).count()
    }

    fn check(&self) {
        assert_eq!(self.wheel.len(), self.twin.timers.len());
        assert_eq!(self.wheel.is_empty(), self.twin.timers.is_empty());
        let (bound, earliest) = (self.wheel.next_deadline(), self.twin.earliest());
        assert_eq!(bound.is_some(), earliest.is_some());
        assert!(bound <= earliest, "woken too late: {bound:?} > {earliest:?}");
        for (level, slots) in self.wheel.heads.iter().enumerate() {
            for (slot, &head) in slots.iter().enumerate() {
                assert_eq!(head != NONE, self.wheel.occupied[level] >> slot & 1 == 1);
            }
        }
    }
}

#[test]
fn an_entry_for_a_connection_is_32_bytes() {
    assert!(size_of::<Entry<Key>>() <= 32);
    assert!(size_of::<Entry<u32>>() <= 24);
}

#[test]
fn borders_of_levels() {
    let top = 1u64 << 60;
    let table = [
        // now, deadline → level, slot
        (0, 0, 0, 0),
        (0, 1, 0, 1),
        (0, 63, 0, 63),
        (0, 64, 1, 1),
        (63, 64, 1, 1),
        (64, 65, 0, 1),
        (64, 127, 0, 63),
        (64, 128, 1, 2),
        (0, 4095, 1, 63),
        (0, 4096, 2, 1),
        (4095, 4096, 2, 1),
        (4096, 4097, 0, 1),
        (4096, 4160, 1, 1),
        (0, 262_143, 2, 63),
        (0, 262_144, 3, 1),
        (0, top - 1, 9, 63),
        (top - 1, top, 10, 1),
        (0, u64::MAX, 10, 15),
        (u64::MAX, u64::MAX, 0, 63),
    ];
    for (now, deadline, level, slot) in table {
        assert_eq!(place(now, deadline), (level, slot), "from {now} to {deadline}");
        let mut pair = Pair::new(now);
        pair.insert(deadline);
        if deadline > now {
            assert_eq!(pair.drain(deadline - 1), 0, "early, from {now} to {deadline}");
        }
        assert_eq!(pair.drain(deadline), 1, "late, from {now} to {deadline}");
    }
}

#[test]
fn waiting_for_the_next_deadline_arrives_in_few_steps() {
    let mut wheel = Wheel::new(12_345);
    let deadline = 12_345 + 25_000;
    wheel.insert(deadline, ());
    let mut wakes = 0;
    while let Some(next) = wheel.next_deadline() {
        assert!(next <= deadline);
        wakes += 1;
        if wheel.pop(next).is_some() {
            assert_eq!(next, deadline);
        }
    }
    assert!(wakes <= 4, "{wakes} wakes for one timer of 25 s");
}

#[test]
fn a_jump_of_days_pops_all_in_order_and_walks_no_ticks() {
    let mut pair = Pair::new(7);
    let day_ms = 86_400_000;
    for days in [30, 1, 365_000, 2, 0] {
        pair.insert(7 + days * day_ms);
    }
    assert_eq!(pair.drain(40 * day_ms), 4);
    // As if the machine had slept for 584 million years.
    assert_eq!(pair.drain(u64::MAX), 1);
    pair.insert(0);
    assert_eq!(pair.drain(u64::MAX), 1, "a passed deadline is due at once");
}

#[test]
fn a_clock_that_goes_back_neither_loses_nor_delays() {
    let mut wheel = Wheel::new(1000);
    assert!(wheel.pop(2000).is_none());
    wheel.insert(1500, 'a');
    assert_eq!(wheel.pop(1000).map(|(_, value)| value), Some('a'));
}

#[test]
fn ended_timers_leave_no_memory_behind() {
    let mut wheel = Wheel::new(0);
    for round in 0..10_000u64 {
        let id = wheel.insert(round + 25_000, round);
        wheel.reschedule(id, round + 50_000);
        assert_eq!(wheel.cancel(id), round);
    }
    assert_eq!(wheel.entries.len(), 1);
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
#[should_panic(expected = "used after its end")]
fn cancelling_twice_is_a_bug_that_shows() {
    let mut wheel = Wheel::new(0);
    let id = wheel.insert(1, ());
    wheel.cancel(id);
    wheel.cancel(id);
}

#[derive(Clone, Debug)]
enum Step {
    Insert { after: u64 },
    Passed { before: u64 },
    Cancel { pick: usize },
    Reschedule { pick: usize, after: u64 },
    PopOne { after: u64 },
    Drain { after: u64 },
    DrainAtNext,
}

/// Delays of every size alike, and often next to a border.
fn delay() -> impl Strategy<Value = u64> {
    let border =
        (0..64u32, 0..3u64).prop_map(|(bit, near)| (1u64 << bit).saturating_sub(1).saturating_add(near));
    let any_size = (any::<u64>(), 0..64u32).prop_map(|(number, shift)| number >> shift);
    prop_oneof![3 => 0..200u64, 3 => 0..20_000u64, 1 => border, 1 => any_size]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => delay().prop_map(|after| Step::Insert { after }),
        1 => (0..100u64).prop_map(|before| Step::Passed { before }),
        2 => any::<usize>().prop_map(|pick| Step::Cancel { pick }),
        2 => (any::<usize>(), delay()).prop_map(|(pick, after)| Step::Reschedule { pick, after }),
        2 => (0..5_000u64).prop_map(|after| Step::PopOne { after }),
        2 => (0..5_000u64).prop_map(|after| Step::Drain { after }),
        1 => delay().prop_map(|after| Step::Drain { after: after >> 8 }),
        2 => Just(Step::DrainAtNext),
    ]
}

proptest! {
    #[test]
    fn agrees_with_the_slow_twin(
        start in prop_oneof![Just(0), 0..10_000u64, any::<u64>()],
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut pair = Pair::new(start);
        let mut now = start;
        for step in steps {
            match step {
                Step::Insert { after } => pair.insert(now.saturating_add(after)),
                Step::Passed { before } => pair.insert(now.saturating_sub(before)),
                Step::Cancel { pick } => pair.cancel(pick),
                Step::Reschedule { pick, after } => pair.reschedule(pick, now.saturating_add(after)),
                Step::PopOne { after } => {
                    now = now.saturating_add(after);
                    pair.pop(now);
                }
                Step::Drain { after } => {
                    now = now.saturating_add(after);
                    pair.drain(now);
                }
                Step::DrainAtNext => if let Some(next) = pair.wheel.next_deadline() {
                    now = now.max(next);
                    pair.drain(now);
                }
            }
        }
        pair.drain(u64::MAX);
        prop_assert!(pair.wheel.is_empty());
    }
}
