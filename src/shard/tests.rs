//! Stories of faults that a whole shard had, each as short as it can be told; requests for the API; tokens.

mod access;
mod api;
mod batch;
mod front;
mod held;
mod overload;

use std::io::IoSlice;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::*;
use crate::base::clock::Wall;
use crate::base::hash::Keys;
use crate::base::id::Origin;
use crate::base::shared::Shared;
use crate::hub::command::{Ask, Request};
use crate::hub::event::{Body, Event, Outcome, Publication, Reply, Roll, Snapshot};
use crate::hub::name::{Topic, TopicKind, User};
use crate::shard::conn::socket::LINGER;
use crate::shard::flush::{Outgoing, SLICES_MAX};
use crate::shard::ledger::Ledger;
use crate::shard::limits::{Coalesce, Limits};
use crate::shard::load::Turned;
use crate::shard::port::{Close, Question, Written};
use crate::shard::state::Setting;
use crate::wire::ws::frame::Opcode;

const KEYS: [u8; 16] = [3; 16];
const MASK: [u8; 4] = [1, 2, 3, 4];

/// One shard of several, with sockets that take as much as they are told to.
struct Rig {
    shard: Shard,
    now: Mono,
    /// What was written, to whom.
    written: Vec<(Key, Vec<u8>)>,
    closed: Vec<(Key, Close)>,
    /// How much a socket takes at once.
    room: usize,
    /// Slices offered so far.
    slices: usize,
}

impl Rig {
    fn new(shards: u16, limits: Limits) -> Rig {
        let gauges = (0..shards).map(|_| Default::default()).collect();
        let setting = Setting {
            shards,
            keys: Keys::new(KEYS),
            limits,
            node: "n".into(),
            gauges,
            process: Arc::default(),
            ledger: Arc::new(Ledger::new(Keys::new(KEYS))),
        };
        let now = Mono(1);
        let shard = Shard::new(ShardId(0), &setting, 1, Now { mono: now, wall: Wall(0) });
        Rig { shard, now, written: Vec::new(), closed: Vec::new(), room: usize::MAX, slices: 0 }
    }

    /// A turn in which each of `input` is read from its connection.
    fn turn(&mut self, input: &[(Key, &[u8])]) {
        self.shard.begin_turn(Now { mono: self.now, wall: Wall(0) });
        while self.shard.poll_resume().is_some() {}
        for (key, bytes) in input {
            assert!(self.shard.takes_input(*key), "input is left in the socket");
            self.shard.handle_bytes(*key, &mut bytes.to_vec());
            // Where the socket of a client goes that resumes is where it is looked for from now on.
            while self.shard.poll_move().is_some() {}
        }
        self.shard.handle_timers();
        self.shard.work();
        let mut last = Vec::new();
        while let Some(key) = self.shard.poll_flush() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let Outgoing { used, bytes: offered, is_last } = self.shard.outgoing(key, &mut slices);
            self.slices += used as usize;
            let taken = offered.min(self.room);
            if taken == offered && is_last {
                last.push(key);
            }
            let bytes =
                slices[..used as usize].iter().flat_map(|slice| slice.iter().copied()).take(taken).collect();
            self.written.push((key, bytes));
            self.shard.handle_written(key, Written::Bytes(taken), offered);
        }
        while let Some(close) = self.shard.poll_close() {
            last.retain(|key| *key != close.0);
            self.closed.push(close);
        }
        assert_eq!(last, [], "what was called the last is followed by the end");
        self.shard.end_turn();
        self.shard.check();
    }

    fn open(&mut self, path: &str) -> Key {
        let key = self.shard.handle_open(Peer::Loopback);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.turn(&[(key, request.as_bytes())]);
        key
    }

    fn is_open(&self, key: Key) -> bool {
        self.shard.conns.contains(key)
    }
}

/// A close frame of a client, as short as it can be.
fn close_frame() -> Vec<u8> {
    [&[0x80 | Opcode::Close as u8, 0x80][..], &MASK].concat()
}

