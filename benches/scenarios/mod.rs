//! The paths that both benchmarks measure: each a closure that does one run of its work and always the same.
//!
//! All but the last few go through a whole shard. Each checks once, when it is built, that a run does what its name
//! says; the runs that are measured check nothing.

pub(crate) mod input;
pub(crate) mod rig;

use std::hint::black_box;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use roomcast::base::clock::Wall;
use roomcast::base::hash::Keys;
use roomcast::base::prng::Prng;
use roomcast::base::shared::Shared;
use roomcast::base::wheel::Wheel;
use roomcast::dialect::native::{decode, encode};
use roomcast::hub::event::{Body, Event, Publication};
use roomcast::hub::name::{Topic, TopicKind, User};
use roomcast::wire::ws::frame::Opcode;

use input::Sent;
use rig::Rig;

/// One run of a path.
pub(crate) type Run = Box<dyn FnMut()>;

/// A path, and how it is counted.
pub(crate) struct Scenario {
    /// What it is called on the command line and in the baseline.
    pub(crate) name: &'static str,
    /// What the figure is per.
    pub(crate) unit: &'static str,
    /// Units that one run does.
    pub(crate) units: u64,
    /// Runs of the two measurements under callgrind. The smaller is also the warm-up: histories are full after it.
    pub(crate) runs: (u32, u32),
    /// Prepares everything; what it returns can be run any number of times.
    pub(crate) build: fn() -> Run,
}

/// Messages that one read brings where clients do not wait for answers.
const PIPELINED: usize = 16;
/// Timers in the scenario of that name, and silent connections.
const MANY: usize = 1000;
/// Members of a room that is too large to tell of each of them.
const CROWD: usize = 5000;

/// All paths, the most frequent work first.
pub(crate) const ALL: [Scenario; 17] = [
    one("echo-64", "message", || echo(64)),
    Scenario {
        name: "echo-64-pipelined",
        unit: "message",
        units: PIPELINED as u64,
        runs: (100, 600),
        build: echo_pipelined,
    },
    one("echo-16k", "message", || echo(16 << 10)),
    Scenario { name: "echo-1m", unit: "message", units: 1, runs: (3, 8), build: || echo_in_reads(1 << 20) },
    one("chat-decode", "message", chat_decode),
    one("chat-encode", "message", chat_encode),
    Scenario { name: "skim-objects", unit: "object", units: 100, runs: (10, 60), build: skim_objects },
    one("publish-1x10", "publication", || fanout(1, 10)),
    Scenario {
        name: "fanout-1x1000",
        unit: "delivery",
        units: 1000,
        runs: (110, 160),
        build: || fanout(1, 1000),
    },
    Scenario {
        name: "fanout-100x10",
        unit: "delivery",
        units: 1000,
        runs: (110, 160),
        build: || fanout(100, 10),
    },
    one("join-leave", "join and leave", join_leave),
    one("join-large", "join and leave", join_large),
    one("connect", "connection", connect),
    one("ping-pong", "ping", ping),
    Scenario {
        name: "heartbeat",
        unit: "ping and pong",
        units: MANY as u64,
        runs: (4, 24),
        build: heartbeat,
    },
    one("empty-turn", "turn", empty_turn),
    Scenario { name: "timers", unit: "timer", units: MANY as u64, runs: (4, 24), build: timers },
];

/// A path that does one unit in one run.
const fn one(name: &'static str, unit: &'static str, build: fn() -> Run) -> Scenario {
    Scenario { name, unit, units: 1, runs: (200, 1200), build }
}

/// A text message of so many bytes comes back.
fn echo(bytes: usize) -> Run {
    let (mut rig, mut prng) = (Rig::new(), Prng::new(1));
    let key = rig.connect("/echo");
    let mut sent = Sent::new(input::text(&input::words(bytes, &mut prng), &mut prng));
    let mut run = move || {
        rig.turn(key, sent.fresh());
        rig.take_tally()
    };
    run(); // the first tally has the handshake in it
    let tally = run();
    assert!(tally.writes == 1 && tally.bytes > bytes as u64, "{tally:?}");
    Box::new(move || _ = black_box(run()))
}

