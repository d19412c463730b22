//! What clients do, and one whole run: connect, talk, misbehave, stall, die; then quiet, questions, and the end.
//!
//! Every choice comes from the run's dice. Judges connections (how they open, answer and end); what is said on them
//! is judged by `model`.

mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use roomcast::hub::document;
use roomcast::hub::moderation::Appointment;
use roomcast::hub::pattern::NamePattern;
use roomcast::hub::policy::Documents;
use roomcast::shard::limits::{Coalesce, Limits, Pace, Rate, SlowConsumer};
use serde_json::{Value, json};

use crate::app::App;
use crate::channels::{self, Subscriber};
use crate::model::{Asked, MODERATOR, Published, Truth, Viewer};
use crate::net::{self, BINARY, CLOSE, Dice, End, PING, PONG, Reader, TEXT};
use crate::world::World;

const ROOMS: [&str; 5] = ["a", "b", "c", "tea room", "\u{1f389}"];
const USERS: [&str; 3] = ["ann", "bob", "cy"];
const CLIENTS_MAX: usize = 24;
/// Who was held up until so lately may have missed the server's last words, in microseconds.
const GRACE_US: u64 = 300_000;
/// No run is longer: rooms and channels remember for an hour.
const RUN_US: u64 = 50 * 60_000_000;
/// After so long the server counts its rooms anew for `get_stats`, however many topics there are in a run.
const STALE_US: u64 = 1000;
/// Rounds in which the world has to come to rest. A round moves some bytes of each link.
const ROUNDS_MAX: usize = 400_000;
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
            busy_pushes_per_ms: *dice.pick(&[0, 1, 64]),
            window_bytes_max: *dice.pick(&[0, 300, 16 << 10]),
            placed_bytes_min: *dice.pick(&[1, 20, 64 << 10]),
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
        let limits = limits(&mut dice);
        let shards = *dice.pick(&[1, 2, 2, 3, 4]);
        if trace {
            println!("{shards} shards, {limits:?}");
        }
        let world = World::new(shards, &limits, &mut dice);
        let mut truth = Truth::default();
        truth.grace = !limits.presence_grace.is_zero();
        Sim {
            step: 0,
            digest: 0,
            trace,
            dice,
            limits,
            abandoned: Vec::new(),
            past: Vec::new(),
            world,
            clients: Vec::new(),
            truth,
            channels: channels::Truth::default(),
        }
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
        if self.dice.once_in(20) {
            let (feed, value) = self.channels.value(&mut self.dice);
            self.world.post(feed, value);
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
        let viewer = Viewer::new(number, session);
        let mut client = Client {
            kind,
            link,
            reader: Reader::default(),
            viewer,
            subscriber: Subscriber::new(number),
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
            outlaw: false,
            held_until_us: None,
            gave_up: false,
            over: false,
        };
        let request = match kind {
            Kind::Echo => net::request("/echo", true),
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
                net::request(&path, true)
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
        let in_time =
            self.world.now_us + GRACE_US < client.seen_us + window_us && client.held_until_us.is_none();
        // Nobody knows whether its own close frame has arrived.
        let closes = client.close_sent && client.close_heard.is_none();
        let must = in_time && !closes && self.limits.away_max > 1000;
        client.viewer.returns(must);
        client.reader = Reader::default();
        (client.upgraded, client.close_sent, client.close_heard) = (false, false, None);
        (client.outlaw, client.gave_up, client.over, client.held_until_us) = (false, false, false, None);
        let session = client.viewer.session.as_deref().unwrap_or_default();
        let user = client.named.map(|user| format!("&user_id={user}")).unwrap_or_default();
        let last_seq = client.viewer.last_seq.unwrap_or(0);
        let path = format!("/ws?session={session}&last_seq={last_seq}{user}");
        self.world.links[link].send(&net::request(&path, true));
    }

    /// The application asks for something, sometimes again, and sometimes on another of its connections.
    fn act_as_application(&mut self, i: usize) {
        let room = ROOMS[self.dice.below(ROOMS.len())];
        let at = self.dice.below(self.clients.len());
        let id = self.clients[at].id.clone().filter(|_| self.dice.once_in(10));
        let bytes = match id {
            Some(id) => {
                self.clients[at].kicked = true;
                self.clients[i].app.kick(&id, &mut self.dice)
            }
            _ if at != i && self.clients[at].kind == Kind::App && !self.clients[at].over => {
                let mut app = std::mem::take(&mut self.clients[i].app);
                let bytes = app.again_for(&mut self.clients[at].app);
                self.clients[i].app = app;
                return bytes.into_iter().for_each(|bytes| self.send(at, &bytes));
            }
            _ => {
                let Sim { clients, truth, step, dice, .. } = self;
                clients[i].app.ask(i, room, truth, *step, dice)
            }
        };
        self.send(i, &bytes);
    }

    /// A native client says something.
    fn talk(&mut self, i: usize) {
        if self.clients[i].viewer.loose {
            return self.close(i);
        }
        // What it is told of channels by a session is numbered, and comes again.
        if self.clients[i].viewer.last_seq.is_none() && self.dice.once_in(5) {
            return self.talk_in_channels(i);
        }
        // What it edits and is not answered would have to be told from what is lost.
        if self.clients[i].viewer.last_seq.is_none() && self.dice.once_in(3) {
            return self.write(i);
        }
        // Mostly it speaks where it is.
        let rooms = &self.clients[i].viewer.rooms;
        let at = self.dice.below(rooms.len().max(1));
        let known = rooms.keys().nth(at).and_then(|room| ROOMS.into_iter().find(|known| known == room));
        let room = known.filter(|_| !self.dice.once_in(5)).unwrap_or(ROOMS[self.dice.below(ROOMS.len())]);
        match self.dice.below(100) {
            0..=13 => self.join(i),
            14..=18 => self.ask(i, room, Asked::Leave, json!({"type": "leave_room", "room": room})),
            19..=51 => self.publish(i, room),
            52..=53 => (0..10).for_each(|_| self.publish(i, room)),
            54..=56 => (0..4).for_each(|_| self.send_bytes(i, room)),
            57..=62 => {
                let typing = json!({"type": "typing_indicator", "room": room, "is_typing": true});
                self.ask(i, room, Asked::Typing, typing);
            }
            63..=68 => {
                let n = self.truth.published.len();
                let (echo, tagged, step) = (false, true, self.step);
                self.truth.published.push(Published { client: i, room: None, echo, tagged, step });
                self.ask(i, "", Asked::Broadcast, json!({"type": "broadcast", "message": {"n": n}}));
            }
            69..=74 => {
                let limit = self.dice.below(30);
                let before = self.dice.once_in(3).then(|| self.dice.bits() % 50);
                let history = json!({"type": "get_history", "room": room, "limit": limit, "before": before});
                self.ask(i, room, Asked::History { limit, before }, history);
            }
            75..=77 => self.tell(i),
            80..=83 => self.ask(i, "", Asked::Stats, json!({"type": "get_stats"})),
            84..=90 => self.ask(i, "", Asked::Ping, json!({"type": "ping", "ts": 5})),
            91..=94 => self.send(i, &net::frame(PING, true, b"are you there", &mut Dice::new(1))),
            95..=96 => self.moderate(i, room),
            78..=79 => self.ask(i, room, Asked::Users, json!({"type": "get_users", "room": room})),
            97 if self.dice.once_in(3) => self.close(i),
            98 if self.dice.once_in(3) => {
                self.clients[i].outlaw = true;
                let mut garbage = vec![0; 1 + self.dice.below(30)];
                garbage.iter_mut().for_each(|byte| *byte = self.dice.bits().to_be_bytes()[0]);
                self.send(i, &garbage);
            }
            99 if self.dice.once_in(3) => {
                self.clients[i].outlaw = true;
                let pad = "x".repeat(3000 + self.dice.below(3000));
                self.ask(i, "", Asked::Ping, json!({"type": "ping", "pad": pad}));
            }
            _ => {}
        }
    }

    /// It says something about channels and feeds.
    fn talk_in_channels(&mut self, i: usize) {
        let client = &mut self.clients[i];
        if self.world.links[client.link].is_ending() {
            return;
        }
        let message = client.subscriber.ask(&mut self.dice, &mut self.channels, self.step);
        let frame = net::message(message.to_string().as_bytes(), &mut self.dice);
        self.send(i, &frame);
    }

    fn send(&mut self, i: usize, bytes: &[u8]) {
        self.world.links[self.clients[i].link].send(bytes);
    }

    fn close(&mut self, i: usize) {
        let payload = 1000_u16.to_be_bytes();
        let frame = net::frame(CLOSE, true, &payload, &mut self.dice);
        self.send(i, &frame);
        self.clients[i].close_sent = true;
    }

    /// Sends a question; what has no answer of its own without an `id` gets one mostly, the rest always.
    fn ask(&mut self, i: usize, room: &str, asked: Asked, mut message: Value) {
        let client = &mut self.clients[i];
        if self.world.links[client.link].is_ending() {
            return;
        }
        let optional = matches!(asked, Asked::Join { since: None } | Asked::Leave | Asked::Typing);
        let id = (!optional || !self.dice.once_in(6)).then_some(client.next_id);
        client.next_id += 1;
        if let Some(id) = id {
            message["id"] = json!(id);
        }
        client.viewer.ask(id, room, asked);
        let frame = net::message(message.to_string().as_bytes(), &mut self.dice);
        self.send(i, &frame);
    }

    /// A message to a user, or an acknowledgement of one's own.
    fn tell(&mut self, i: usize) {
        let viewer = &self.clients[i].viewer;
        if let (Some(seq), Some(user)) =
            (viewer.newest_direct().filter(|_| self.dice.once_in(3)), &viewer.user)
        {
            let acknowledged = self.truth.acknowledged.entry(user.clone()).or_default();
            *acknowledged = seq.max(*acknowledged);
            return self.ask(i, "", Asked::Acknowledge, json!({"type": "ack", "seq": seq}));
        }
        let to = USERS[self.dice.below(USERS.len())];
        self.tell_user(i, to);
    }

    fn tell_user(&mut self, i: usize, to: &'static str) {
        let n = self.truth.published.len();
        let (echo, tagged, step) = (false, true, self.step);
        self.truth.published.push(Published { client: i, room: None, echo, tagged, step });
        let message = json!({"type": "direct_message", "user_id": to, "message": {"n": n}});
        self.ask(i, "", Asked::Direct { to }, message);
    }

    fn join(&mut self, i: usize) {
        let room = ROOMS[self.dice.below(ROOMS.len())];
        let viewer = &self.clients[i].viewer;
        let mut message = json!({"type": "join_room", "room": room});
        let mut since = None;
        if self.dice.once_in(3) {
            // From where it stands, or stood in another room: the epoch tells.
            if let Some(member) = viewer.rooms.values().next() {
                let offset = self.dice.bits() % (member.next + 1);
                message["since"] = json!({"offset": offset, "epoch": member.epoch});
                since = Some((offset, member.epoch.clone()));
            }
        } else if self.dice.once_in(2) {
            message["history"] = json!(10);
        }
        self.ask(i, room, Asked::Join { since }, message);
    }

    /// Somebody does what moderators do, mostly one of them.
    fn moderate(&mut self, i: usize, room: &str) {
        let moderates = self.clients[i].named == Some(MODERATOR);
        if !moderates && !self.dice.once_in(4) {
            return;
        }
        let nth = self.dice.below(self.truth.users.len().max(1));
        let user = self.truth.users.values().nth(nth).map_or(USERS[1], String::as_str).to_owned();
        let may = moderates && user != MODERATOR;
        let seconds = *self.dice.pick(&[0, 0, 1, 3]);
        let concerns = (room.to_owned(), user.clone());
        let act = json!({"room": room, "user_id": user, "seconds": seconds});
        let (kind, may) = match self.dice.below(4) {
            0 => {
                self.truth.clears.extend(moderates.then(|| room.to_owned()));
                ("clear_history", moderates)
            }
            1 => {
                self.truth.muted.extend(may.then_some(concerns));
                ("mute", may)
            }
            _ => {
                self.truth.banned.extend(may.then_some(concerns));
                ("kick", may)
            }
        };
        let mut message = act;
        message["type"] = json!(kind);
        self.ask(i, room, Asked::Moderate { may }, message);
    }

    fn publish(&mut self, i: usize, room: &'static str) {
        let client = &mut self.clients[i];
        if self.world.links[client.link].is_ending() {
            return;
        }
        let (n, step) = (self.truth.published.len(), self.step);
        let (echo, tagged) = (!self.dice.once_in(6), !self.dice.once_in(4));
        self.truth.published.push(Published { client: i, room: Some(room.into()), echo, tagged, step });
        let pad = "p".repeat(*self.dice.pick(&[0, 0, 30, 700]));
        let mut message =
            json!({"type": "chat_message", "room": room, "message": {"n": n, "pad": pad}, "echo": echo});
        let id = tagged.then_some(client.next_id);
        client.next_id += 1;
        if let Some(id) = id {
            message["id"] = json!(id);
        }
        client.viewer.ask(id, room, Asked::Publish { n, echo });
        let frame = net::message(message.to_string().as_bytes(), &mut self.dice);
        self.send(i, &frame);
    }

    /// A client looks at what it has received.
    fn listen(&mut self, i: usize) {
        let client = &mut self.clients[i];
        let link = &mut self.world.links[client.link];
        if client.over || (link.received.is_empty() && link.ended.is_none()) {
            return;
        }
        client.reader.feed(&std::mem::take(&mut link.received));
        if client.kind == Kind::App {
            while let Some((status, body)) = client.reader.answer_with_body() {
                if status == 408 {
                    break; // it had nothing to ask for a while
                }
                let body = serde_json::from_slice(&body).expect("the server writes JSON");
                client.app.hear(status, &body, &mut self.truth);
            }
        } else if !client.upgraded {
            while let Some(status) = client.reader.answer() {
                client.answers += 1;
                client.upgraded = status == 101;
                match client.kind {
                    Kind::Native | Kind::Echo if status == 101 => break,
                    Kind::Http { .. } if status == 408 && client.held_until_us.is_some() => {}
                    Kind::Http { .. } => assert_eq!(status, 200, "client {i}"),
                    Kind::Half => assert_eq!(status, 408, "client {i}"),
                    _ => {
                        let excused = client.held_until_us.is_some() || self.truth.drained;
                        assert!(excused, "client {i} was refused with {status}");
                    }
                }
            }
        }
        while self.clients[i].upgraded
            && let Some((opcode, payload)) = self.clients[i].reader.frame()
        {
            self.hear(i, opcode, &payload);
        }
        if let Some(end) = self.world.links[self.clients[i].link].ended {
            self.lose(i, end);
        }
    }

    fn hear(&mut self, i: usize, opcode: u8, payload: &[u8]) {
        let step = self.step;
        for byte in payload.iter().chain([&opcode]) {
            self.digest = self.digest.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte) ^ (i as u64) << 8;
        }
        let client = &mut self.clients[i];
        if self.trace {
            println!(
                "{step} @{} client {i} hears {opcode}: {}",
                self.world.now_us,
                String::from_utf8_lossy(payload)
            );
        }
        client.seen_us = self.world.now_us;
        assert_eq!(client.close_heard, None, "client {i} hears {opcode} after the close frame");
        match opcode {
            TEXT if client.kind == Kind::Echo => {
                assert!(!client.echoes.is_empty() && client.echoes.remove(0) == payload, "client {i}: echo");
            }
            TEXT => {
                let said: Value = serde_json::from_slice(payload).expect("the server writes JSON");
                if client.viewer.is_over_with(&said) {
                    // Its session is gone: it begins anew, and what it saw before is judged as far as that went.
                    let ended = client.kicked || !client.viewer.must_resume;
                    assert!(ended, "client {i}: its session is gone");
                    let past = std::mem::replace(&mut client.viewer, Viewer::new(i, true));
                    self.past.push(past);
                }
                if !client.subscriber.hear(&said, &mut self.channels, step) {
                    client.viewer.hear(&said, &mut self.truth, step);
                }
                if said["type"] == "welcome" {
                    client.id = said["client_id"].as_str().map(str::to_owned);
                }
                if said["type"] == "heartbeat" && self.dice.once_in(2) && !self.clients[i].close_sent {
                    let pong = net::message(b"{\"type\":\"pong\"}", &mut self.dice);
                    self.send(i, &pong);
                }
            }
            BINARY => client.viewer.hear_binary(payload, &mut self.truth),
            // RFC 6455 §5.5.1: nothing after the close frame.
            PING if client.close_sent => {}
            PING => {
                let pong = net::frame(PONG, true, payload, &mut self.dice);
                self.send(i, &pong);
            }
            PONG => {}
            _ => self.hear_close(i, payload),
        }
    }

    fn hear_close(&mut self, i: usize, payload: &[u8]) {
        let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        let client = &mut self.clients[i];
        client.close_heard = Some(code);
        client.seen_us = self.world.now_us;
        let held = client.held_until_us.is_some();
        let justified = match code {
            1000 => client.close_sent,
            1001 => self.truth.drained,
            1008 => client.named.is_some() && self.limits.connections_per_user_max.is_some(),
            4003 => self.limits.idle_timeout.is_some(),
            // An earlier connection, given up before it was open, may have been heard last.
            4008 => client.kicked || client.viewer.session.is_some(),
            // A kernel that buffers little makes everybody slow.
            4004 => true,
            4006 => held,
            _ => client.outlaw,
        };
        assert!(justified || client.outlaw, "client {i} was closed with {code}");
        if !client.close_sent {
            let answer = net::frame(CLOSE, true, payload, &mut self.dice);
            self.send(i, &answer);
            self.clients[i].close_sent = true;
        }
        self.world.links[self.clients[i].link].end(End::Fin);
    }

    /// A connection has ended.
    fn lose(&mut self, i: usize, end: End) {
        let client = &mut self.clients[i];
        let link = &mut self.world.links[client.link];
        if self.trace {
            println!("{} client {i} has lost its connection: {end:?} at {}", self.step, self.world.now_us);
        }
        client.over = true;
        if matches!(client.close_heard, Some(1000 | 1001 | 1005 | 1008)) {
            client.viewer.session = None; // it does not come back
        }
        // Who ended its own side without a close frame, or held the bytes up, has no claim to last words.
        let held =
            client.held_until_us.is_some_and(|until| until.saturating_add(GRACE_US) > self.world.now_us);
        let claim = client.upgraded && !held && !client.gave_up;
        assert!(!claim || client.close_heard.is_some(), "client {i} was dropped without a word: {end:?}");
        assert!(!claim || client.reader.left() == 0, "client {i}: half a frame");
        link.end(End::Fin);
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

    /// Brings the run to its end, and judges it.
    pub(crate) fn finish(&mut self) {
        for client in &mut self.clients {
            let link = &mut self.world.links[client.link];
            (link.deaf, link.mute) = (false, false);
            client.held_until_us = client.held_until_us.map(|until| until.min(self.world.now_us));
        }
        self.rest();
        self.settle();
        self.compare();
        self.compare_documents();
        for viewer in &self.past {
            viewer.judge(&self.truth, false);
        }
        for client in &self.clients {
            let open = client.is_member() && !client.outlaw && !client.close_sent;
            client.viewer.judge(&self.truth, open);
            if open && client.kind == Kind::Native {
                client.subscriber.judge(&self.channels);
            }
        }
        self.truth.judge();
        self.part();
        let mut jumps = 0;
        self.rest();
        while self.jump() {
            jumps += 1;
            assert!(jumps < JUMPS_MAX, "time does not come to an end");
            self.rest();
        }
        self.world.check_empty();
        for (i, client) in self.clients.iter().enumerate() {
            assert!(client.over, "client {i} is still connected");
            let told = client.viewer.shutdown || client.close_heard != Some(1001);
            assert!(told || client.viewer.welcomed.is_none(), "client {i} was not told to come back");
        }
    }

    /// Everybody with a session comes back, and all ask how things stand, until nobody is lost over it.
    fn settle(&mut self) {
        for _ in 0..SETTLING_MAX {
            for i in 0..self.clients.len() {
                if self.clients[i].over && self.clients[i].viewer.session.is_some() {
                    self.come_back(i);
                }
            }
            for link in std::mem::take(&mut self.abandoned) {
                self.world.links[link].end(End::Reset);
            }
            self.rest();
            // Who does not know which rooms it is in is no help.
            for i in 0..self.clients.len() {
                if self.clients[i].viewer.loose && self.clients[i].talks() {
                    self.close(i);
                }
            }
            self.rest();
            self.world.check_rest();
            self.world.now_us += STALE_US;
            self.let_go();
            let members = self.clients.iter().filter(|client| client.is_member()).count();
            let away = |client: &Client| client.over && client.viewer.session.is_some();
            if self.clients.iter().any(away) {
                continue;
            }
            self.question();
            self.rest();
            self.world.check_rest();
            if self.clients.iter().filter(|client| client.is_member()).count() == members
                && !self.clients.iter().any(away)
            {
                return;
            }
        }
        panic!("the clients do not come to rest");
    }

    /// Who has left is gone once the grace is over, and so is who leaves meanwhile.
    fn let_go(&mut self) {
        let grace_us = u64::try_from(self.limits.presence_grace.as_micros()).expect("a short grace");
        let count = |sim: &Sim| sim.clients.iter().filter(|client| client.is_member()).count();
        if grace_us == 0 {
            return;
        }
        let mut before = usize::MAX;
        while count(self) != before {
            before = count(self);
            self.world.now_us += grace_us;
            self.rest();
        }
    }

    /// Everybody who still talks asks how things stand.
    fn question(&mut self) {
        let mut first = true; // more would be too much for some
        for i in 0..self.clients.len() {
            self.clients[i].viewer.info.clear();
            self.clients[i].viewer.stats = None;
            self.clients[i].viewer.reached.clear();
            self.clients[i].viewer.papers.told.clear();
            if self.clients[i].kind == Kind::App && !self.clients[i].over {
                let bytes = self.clients[i].app.question(&ROOMS, &mut self.dice);
                self.send(i, &bytes);
            }
            // What an outlaw says next may be what it is closed for.
            let asks = self.clients[i].talks() && !self.clients[i].outlaw;
            if self.clients[i].kind != Kind::Native || !asks {
                continue;
            }
            let rooms: Vec<String> = self.clients[i].viewer.rooms.keys().cloned().collect();
            for room in rooms {
                self.ask(i, &room, Asked::Users, json!({"type": "get_users", "room": room}));
            }
            self.ask(i, "", Asked::Stats, json!({"type": "get_stats"}));
            if std::mem::take(&mut first) {
                self.tell_user(i, USERS[i % USERS.len()]);
            }
            if self.clients[i].viewer.last_seq.is_none() {
                self.read_again(i);
            }
        }
    }

    /// What the server says about itself is what the clients know.
    fn compare(&self) {
        let members: Vec<&Client> = self.clients.iter().filter(|client| client.is_member()).collect();
        let mut rooms: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for client in &members {
            let user = client.viewer.user.as_deref().expect("welcomed");
            assert!(client.viewer.rooms.len() <= self.limits.rooms_per_connection_max as usize);
            client.viewer.rooms.keys().for_each(|room| rooms.entry(room).or_default().push(user));
        }
        for (room, users) in &rooms {
            let max = self.limits.members_per_room_max.map_or(usize::MAX, |max| max as usize);
            assert!(users.len() <= max, "{} members in {room}", users.len());
        }
        for user in USERS {
            let max = self.limits.connections_per_user_max.map_or(usize::MAX, |max| max as usize);
            let count = members.iter().filter(|client| client.named == Some(user)).count();
            assert!(count <= max, "{count} connections of {user}");
        }
        // A session whose client never heard its name is nobody's, and yet in its rooms until its time is over.
        let nameless =
            |client: &Client| client.over && client.viewer.last_seq.is_some() && client.viewer.user.is_none();
        let ghosts = self.clients.iter().any(nameless);
        for client in members.iter().filter(|_| !ghosts) {
            let viewer = &client.viewer;
            for (room, info) in &viewer.info {
                let users = &rooms[&**room];
                let distinct = users.iter().collect::<BTreeSet<_>>().len();
                assert_eq!(*info, (users.len() as u64, distinct as u64), "{room}: {users:?}");
            }
            for (user, count) in &viewer.reached {
                let there = members.iter().filter(|client| client.named == Some(user)).count();
                assert_eq!(*count, there as u64, "connections of {user}");
            }
            let stats = (members.len() as u64, rooms.len() as u64);
            assert!(viewer.stats.is_none_or(|told| told == stats), "{:?}, not {stats:?}", viewer.stats);
        }
        for client in self.clients.iter().filter(|client| client.kind == Kind::App && !client.over) {
            assert!(!client.app.waits(), "the application waits for an answer");
            if ghosts {
                continue;
            }
            for (room, members, users) in &client.app.standing {
                let known = rooms.get(&**room).map_or(&[][..], Vec::as_slice);
                let distinct = known.iter().collect::<BTreeSet<_>>().len();
                assert_eq!((*members, *users), (known.len() as u64, distinct as u64), "{room}: {known:?}");
            }
            let Some((total, listed)) = &client.app.rooms else { continue };
            assert_eq!(*total, rooms.len() as u64, "{rooms:?}");
            let known: BTreeSet<(&str, u64)> =
                rooms.iter().map(|(room, users)| (*room, users.len() as u64)).collect();
            let told: BTreeSet<(&str, u64)> = listed.iter().map(|(room, count)| (&**room, *count)).collect();
            assert_eq!(told, known);
        }
        for (i, client) in self.clients.iter().enumerate() {
            let socket = matches!(client.kind, Kind::Native | Kind::Echo);
            let settled = client.over || client.gave_up || !socket;
            assert!(settled || client.upgraded, "client {i} waits for its upgrade");
            assert!(settled || client.outlaw || client.echoes.is_empty(), "client {i} waits for an echo");
            assert!(settled || client.close_heard.is_none(), "client {i} answered a close frame and is kept");
            let welcomed = client.kind == Kind::Echo || client.viewer.welcomed.is_some();
            assert!(settled || welcomed, "client {i} waits for its welcome");
            if let Kind::Http { asked } = client.kind {
                let claim = !client.over && !client.gave_up;
                assert!(!claim || client.answers == asked, "client {i} got {} answers", client.answers);
            }
        }
    }

    /// The end of all connections: the server drains, or the clients go, each its own way.
    fn part(&mut self) {
        if self.dice.once_in(4) {
            self.truth.drained = true;
            self.world.drain();
        }
        for i in 0..self.clients.len() {
            let client = &mut self.clients[i];
            let link = &mut self.world.links[client.link];
            match self.dice.below(4) {
                _ if client.over => {}
                0..=2 if client.outlaw || !client.upgraded => {
                    client.gave_up = true;
                    link.end(End::Reset);
                }
                0..=2 if self.truth.drained => {}
                0 => {
                    client.gave_up = true;
                    link.end(End::Fin);
                }
                _ if client.talks() && !client.outlaw => self.close(i),
                _ => {
                    client.gave_up = true;
                    link.end(End::Reset);
                }
            }
        }
    }
}