/// A client that was one too many of its user was told so, but its own close frame was left in the socket, as its
/// input stayed held for an answer that had come: it kept its place until the close timeout.
#[test]
fn who_is_refused_is_heard_to_the_end() {
    let mut rig = Rig::new(1, Limits { connections_per_user_max: Some(1), ..Limits::default() });
    let first = rig.open("/ws?user_id=ann");
    let second = rig.open("/ws?user_id=ann");
    rig.turn(&[]);
    rig.turn(&[(second, &close_frame())]);
    rig.shard.handle_eof(second);
    rig.turn(&[]);
    assert!(rig.is_open(first) && !rig.is_open(second));
}

/// `takes_requests` meant to ask whether mail is stuck, and asked whether there is any: as soon as one answer was to
/// go to another shard an owner took nothing more until the next turn.
#[test]
fn an_owner_answers_other_shards_more_than_once_a_turn() {
    let mut rig = Rig::new(2, Limits::default());
    let topic = (0..).map(|n| Topic::new(TopicKind::Room, &n.to_string(), Keys::new(KEYS)));
    let topic = topic.into_iter().find(|topic| placement::owner(topic.hash(), 2) == ShardId(0)).unwrap();
    let user = Arc::new(User { id: "u".into(), name: None });
    for slot in 0..100 {
        assert!(rig.shard.takes_requests());
        let origin = Origin { shard: ShardId(1), conn: Key { slot, generation: 0 } };
        let ask = Ask::Join { user: Arc::clone(&user), since: None, history: 0, by_right: false };
        rig.shard.handle_request(Request { topic: topic.clone(), origin, tag: None, ask });
    }
    let high = rig.shard.limits.pace.mail_high;
    while rig.shard.edge_mail_for(ShardId(1)).len() < high {
        rig.shard.edge_mail_for(ShardId(1)).push_back(ToEdge::Question {
            from: ShardId(0),
            number: Key::from_bits(0),
            question: Question::Stats,
        });
    }
    assert!(!rig.shard.takes_requests(), "a lane that is stuck is a reason");
}

/// A connection whose peer did not end in time was doomed by its deadline and armed again for the same deadline, which
/// had passed: the shard never came out of its timers.
#[test]
fn who_does_not_end_is_dropped_at_the_deadline() {
    let mut rig = Rig::new(1, Limits::default());
    let key = rig.open("/ws");
    rig.turn(&[(key, &close_frame().repeat(2))]);
    assert_eq!(rig.closed, [(key, Close::Shutdown)], "who goes on after its close frame may not be done");
    rig.now = rig.now + LINGER + Duration::from_millis(1);
    rig.turn(&[]);
    assert_eq!(rig.closed, [(key, Close::Shutdown), (key, Close::Drop)]);
    assert_eq!(rig.shard.poll_due(), None);
}

#[test]
fn who_has_closed_is_not_lingered_for() {
    let mut rig = Rig::new(1, Limits::default());
    let key = rig.open("/echo");
    rig.room = 1;
    rig.turn(&[(key, &close_frame())]);
    assert_eq!(rig.closed, [], "the answer is not written yet");
    rig.room = usize::MAX;
    rig.shard.handle_writable(key);
    rig.turn(&[]);
    assert_eq!(rig.closed, [(key, Close::Drop)]);
}

/// A publication of `bytes` bytes in `topic`.
fn published(topic: &Topic, offset: u64, bytes: usize) -> ToEdge {
    let payload = [b"\"", &*vec![b'x'; bytes], b"\""].concat();
    let publication = Publication {
        offset,
        time: Wall(0),
        user: Arc::new(User { id: "u".into(), name: None }),
        payload: Shared::copy_of(&payload),
        body: Body::Value,
        frame: OnceLock::new(),
    };
    let event = Event::Published(Arc::new(publication));
    ToEdge::Outcome(Outcome::Deliver { topic: topic.clone(), event, sender: None })
}

/// A room of the second of two shards.
fn elsewhere() -> Topic {
    let mut topics = (0..).map(|n| Topic::new(TopicKind::Room, &n.to_string(), Keys::new(KEYS)));
    topics.find(|topic| placement::owner(topic.hash(), 2) == ShardId(1)).expect("every second one")
}

