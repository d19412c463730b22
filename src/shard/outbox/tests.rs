//! The send queue under what clients do to it.

use proptest::prelude::*;

use super::*;
use crate::base::hash::Keys;
use crate::base::shared::Shared;
use crate::hub::name::TopicKind;
use crate::shard::delivery::{Held, Keepers};

/// A client that reads, but never all: what is written must go, or its queue becomes a record of the connection.
#[test]
fn a_queue_that_never_runs_empty_keeps_only_what_is_not_written() {
    const FRAME: usize = 1000;
    let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
    let push = |outbox: &mut Outbox, spares: &mut Spares| {
        outbox.push_own(spares, FRAME, |out| out.resize(out.len() + FRAME, 7));
    };
    push(&mut outbox, &mut spares);
    for _ in 0..10_000 {
        push(&mut outbox, &mut spares);
        outbox.written(FRAME - 1, &mut spares);
        outbox.written(1, &mut spares);
        outbox.check();
        let queue = outbox.queue().unwrap();
        let rest: usize = queue.rest.iter().map(|item| item.bytes().len()).sum();
        let held = queue.first.bytes().len() + rest;
        assert!(outbox.own_bytes() == FRAME && held <= 3 * FRAME, "{held} bytes for one frame");
    }
}

/// A queue, the wire behind it, and the limits it is under.
struct Line {
    outbox: Outbox,
    spares: Spares,
    limits: Limits,
    wire: Vec<u8>,
}

fn topic(name: &str) -> Topic {
    Topic::new(TopicKind::Room, name, Keys::new([1; 16]))
}

impl Line {
    fn new(policy: SlowConsumer, messages_max: usize, bytes_max: usize) -> Line {
        let limits = Limits {
            slow_consumer: policy,
            queue_messages_max: messages_max,
            queue_bytes_max: bytes_max,
            ..Limits::default()
        };
        Line { outbox: Outbox::default(), spares: Spares::default(), limits, wire: Vec::new() }
    }

    /// A line whose socket took part of its first frame, `<>`, and no more.
    fn blocked(policy: SlowConsumer, messages_max: usize) -> Line {
        let mut line = Line::new(policy, messages_max, 1000);
        line.own("<>");
        assert_eq!(line.write(1), 1);
        line
    }

    fn own(&mut self, text: &str) {
        self.outbox.push_frame(&mut self.spares, text.as_bytes());
        self.outbox.check();
    }

    /// A publication is on the wire as `a5 `, an event (offset 0) as `a+ `, one that is not announced as `a~ `.
    fn push(&mut self, name: &str, offset: u64, announced: bool) -> Pushed {
        let text = match (offset, announced) {
            (0, true) => format!("{name}+ "),
            (0, false) => format!("{name}~ "),
            _ => format!("{name}{offset} "),
        };
        let frame = Shared::copy_of(text.as_bytes());
        let delivery = Delivery {
            topic: topic(name),
            offset,
            events: 1,
            announced,
            conflates: false,
            frame,
            keepers: Keepers::default(),
            _share: Held::default().share(0),
        };
        let pushed = self.outbox.push(&mut self.spares, &Arc::new(delivery), &self.limits);
        self.outbox.check();
        pushed
    }

    /// A value of a feed is on the wire as `f5 `, and as many times the number as it is `long`.
    fn value(&mut self, name: &str, value: u64, long: usize) -> Pushed {
        let frame = Shared::copy_of(format!("{name}{} ", value.to_string().repeat(long)).as_bytes());
        let topic = Topic::new(TopicKind::Feed, name, Keys::new([1; 16]));
        let delivery = Delivery {
            topic,
            offset: value,
            events: 1,
            announced: true,
            conflates: true,
            frame,
            keepers: Keepers::default(),
            _share: Held::default().share(0),
        };
        let pushed = self.outbox.push(&mut self.spares, &Arc::new(delivery), &self.limits);
        self.outbox.check();
        pushed
    }

    /// Offers the queue to a socket that takes at most `room` bytes; how many it took.
    fn write(&mut self, room: usize) -> usize {
        self.outbox.announce(4, &mut self.spares, |gap, out| {
            let (from, to) = gap.lost.offsets.unwrap_or_default();
            out.extend_from_slice(
                format!("!{}{from}-{to}+{} ", gap.topic.name(), gap.lost.events).as_bytes(),
            );
        });
        self.outbox.check();
        let mut slices = [IoSlice::new(&[]); 4];
        let used = self.outbox.slices(&mut slices);
        let offered: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.iter().copied()).collect();
        let taken = room.min(offered.len());
        self.wire.extend_from_slice(&offered[..taken]);
        self.outbox.written(taken, &mut self.spares);
        if taken < offered.len() {
            self.outbox.block(&mut self.spares);
        } else {
            self.outbox.unblock();
        }
        self.outbox.check();
        taken
    }

    /// The socket takes everything: what the peer has seen in the end.
    fn text(mut self) -> String {
        while !self.outbox.is_empty() {
            assert!(self.write(usize::MAX) > 0, "nothing is offered of a queue that is not empty");
        }
        assert_eq!(self.outbox.own_bytes(), 0);
        String::from_utf8(self.wire).unwrap()
    }
}

