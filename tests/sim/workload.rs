//! What clients do, and one whole run: connect, talk, misbehave, stall, die; then quiet, questions, and the end.
//!
//! Every choice comes from the run's dice. Judges connections (how they open, answer and end); what is said on them
//! is judged by `model`.

mod ending;
mod killing;
mod listening;
mod showing;
mod talking;
mod writing;

use std::time::Duration;

use roomcast::hub::document;
use roomcast::hub::journal::Durability;
use roomcast::hub::moderation::Appointment;
use roomcast::hub::pattern::NamePattern;
use roomcast::hub::policy::Documents;
use roomcast::shard::limits::{Coalesce, Limits, Pace, Rate, SlowConsumer};

use crate::app::App;
use crate::channels::{self, Subscriber};
use crate::model::{MODERATOR, Truth, Viewer};
use crate::net::{self, Dice, End, Reader};
use crate::world::World;

const ROOMS: [&str; 5] = ["a", "b", "c", "tea room", "\u{1f389}"];
const USERS: [&str; 3] = ["ann", "bob", "cy"];
const CLIENTS_MAX: usize = 24;
/// Steps after which the process is killed, on average, where there is a store.
const KILLED_ONCE_IN: usize = 800;
/// Steps after which keys are exchanged, on average, where tokens are asked for.
const KEYS_ONCE_IN: usize = 700;
/// Who was held up until so lately may have missed the server's last words, in microseconds.
const GRACE_US: u64 = 300_000;
/// No run is longer: rooms and channels remember for an hour.
const RUN_US: u64 = 50 * 60_000_000;
/// After so long the server counts its rooms anew for `get_stats`, however many topics there are in a run.
const STALE_US: u64 = 1000;
/// Rounds in which the world has to come to rest. A round moves some bytes of each link.
const ROUNDS_MAX: usize = 2_000_000;
/// Moments at which something happens by itself, after the last connection has gone its way.
const JUMPS_MAX: usize = 20_000;
/// Tries until nobody is closed for being slow while all ask how things stand.
const SETTLING_MAX: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Native,
    Echo,
    /// Asks for pages, several at once.
    Http {
        asked: usize,
    },
    /// Sends half a request.
    Half,
    /// The application: asks the API.
    App,
}

struct Client {
    kind: Kind,
    link: usize,
    reader: Reader,
    viewer: Viewer,
    subscriber: Subscriber,
    next_id: u64,
    named: Option<&'static str>,
    /// When it last heard anything, in microseconds: then it was connected, whatever it does not know of since.
    seen_us: u64,
    upgraded: bool,
    /// Answers to plain requests.
    answers: usize,
    /// Echoes that are due, oldest first.
    echoes: Vec<Vec<u8>>,
    close_sent: bool,
    close_heard: Option<u16>,
    /// What it has asked as the application.
    app: App,
    /// Its id, once it was welcomed.
    id: Option<String>,
    /// The application was told to have it closed.
    kicked: bool,
    /// The process that welcomed it.
    process: u64,
    /// It came back after a close frame that may have ended its session, and has not heard what became of that.
    doubts: bool,
    /// It broke a rule, and will be closed for it.
    outlaw: bool,
    /// It did not read, or not send, until then.
    held_until_us: Option<u64>,
    /// It ended its side without a close frame.
    gave_up: bool,
    over: bool,
}

impl Client {
    /// Whether the server counts it as a client, once everything has come to rest.
    fn is_member(&self) -> bool {
        !self.over && self.close_heard.is_none() && !self.gave_up && self.viewer.welcomed.is_some()
    }

    fn talks(&self) -> bool {
        self.upgraded && !self.close_sent && self.close_heard.is_none() && !self.over
    }
}

pub(crate) struct Sim {
    pub(crate) step: usize,
    /// Of everything that anybody heard, in order.
    pub(crate) digest: u64,
    trace: bool,
    /// The process is killed in the next step.
    doomed: bool,
    dice: Dice,
    limits: Limits,
    /// Links that clients with sessions have left behind.
    abandoned: Vec<usize>,
    /// What clients saw whose sessions are gone.
    past: Vec<Viewer>,
    world: World,
    clients: Vec<Client>,
    truth: Truth,
    /// The same of channels and feeds.
    channels: channels::Truth,
    keys: showing::Keys,
}