/// A client in such a room.
fn member(rig: &mut Rig, topic: &Topic) -> Key {
    let key = rig.open(&format!("/ws?room={}", topic.name()));
    let joined = Snapshot {
        members_count: 1,
        user_count: 1,
        roll: Roll::default(),
        offset: 0,
        epoch: "e".into(),
        recovered: None,
        messages: None,
        text: None,
    };
    let origin = Origin { shard: ShardId(0), conn: key };
    let reply = Reply::Joined(Box::new(joined));
    rig.shard.handle_edge_mail(ToEdge::Outcome(Outcome::Reply {
        topic: topic.clone(),
        origin,
        tag: None,
        reply,
    }));
    key
}

/// A client whose queue was full was let go at the end of the turn. What came for it until then was still queued if it
/// was small enough: it would have seen 2, but not 1, and have asked for what came after 2 when it was back.
#[test]
fn who_lost_one_publication_does_not_see_the_next() {
    let mut rig = Rig::new(2, Limits { queue_bytes_max: 1000, ..Limits::default() });
    let topic = elsewhere();
    let key = member(&mut rig, &topic);
    rig.room = 1; // from here on its socket is full
    rig.turn(&[]);

    rig.shard.handle_edge_mail(published(&topic, 1, 2000));
    rig.shard.handle_edge_mail(published(&topic, 2, 10));
    rig.turn(&[]);
    rig.room = usize::MAX;
    rig.shard.handle_writable(key);
    rig.turn(&[]);
    let seen: Vec<u8> = rig.written.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    let seen = String::from_utf8_lossy(&seen);
    assert!(!seen.contains("\"offset\":2"), "{seen}");
    assert!(seen.contains("slow consumer"), "{seen}");
}

/// A text frame of a client.
fn say(json: &str) -> Vec<u8> {
    let length = u8::try_from(json.len()).expect("tests speak in short frames");
    assert!(length < 126);
    let masked = json.bytes().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key);
    [0x80 | Opcode::Text as u8, 0x80 | length].into_iter().chain(MASK).chain(masked).collect()
}