fn check_dropped(policy: SlowConsumer, messages_max: usize, pushes: &[(&str, u64)], wire: &str) {
    let mut line = Line::blocked(policy, messages_max);
    for (name, offset) in pushes {
        if *name == "own" {
            line.own(&format!("<{offset}>"));
        } else {
            assert_eq!(line.push(name, *offset, true), Pushed::Queued);
        }
    }
    assert_eq!(line.text(), wire, "{pushes:?}");
}

#[test]
fn every_way_to_cut_the_writes_gives_the_same_stream() {
    let fill = || {
        let mut line = Line::new(SlowConsumer::Disconnect, 100, 1000);
        line.own("<1>");
        line.own("<");
        line.push("a", 1, true);
        line.push("b", 7, true);
        line.own(">");
        line.push("a", 2, true);
        line
    };
    let whole = fill().text();
    assert_eq!(whole, "<1><a1 b7 >a2 ");
    // Bit i of a pattern: a write ends before byte i + 1.
    for pattern in 0..1_u32 << (whole.len() - 1) {
        let mut line = fill();
        let mut room = 1;
        for bit in 0..whole.len() {
            if bit + 1 == whole.len() || pattern >> bit & 1 == 1 {
                while room > 0 && !line.outbox.is_empty() {
                    room -= line.write(room);
                }
                room = 0;
            }
            room += 1;
        }
        assert_eq!(line.text(), whole, "pattern {pattern:b}");
    }
}

#[test]
fn limits_hold_only_while_the_socket_is_full() {
    let mut line = Line::new(SlowConsumer::Disconnect, 2, 1000);
    for offset in 1..=9 {
        assert_eq!(line.push("a", offset, true), Pushed::Queued);
    }
    assert_eq!(line.text(), "a1 a2 a3 a4 a5 a6 a7 a8 a9 ");
}

#[test]
fn disconnect_overruns_and_keeps_what_is_queued() {
    let mut line = Line::blocked(SlowConsumer::Disconnect, 2);
    assert_eq!(line.push("a", 1, true), Pushed::Queued);
    assert_eq!(line.push("a", 2, true), Pushed::Overrun);
    assert_eq!(line.push("a", 0, false), Pushed::Queued, "a typing indicator is no reason");
    assert_eq!(line.text(), "<>a1 ");
}