fn limits(dice: &mut Dice) -> Limits {
    let secs = Duration::from_secs;
    let pace = if dice.once_in(4) {
        Pace::default()
    } else {
        let own_bytes_high = *dice.pick(&[100, 2000, 64 << 10]);
        Pace {
            pushes_per_turn: *dice.pick(&[1, 5, 50]),
            bulk_members: *dice.pick(&[0, 2, 5]),
            bulk_flushes_per_turn: *dice.pick(&[1, 4]),
            flushes_per_turn: *dice.pick(&[1, 8, 100]),
            requests_per_turn: *dice.pick(&[1, 10]),
            jobs_high: *dice.pick(&[1, 3, 30]),
            mail_high: *dice.pick(&[1, 5, 100]),
            requests_high: *dice.pick(&[1, 4, 20]),
            requests_low: 0,
            own_bytes_high,
            own_bytes_low: own_bytes_high / 4,
            handshakes_per_turn: 2,
            busy_pushes_per_ms: *dice.pick(&[0, 1, 64]),
            window_bytes_max: *dice.pick(&[0, 300, 16 << 10]),
            placed_bytes_min: *dice.pick(&[1, 20, 64 << 10]),
            batch_bytes_max: *dice.pick(&[0, 600, 16 << 10]),
        }
    };
    Limits {
        message_bytes_max: *dice.pick(&[2000, 1 << 20]),
        rate: dice.once_in(5).then_some(Rate { per_second: 50, burst: 20 }),
        rooms_per_connection_max: *dice.pick(&[2, 128]),
        members_per_room_max: *dice.pick(&[None, None, Some(4)]),
        presence_grace: Duration::from_millis(*dice.pick(&[0, 0, 50, 2000])),
        presence_list_max: *dice.pick(&[100, 100, 2, 0]),
        moderators: vec![Appointment { rooms: NamePattern::new("*"), users: NamePattern::new(MODERATOR) }],
        documents: Documents {
            limits: document::Limits {
                history: *dice.pick(&[4, 50, 1000]),
                bytes_max: *dice.pick(&[100, 1 << 20]),
            },
            age: *dice.pick(&[secs(1), secs(20)]),
            bytes_total_max: *dice.pick(&[20_000, 64 << 20]),
        },
        connections_per_user_max: *dice.pick(&[None, Some(1), Some(3)]),
        ping_interval: *dice.pick(&[None, Some(secs(1)), Some(secs(25))]),
        pong_timeout: *dice.pick(&[secs(1), secs(10)]),
        missed_pongs_max: *dice.pick(&[1, 3]),
        idle_timeout: *dice.pick(&[None, None, Some(secs(40))]),
        close_timeout: *dice.pick(&[secs(1), secs(5)]),
        durability: *dice.pick(&[Durability::Off, Durability::Off, Durability::Sync, Durability::Async]),
        resume_window: *dice.pick(&[None, Some(secs(1)), Some(secs(120)), Some(secs(120))]),
        away_max: *dice.pick(&[2, 10_000, 10_000]),
        heartbeat_json: dice.once_in(4),
        queue_bytes_max: *dice.pick(&[500, 3000, 1 << 20]),
        queue_messages_max: *dice.pick(&[2, 10, 1024]),
        slow_consumer: *dice.pick(&[
            SlowConsumer::DropOldest,
            SlowConsumer::DropNewest,
            SlowConsumer::Disconnect,
        ]),
        coalesce: *dice.pick(&[
            Coalesce::Auto,
            Coalesce::Off,
            Coalesce::Window(Duration::from_millis(1)),
            Coalesce::Window(secs(1)),
        ]),
        pace,
        feeds: channels::declared(),
        ..Limits::default()
    }
}

impl Sim {
    pub(crate) fn new(seed: u64, trace: bool) -> Sim {
        let mut dice = Dice::new(seed);
        let mut limits = limits(&mut dice);
        limits.access = showing::policy(seed);
        let shards = *dice.pick(&[1, 2, 2, 3, 4]);
        if trace {
            println!("{shards} shards, {limits:?}");
        }
        let world = World::new(shards, &limits, &mut dice);
        let mut truth = Truth::default();
        truth.grace = !limits.presence_grace.is_zero();
        truth.kept.durability = Some(limits.durability);
        let mut sim = Sim {
            step: 0,
            digest: 0,
            trace,
            doomed: false,
            dice,
            limits,
            abandoned: Vec::new(),
            past: Vec::new(),
            world,
            clients: Vec::new(),
            truth,
            channels: channels::Truth::default(),
            keys: showing::Keys::default(),
        };
        if sim.limits.access.tokens {
            sim.exchange_keys();
        }
        sim
    }