/// Broadcasts went first, and an unfinished one ended the turn's fan-outs: as long as somebody broadcast to more
/// clients than a turn can push to, no room heard anything.
#[test]
fn rooms_go_on_beside_broadcasts() {
    let mut limits = Limits::default();
    limits.pace.pushes_per_turn = 4;
    let mut rig = Rig::new(1, limits);
    let noisy = rig.open("/ws");
    let [ann, bob] = [(); 2].map(|()| rig.open("/ws/quiet"));
    for _ in 0..20 {
        rig.open("/ws");
    }
    while rig.shard.is_due() {
        rig.turn(&[]);
    }
    rig.written.clear();
    let broadcasts = say(r#"{"type":"broadcast","message":"!"}"#).repeat(50);
    rig.turn(&[(noisy, &broadcasts)]);
    rig.turn(&[(ann, &say(r#"{"type":"chat_message","room":"quiet","message":"psst"}"#))]);
    for _ in 0..10 {
        rig.turn(&[]);
    }
    assert!(!rig.shard.everyone.is_empty(), "broadcasts are still under way");
    let heard = |key| {
        let to = rig.written.iter().filter(|(to, _)| *to == key);
        to.flat_map(|(_, bytes)| bytes).copied().collect::<Vec<u8>>().windows(4).any(|piece| piece == b"psst")
    };
    assert!(heard(ann) && heard(bob));
}

/// A rig whose shard gathers for 5 ms, a second after its start: no topic was written to lately.
fn gathering() -> Rig {
    let mut limits = Limits { coalesce: Coalesce::Window(Duration::from_millis(5)), ..Limits::default() };
    (limits.pace.bulk_members, limits.pace.bulk_flushes_per_turn) = (4, 1);
    let mut rig = Rig::new(1, limits);
    rig.now = Mono(1_000_000);
    rig
}

impl Rig {
    /// A turn so many milliseconds later, and what was written to whom in it.
    fn turn_after(&mut self, ms: u32, input: &[(Key, &[u8])]) -> Vec<(Key, String)> {
        self.now = self.now + ms * Duration::from_millis(1);
        self.written.clear();
        self.turn(input);
        self.written.iter().map(|(key, bytes)| (*key, String::from_utf8_lossy(bytes).into_owned())).collect()
    }
}

fn speak(room: &str, message: &str, id: &str) -> Vec<u8> {
    say(&format!(r#"{{"type":"chat_message","room":"{room}","message":"{message}"{id}}}"#))
}

#[test]
fn what_comes_within_a_window_is_one_write() {
    let mut rig = gathering();
    let [ann, bob] = [(); 2].map(|()| rig.open("/ws/r"));
    rig.turn_after(1000, &[]);
    let first = rig.turn_after(0, &[(ann, &speak("r", "one", ""))]);
    assert_eq!(first.len(), 2, "a silent room waits for nothing");
    assert_eq!(rig.turn_after(1, &[(ann, &speak("r", "two", ""))]), []);
    assert_eq!(rig.turn_after(1, &[(ann, &speak("r", "three", ""))]), []);
    let both = rig.turn_after(3, &[]);
    assert_eq!(both.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [ann, bob]);
    assert!(both.iter().all(|(_, text)| text.contains("two") && text.contains("three")), "{both:?}");
}

/// The sender's copy with its `id` waited like any other, though it is the reply.
#[test]
fn replies_wait_for_no_window_and_what_is_before_them_goes_along() {
    let mut rig = gathering();
    let [ann, bob] = [(); 2].map(|()| rig.open("/ws/r"));
    rig.turn_after(1000, &[(ann, &speak("r", "one", ""))]);
    assert_eq!(rig.turn_after(1, &[(ann, &speak("r", "two", ""))]), []);
    let reply = rig.turn_after(1, &[(ann, &speak("r", "three", r#","id":3"#))]);
    assert!(
        matches!(&reply[..], [(key, text)] if *key == ann && text.contains("two") && text.contains(r#""id":3"#))
    );
    let pong = rig.turn_after(1, &[(bob, &say(r#"{"type":"ping"}"#))]);
    assert!(
        matches!(&pong[..], [(key, text)] if *key == bob && text.contains("three") && text.contains("pong"))
    );
}

/// At the window's end, members of small rooms stood behind the whole backlog of large ones.
#[test]
fn a_large_rooms_backlog_does_not_hold_up_a_small_rooms_window() {
    let mut rig = gathering();
    let small = [(); 2].map(|()| rig.open("/ws/small"));
    let large = [(); 9].map(|()| rig.open("/ws/large"));
    rig.turn_after(1000, &[(small[0], &speak("small", "one", ""))]);
    while rig.shard.is_due() {
        rig.turn_after(0, &[]);
    }
    rig.turn_after(4, &[(small[0], &speak("small", "two", "")), (large[0], &speak("large", "all", ""))]);
    let due: Vec<Key> = rig.turn_after(1, &[]).into_iter().map(|(key, _)| key).collect();
    assert!(small.iter().all(|key| due.contains(key)), "{due:?}");
    assert!(!rig.shard.turn.bulk.is_empty(), "the large room is still being written to");
}

/// A frame of a client with the longest header.
fn long_frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_be_bytes();
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key);
    let head = [u8::from(fin) << 7 | opcode as u8, 0x80 | 127];
    head.into_iter().chain(length).chain(MASK).chain(masked).collect()
}

/// A long message is sent back out of the buffer that it came into, or out of the input: the same bytes either way.
#[test]
fn long_echoes_are_what_came_however_it_was_cut() {
    let payload: Vec<u8> = (0..200_000_u32).map(|n| b'a' + u8::try_from(n % 26).expect("a letter")).collect();
    let (first, second) = payload.split_at(100_000);
    let whole = long_frame(true, Opcode::Text, &payload);
    let fragments =
        [long_frame(false, Opcode::Text, first), long_frame(true, Opcode::Continuation, second)].concat();
    let answer = [&[0x81, 127][..], &(payload.len() as u64).to_be_bytes(), &payload].concat();
    for (sent, piece) in [(&whole, usize::MAX), (&whole, 70_000), (&whole, 199_999), (&fragments, 30_001)] {
        let mut rig = Rig::new(1, Limits::default());
        let key = rig.open("/echo");
        rig.written.clear();
        for bytes in sent.chunks(piece) {
            rig.turn(&[(key, bytes)]);
        }
        rig.turn(&[(key, &say("!"))]);
        let heard: Vec<u8> = rig.written.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        assert!(heard == [&answer[..], &[0x81, 1, b'!']].concat(), "in pieces of {piece}");
    }
}