/// Several short messages in one read are answered in one write.
fn echo_pipelined() -> Run {
    let (mut rig, mut prng) = (Rig::new(), Prng::new(2));
    let key = rig.connect("/echo");
    let frames = (0..PIPELINED).map(|_| input::text(&input::words(64, &mut prng), &mut prng));
    let mut sent = Sent::new(frames.collect::<Vec<_>>().concat());
    let mut run = move || {
        rig.turn(key, sent.fresh());
        rig.take_tally()
    };
    run();
    let tally = run();
    assert!(tally.writes == 1 && tally.bytes == PIPELINED as u64 * 66, "{tally:?}");
    Box::new(move || _ = black_box(run()))
}

/// A message that is longer than a read, which brings 64 KiB.
fn echo_in_reads(bytes: usize) -> Run {
    const READ: usize = 64 << 10;
    let (mut rig, mut prng) = (Rig::new(), Prng::new(3));
    let key = rig.connect("/echo");
    let mut sent = Sent::new(input::text(&input::words(bytes, &mut prng), &mut prng));
    rig.take_tally();
    let mut run = move || {
        for read in sent.fresh().chunks_mut(READ) {
            rig.turn(key, read);
        }
        rig.take_tally()
    };
    let tally = run();
    assert!(tally.writes == 1 && tally.bytes > bytes as u64, "{tally:?}");
    Box::new(move || _ = black_box(run()))
}

fn chat_decode() -> Run {
    let text = input::chat("lobby", &mut Prng::new(4));
    assert!(decode::decode(&text).asked.is_ok(), "{text}");
    Box::new(move || _ = black_box(decode::decode(black_box(&text))))
}

/// A message of many small values, none of which is looked into.
fn skim_objects() -> Run {
    let text = input::objects(100);
    assert!(decode::decode(&text).asked.is_ok(), "{text}");
    Box::new(move || _ = black_box(decode::decode(black_box(&text))))
}

fn chat_encode() -> Run {
    let topic = Topic::new(TopicKind::Room, "lobby", Keys::new([7; 16]));
    let payload = format!("\"{}\"", input::words(40, &mut Prng::new(5)));
    let event = Event::Published(Arc::new(Publication {
        offset: 123_456,
        time: Wall(1_770_091_506_789),
        user: Arc::new(User { id: "user-17".into(), name: Some("Ada".into()) }),
        payload: Shared::copy_of(payload.as_bytes()),
        body: Body::Value,
        frame: OnceLock::new(),
    }));
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        encode::event(&mut out, &topic, &event, None);
        black_box(&out);
    })
}

/// In each of `rooms`, one member publishes, all in one turn; all members of the room get it, the sender as well.
fn fanout(rooms: usize, members: usize) -> Run {
    let (mut rig, mut prng) = (Rig::new(), Prng::new(6));
    let mut publishers: Vec<_> = (0..rooms)
        .map(|i| {
            let name = format!("room-{i}");
            let keys = rig.room(&name, members);
            (keys[0], Sent::new(input::text(&input::chat(&name, &mut prng), &mut prng)))
        })
        .collect();
    rig.take_tally();
    let mut run = move || {
        rig.begin();
        for (key, sent) in &mut publishers {
            rig.feed(*key, sent.fresh());
        }
        rig.settle();
        rig.take_tally()
    };
    let tally = run();
    let deliveries = (rooms * members) as u64;
    assert!(tally.writes == deliveries && tally.slices == deliveries, "{tally:?}");
    Box::new(move || _ = black_box(run()))
}

/// An eleventh client joins a room and leaves it; the ten others hear of both.
fn join_leave() -> Run {
    guest(10, 22)
}

/// The same where very many are: nobody is told of each, nothing is listed, and nothing is looked through.
fn join_large() -> Run {
    guest(CROWD, 2)
}