    /// One step: somebody does something, some bytes move, some shard may turn, some time passes.
    pub(crate) fn step(&mut self) {
        self.step += 1;
        let living = self.clients.iter().filter(|client| !client.over).count();
        if living < CLIENTS_MAX && (living < 3 || self.dice.once_in(25)) {
            self.connect();
        } else if self.dice.once_in(2) {
            let i = self.dice.below(self.clients.len());
            self.act(i);
        }
        if self.limits.durability != Durability::Off && (self.dice.once_in(KILLED_ONCE_IN) || self.doomed) {
            self.kill();
        }
        if self.dice.once_in(20) {
            let (feed, value) = self.channels.value(&mut self.dice);
            self.world.post(feed, value);
        }
        if self.limits.access.tokens && self.dice.once_in(KEYS_ONCE_IN) {
            self.exchange_keys();
        }
        let mut moved = false;
        for _ in 0..1 + self.dice.below(16) {
            let i = self.dice.below(self.clients.len());
            let piece = *self.dice.pick(&[3, 300, 5000]);
            moved |= self.world.links[self.clients[i].link].pump(&mut self.dice, piece);
            self.listen(i);
        }
        moved |= if self.dice.once_in(3) {
            self.world.turn_all(&mut self.dice)
        } else {
            self.world.turn_one(&mut self.dice)
        };
        self.world.now_us += self.dice.below(200) as u64;
        if !moved && self.dice.once_in(50) {
            self.rest();
            self.jump_ahead();
        }
    }

    pub(crate) fn check(&self) {
        self.world.check();
    }

    /// The same within the time of a run: of some topics the next moment is their end, in an hour or a hundred years.
    fn jump_ahead(&mut self) {
        if self.world.next_us().is_some_and(|next| next < RUN_US) {
            self.jump();
        }
    }

    /// Goes to the next moment at which something happens by itself.
    fn jump(&mut self) -> bool {
        let next = self.world.next_us();
        self.world.now_us = self.world.now_us.max(next.unwrap_or(0));
        next.is_some()
    }

    fn connect(&mut self) {
        let link = self.world.connect(&mut self.dice);
        let kind = match self.dice.below(20) {
            0 => Kind::Echo,
            1 => Kind::Http { asked: 1 + self.dice.below(30) },
            2 => Kind::Half,
            3 => Kind::App,
            _ => Kind::Native,
        };
        let number = self.clients.len();
        let named =
            (kind == Kind::Native && self.dice.once_in(2)).then(|| USERS[self.dice.below(USERS.len())]);
        let session = named.is_some() && self.limits.resume_window.is_some() && self.dice.once_in(2);
        let process = self.world.process;
        let viewer = Viewer::new(number, session, process, self.step);
        let mut client = Client {
            kind,
            link,
            reader: Reader::default(),
            viewer,
            subscriber: Subscriber::new(number, self.truth.kept.life(process)),
            next_id: 0,
            named,
            seen_us: 0,
            upgraded: false,
            answers: 0,
            echoes: Vec::new(),
            close_sent: false,
            close_heard: None,
            app: App::default(),
            id: None,
            kicked: false,
            process,
            doubts: false,
            outlaw: false,
            held_until_us: None,
            gave_up: false,
            over: false,
        };
        let asked = self.limits.access.tokens;
        let shown = if asked { self.arrive(&mut client) } else { showing::Shown::default() };
        let request = match kind {
            Kind::Echo => shown.request("/echo"),
            Kind::Http { asked } => net::request("/health", false).repeat(asked),
            Kind::Half => net::request("/ws", true)[..20].to_vec(),
            Kind::App => Vec::new(),
            Kind::Native => {
                let mut path = String::from(if session { "/ws?last_seq=0&" } else { "/ws?" });
                if let Some(user) = named {
                    path += &format!("user_id={user}&");
                }
                for room in ROOMS.iter().take(self.dice.below(3)) {
                    client.viewer.joins_at_once(room);
                    path += &format!("room={room}&").replace(' ', "%20");
                }
                shown.request(&path)
            }
        };
        self.world.links[link].send(&request);
        self.clients.push(client);
    }