#[test]
fn the_oldest_deliveries_go_and_leave_gaps_in_their_place() {
    let drop = SlowConsumer::DropOldest;
    check_dropped(drop, 3, &[("a", 1), ("a", 2)], "<>a1 a2 ");
    check_dropped(drop, 3, &[("a", 1), ("a", 2), ("a", 3)], "<>!a1-2+0 a3 ");
    check_dropped(drop, 3, &[("a", 4), ("a", 5), ("a", 6), ("a", 7), ("a", 8)], "<>!a4-7+0 a8 ");
    check_dropped(drop, 4, &[("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3)], "<>!a1-2+0 !b1-2+0 a3 ");
    check_dropped(drop, 3, &[("a", 0), ("a", 1), ("a", 0), ("a", 2)], "<>!a1-1+2 a2 ");
}

/// Publications of its own come to a client as own frames, or not at all: no range may cover them, and a snapshot
/// among the own frames says how far it goes, so no announcement may overtake one.
#[test]
fn a_gap_reaches_neither_over_a_hole_nor_over_an_own_frame() {
    let drop = SlowConsumer::DropOldest;
    check_dropped(drop, 3, &[("a", 1), ("a", 3), ("a", 4), ("a", 5)], "<>!a1-1+0 !a3-5+0 ");
    let pushes = [("a", 1), ("own", 0), ("a", 2), ("a", 3)];
    check_dropped(drop, 4, &pushes, "<>!a1-1+0 <0>!a2-3+0 ");
    check_dropped(SlowConsumer::DropNewest, 2, &[("a", 1), ("a", 2), ("a", 4)], "<>a1 !a2-2+0 !a4-4+0 ");
}

#[test]
fn the_newest_delivery_goes_and_leaves_a_gap_at_the_end() {
    let drop = SlowConsumer::DropNewest;
    check_dropped(drop, 2, &[("a", 1), ("a", 2), ("a", 3)], "<>a1 !a2-3+0 ");
    check_dropped(drop, 2, &[("a", 1), ("a", 2), ("b", 5), ("a", 3)], "<>a1 !a2-3+0 !b5-5+0 ");
    let pushes = [("a", 1), ("a", 2), ("a", 3), ("own", 9), ("a", 4)];
    check_dropped(drop, 3, &pushes, "<>a1 a2 !a3-3+0 <9>!a4-4+0 ");
}

#[test]
fn who_is_behind_even_in_gaps_is_let_go() {
    let mut line = Line::blocked(SlowConsumer::DropNewest, 2);
    let pushed = ["a", "b", "c", "d", "e", "f"].map(|name| line.push(name, 1, true));
    let (queued, overrun) = pushed.split_at(3);
    assert!(queued.iter().all(|pushed| *pushed == Pushed::Queued), "{pushed:?}");
    assert!(overrun.iter().all(|pushed| *pushed == Pushed::Overrun), "{pushed:?}");
}

#[test]
fn values_that_wait_make_way_for_newer_ones() {
    for policy in [SlowConsumer::Disconnect, SlowConsumer::DropOldest, SlowConsumer::DropNewest] {
        let mut line = Line::blocked(policy, 2);
        line.push("a", 1, true);
        for (value, long) in (1..=1000).zip((1..6).cycle()) {
            assert_eq!(line.value("f", value, 1), Pushed::Queued);
            assert_eq!(line.value("g", value, long), Pushed::Queued);
            assert_eq!(line.outbox.queue().map(|queue| queue.messages), Some(4), "one of each at most");
        }
        assert_eq!(line.text(), "<>a1 f1000 g10001000100010001000 ");
    }
}

/// What a feed stands at when it is subscribed to anew is told by an own frame; a newer value follows it.
#[test]
fn a_value_does_not_overtake_an_own_frame() {
    let mut line = Line::blocked(SlowConsumer::Disconnect, 9);
    line.value("f", 1, 1);
    line.value("g", 1, 1);
    line.own("<now 2>");
    line.value("f", 3, 1);
    line.value("f", 4, 1);
    assert_eq!(line.text(), "<>g1 <now 2>f4 ");
}

#[test]
fn a_half_written_value_is_written_to_its_end() {
    let mut line = Line::new(SlowConsumer::Disconnect, 1, 10);
    line.value("f", 1, 3);
    line.write(1);
    (2..=9).for_each(|value| assert_eq!(line.value("f", value, 1), Pushed::Queued));
    assert_eq!(line.text(), "f111 f9 ");
}

#[test]
fn values_are_kept_while_the_socket_takes_them() {
    let mut line = Line::new(SlowConsumer::Disconnect, 1, 1);
    (1..=4).for_each(|value| assert_eq!(line.value("f", value, 1), Pushed::Queued));
    assert_eq!(line.text(), "f1 f2 f3 f4 ");
}

#[test]
fn a_half_written_delivery_is_not_dropped() {
    for policy in [SlowConsumer::DropOldest, SlowConsumer::DropNewest] {
        let mut line = Line::new(policy, 1, 1000);
        line.push("a", 1, true);
        line.write(1);
        line.push("a", 2, true);
        line.push("a", 3, true);
        assert_eq!(line.text(), "a1 !a2-3+0 ");
    }
}

#[test]
fn abandoning_keeps_a_half_written_frame_and_the_answer_to_an_upgrade() {
    let mut line = Line::blocked(SlowConsumer::Disconnect, 10);
    line.push("a", 1, true);
    line.own("<lost>");
    line.outbox.abandon(&mut line.spares);
    line.outbox.check();
    line.own("<bye>");
    assert_eq!(line.text(), "<><bye>");

    let mut line = Line::new(SlowConsumer::Disconnect, 10, 1000);
    line.own("HTTP/1.1 101 \r\n\r\n");
    line.push("a", 1, true);
    line.outbox.abandon(&mut line.spares);
    line.outbox.check();
    assert_eq!(line.outbox.own_bytes(), 17);
    line.own("<bye>");
    assert_eq!(line.text(), "HTTP/1.1 101 \r\n\r\n<bye>");
}

/// What is done to a queue.
#[derive(Clone, Debug)]
enum Act {
    Own,
    /// A publication of room 0, 1 or 2; true: it is its own, without echo, so the queue does not get it.
    Publish(usize, bool),
    Event(usize),
    Typing(usize),
    /// A value of feed 0 or 1, and how long it is.
    Value(usize, usize),
    Write(usize),
}

/// A naive shadow: every push in order, by the words that stand for it.
#[derive(Default)]
struct Shadow {
    pushed: Vec<String>,
    heads: [u64; 3],
    values: [u64; 2],
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const FEEDS: [&str; 2] = ["f", "g"];

impl Shadow {
    fn act(&mut self, line: &mut Line, act: &Act) {
        match *act {
            Act::Own => {
                let text = format!("<{}> ", self.pushed.len());
                line.own(&text);
                self.pushed.push(text);
            }
            Act::Publish(room, silent) => {
                self.heads[room] += 1;
                if !silent {
                    self.push(line, NAMES[room], self.heads[room], true);
                }
            }
            Act::Event(room) => self.push(line, NAMES[room], 0, true),
            Act::Typing(room) => self.push(line, NAMES[room], 0, false),
            Act::Value(feed, long) => {
                self.values[feed] += 1;
                assert_eq!(line.value(FEEDS[feed], self.values[feed], long), Pushed::Queued);
                let text = self.values[feed].to_string().repeat(long);
                self.pushed.push(format!("{}{text} ", FEEDS[feed]));
            }
            Act::Write(room) => {
                line.write(room);
            }
        }
    }

    fn push(&mut self, line: &mut Line, name: &str, offset: u64, announced: bool) {
        if line.push(name, offset, announced) == Pushed::Queued {
            let mark = if announced { '+' } else { '~' };
            self.pushed.push(if offset > 0 { format!("{name}{offset} ") } else { format!("{name}{mark} ") });
        }
    }

    /// What one room and the own frames amount to on the wire, with each gap spelt out as what it announces.
    fn of_room(words: &str, name: &str) -> Vec<String> {
        let mut all = Vec::new();
        for word in words.split_inclusive(' ') {
            if let Some(gap) = word.strip_prefix('!').and_then(|gap| gap.strip_prefix(name)) {
                let (range, events) = gap.trim().split_once('+').unwrap();
                let (from, to) = range.split_once('-').unwrap();
                let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
                all.extend((from..=to).filter(|offset| *offset > 0).map(|offset| format!("{name}{offset} ")));
                all.extend((0..events.parse().unwrap()).map(|_| format!("{name}+ ")));
            } else if word.starts_with('<') || word.starts_with(name) {
                all.push(word.to_owned());
            }
        }
        all
    }
}

/// Values stand among the own frames where they were pushed, or a newer one of the same feed follows.
fn check_values(pushed: &str, wire: &str) {
    for name in FEEDS {
        let (pushed, seen) = (Shadow::of_room(pushed, name), Shadow::of_room(wire, name));
        let mut seen = seen.iter().peekable();
        let last = pushed.iter().rposition(|word| word.starts_with(name));
        for (at, word) in pushed.iter().enumerate() {
            let found = seen.next_if_eq(&word).is_some();
            assert!(
                found || word.starts_with(name) && Some(at) != last,
                "{word} of {name} is missing: {wire}"
            );
        }
        assert_eq!(seen.next(), None, "{wire}");
    }
}

/// Publications and own frames stand in the order in which they were pushed, lost or not. Events too, as far as own
/// frames part them. Typing may be missing.
fn check_shadow(pushed: &str, wire: &str) {
    for name in NAMES {
        let (pushed, seen) = (Shadow::of_room(pushed, name), Shadow::of_room(wire, name));
        let lasting =
            |words: &[String]| words.iter().filter(|word| !word.ends_with("~ ")).cloned().collect::<Vec<_>>();
        let numbered = |words: &[String]| {
            lasting(words).into_iter().filter(|word| !word.ends_with("+ ")).collect::<Vec<_>>()
        };
        assert_eq!(numbered(&seen), numbered(&pushed), "{wire}");
        let runs = |words: &[String]| {
            let lasting = lasting(words);
            let runs = lasting.split(|word| word.starts_with('<'));
            runs.map(|run| run.iter().filter(|word| word.ends_with("+ ")).count()).collect::<Vec<_>>()
        };
        assert_eq!(runs(&seen), runs(&pushed), "{wire}");
    }
}

proptest! {
    #[test]
    fn delivered_and_announced_together_are_all_that_was_pushed(
        policy in prop::sample::select(vec![
            SlowConsumer::DropOldest, SlowConsumer::DropNewest, SlowConsumer::Disconnect,
        ]),
        messages_max in 1..8_usize,
        bytes_max in 5..60_usize,
        acts in prop::collection::vec(prop_oneof![
            2 => Just(Act::Own),
            8 => (0..3_usize, prop::bool::weighted(0.1)).prop_map(|(room, silent)| Act::Publish(room, silent)),
            2 => (0..3_usize).prop_map(Act::Event),
            1 => (0..3_usize).prop_map(Act::Typing),
            3 => (0..2_usize, 1..5_usize).prop_map(|(feed, long)| Act::Value(feed, long)),
            3 => (0..40_usize).prop_map(Act::Write),
        ], 0..80),
    ) {
        let mut line = Line::new(policy, messages_max, bytes_max);
        let mut shadow = Shadow::default();
        for act in &acts {
            shadow.act(&mut line, act);
        }
        let (pushed, wire) = (shadow.pushed.concat(), line.text());
        check_shadow(&pushed, &wire);
        check_values(&pushed, &wire);
    }
}