/// A guest joins a room of so many and leaves it, which makes so many writes: two are the answers.
fn guest(members: usize, writes: u64) -> Run {
    let (mut rig, mut prng) = (Rig::new(), Prng::new(7));
    rig.room("lobby", members);
    let key = rig.connect("/ws?user_id=guest");
    let mut join = Sent::new(input::text(&rig::join("lobby"), &mut prng));
    let mut leave = Sent::new(input::text("{\"type\":\"leave_room\",\"room\":\"lobby\"}", &mut prng));
    rig.take_tally();
    let mut run = move || {
        rig.turn(key, join.fresh());
        rig.turn(key, leave.fresh());
        rig.take_tally()
    };
    let tally = run();
    assert_eq!(tally.writes, writes, "{tally:?}");
    Box::new(move || _ = black_box(run()))
}

/// A native client comes by a browser's request, is welcomed, closes and is gone.
fn connect() -> Run {
    let (mut rig, mut prng) = (Rig::new(), Prng::new(8));
    let mut request = Sent::new(input::upgrade("/ws?user_id=user-17"));
    let mut close = Sent::new(input::frame(true, Opcode::Close, &1000_u16.to_be_bytes(), &mut prng));
    let mut run = move || {
        let key = rig.connect_with(request.fresh());
        rig.turn(key, close.fresh());
        (rig.take_tally(), rig.connections())
    };
    let (tally, left) = run();
    assert!(tally.writes == 2 && left == 0, "{tally:?}, {left}");
    Box::new(move || _ = black_box(run()))
}

/// A client's ping is answered by a pong.
fn ping() -> Run {
    let (mut rig, mut prng) = (Rig::new(), Prng::new(9));
    let key = rig.connect("/ws");
    let mut sent = Sent::new(input::frame(true, Opcode::Ping, b"1234", &mut prng));
    rig.take_tally();
    let mut run = move || {
        rig.turn(key, sent.fresh());
        rig.take_tally()
    };
    let tally = run();
    assert!(tally.writes == 1 && tally.bytes == 6, "{tally:?}");
    Box::new(move || _ = black_box(run()))
}

/// All connections have been silent for so long that they are pinged; all answer.
fn heartbeat() -> Run {
    let (mut rig, mut prng) = (Rig::new(), Prng::new(10));
    let keys: Vec<_> = (0..MANY).map(|i| rig.connect(&format!("/ws?user_id=user-{i}"))).collect();
    let mut pong = Sent::new(input::frame(true, Opcode::Pong, b"", &mut prng));
    rig.take_tally();
    let mut run = move || {
        rig.sleep(Duration::from_secs(25));
        rig.settle();
        rig.begin();
        for key in &keys {
            rig.feed(*key, pong.fresh());
        }
        rig.settle();
        rig.take_tally()
    };
    let tally = run();
    assert!(tally.writes == MANY as u64 && tally.bytes == 2 * MANY as u64, "{tally:?}");
    Box::new(move || _ = black_box(run()))
}

/// A turn in which nothing is due, while many connections wait for their next ping.
fn empty_turn() -> Run {
    let mut rig = Rig::new();
    for i in 0..MANY {
        rig.connect(&format!("/ws?user_id=user-{i}"));
    }
    rig.take_tally();
    let mut run = move || {
        rig.begin();
        rig.settle();
        rig.take_tally()
    };
    let tally = run();
    assert_eq!(tally.writes, 0, "{tally:?}");
    Box::new(move || _ = black_box(run()))
}

/// Timers up to 30 s ahead are set, put off by up to as much, and fire.
fn timers() -> Run {
    const AHEAD: u64 = 30_000;
    let (mut wheel, mut prng, mut now) = (Wheel::new(0), Prng::new(11), 0);
    let mut ids = Vec::with_capacity(MANY);
    let mut run = move || {
        ids.clear();
        ids.extend((0..MANY).map(|i| wheel.insert(now + prng.below(AHEAD), i)));
        for id in &ids {
            wheel.reschedule(*id, now + AHEAD + prng.below(AHEAD));
        }
        now += 2 * AHEAD;
        let mut fired = 0;
        while wheel.pop(now).is_some() {
            fired += 1;
        }
        fired
    };
    assert_eq!(run(), MANY, "all fire, and none is left");
    Box::new(move || _ = black_box(run()))
}