    /// A client does something that it could do now.
    fn act(&mut self, i: usize) {
        if self.clients[i].viewer.session.is_some()
            && self.dice.once_in(if self.clients[i].over { 4 } else { 60 })
        {
            return self.come_back(i);
        }
        let link = &mut self.world.links[self.clients[i].link];
        let client = &mut self.clients[i];
        if client.over {
            return;
        }
        if client.kind == Kind::App {
            return self.act_as_application(i);
        }
        match self.dice.below(100) {
            n @ 0..=1 if self.dice.once_in(4) => {
                client.gave_up |= client.close_heard.is_none();
                link.end(if n == 0 { End::Reset } else { End::Fin });
            }
            2..=4 => link.deaf = true,
            5 => link.mute = true,
            6..=14 => (link.deaf, link.mute) = (false, false),
            // Who comes back hears first whether its session goes on.
            _ if client.viewer.session.is_some() && client.viewer.welcomed.is_none() => {}
            _ if client.viewer.pass.as_ref().is_some_and(|pass| pass.is_silent()) => {
                return self.act_as_guest(i);
            }
            _ if client.kind == Kind::Native && client.talks() => return self.talk(i),
            _ if client.kind == Kind::Echo && client.talks() => {
                let payload = vec![b'e'; self.dice.below(1500)];
                link.send(&net::message(&payload, &mut self.dice));
                if !link.is_ending() {
                    client.echoes.push(payload);
                }
            }
            _ => {}
        }
        if link.deaf || link.mute {
            client.held_until_us = Some(u64::MAX);
        } else if client.held_until_us == Some(u64::MAX) {
            client.held_until_us = Some(self.world.now_us);
        }
    }

    /// A client with a session connects again, whatever has become of its last connection: it may have ended, be cut
    /// now, or lie dead with nobody knowing.
    fn come_back(&mut self, i: usize) {
        let link = self.world.connect(&mut self.dice);
        let client = &mut self.clients[i];
        let before = std::mem::replace(&mut client.link, link);
        if !client.over {
            match self.dice.below(3) {
                0 => self.world.links[before].end(End::Reset),
                1 => self.world.links[before].end(End::Fin),
                _ => self.world.links[before].mute = true,
            }
            self.abandoned.push(before);
        }
        let window = self.limits.resume_window.unwrap_or_default();
        let window_us = u64::try_from(window.as_micros()).unwrap_or(0);
        // A handshake of TLS goes back and forth before the request that says who comes.
        let grace = if self.world.links[link].secure.is_some() { 10 * GRACE_US } else { GRACE_US };
        let in_time =
            self.world.now_us + grace < client.seen_us + window_us && client.held_until_us.is_none();
        // Nobody knows whether its own close frame has arrived.
        client.doubts |= client.close_sent && client.close_heard.is_none();
        let there = client.process == self.world.process;
        // A close may be all that is heard of a connection that began anew: its welcome was abandoned.
        let known = client.viewer.welcomed.is_some();
        let mut must = in_time && known && !client.doubts && there && self.limits.away_max > 1000;
        let shown = match client.viewer.pass.is_some() {
            true => self.arrive_again(i, &mut must),
            false => showing::Shown::default(),
        };
        let client = &mut self.clients[i];
        client.viewer.returns(must, self.world.process, self.step);
        client.reader = Reader::default();
        (client.upgraded, client.close_sent, client.close_heard) = (false, false, None);
        (client.outlaw, client.gave_up, client.over, client.held_until_us) = (false, false, false, None);
        let session = client.viewer.session.as_deref().unwrap_or_default();
        let user = client.named.map(|user| format!("&user_id={user}")).unwrap_or_default();
        let last_seq = client.viewer.last_seq.unwrap_or(0);
        let path = format!("/ws?session={session}&last_seq={last_seq}{user}");
        self.world.links[link].send(&shown.request(&path));
    }

    /// Lets everything that is under way arrive, without time passing to speak of.
    fn rest(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut moved = self.world.turn_all(&mut self.dice);
            for i in 0..self.clients.len() {
                if !self.clients[i].over {
                    moved |= self.world.links[self.clients[i].link].pump(&mut self.dice, 5000);
                    self.listen(i);
                }
            }
            self.world.now_us += 1;
            if !moved {
                if !self.world.is_under_way() {
                    return;
                }
                self.jump();
            }
        }
        panic!("the world does not come to rest");
    }
}
