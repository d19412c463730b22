//! What clients say: the application to the API, native clients in rooms, in channels and to users.

use serde_json::{Value, json};

use super::{Kind, ROOMS, Sim, USERS};
use crate::model::{Asked, MODERATOR, Published, Since};
use crate::net::{self, CLOSE, Dice, PING};

impl Sim {
    /// The application asks for something, sometimes again, and sometimes on another of its connections.
    pub(super) fn act_as_application(&mut self, i: usize) {
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
    pub(super) fn talk(&mut self, i: usize) {
        if self.clients[i].viewer.loose {
            return self.close(i);
        }
        if self.renews(i) {
            return self.renew(i);
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
                self.bar(i, n, &Asked::Broadcast);
                self.ask(i, "", Asked::Broadcast, json!({"type": "broadcast", "message": {"n": n}}));
            }
            69..=74 => {
                let limit = self.dice.below(30);
                let before = self.dice.once_in(3).then(|| self.dice.bits() % 50);
                let history = json!({"type": "get_history", "room": room, "limit": limit, "before": before});
                self.ask(i, room, Asked::History { limit, before }, history);
            }
            75..=77 | 88..=90 => self.tell(i),
            80..=83 => self.ask(i, "", Asked::Stats, json!({"type": "get_stats"})),
            84..=87 => self.ask(i, "", Asked::Ping, json!({"type": "ping", "ts": 5})),
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
    pub(super) fn talk_in_channels(&mut self, i: usize) {
        let client = &mut self.clients[i];
        if self.world.links[client.link].is_ending() {
            return;
        }
        let message = {
            let pass = client.viewer.pass.as_deref();
            client.subscriber.ask(&mut self.dice, &mut self.channels, self.step, pass)
        };
        let frame = net::message(message.to_string().as_bytes(), &mut self.dice);
        self.send(i, &frame);
    }

    pub(super) fn send(&mut self, i: usize, bytes: &[u8]) {
        self.world.links[self.clients[i].link].send(bytes);
    }

    pub(super) fn close(&mut self, i: usize) {
        let payload = 1000_u16.to_be_bytes();
        let frame = net::frame(CLOSE, true, &payload, &mut self.dice);
        self.send(i, &frame);
        self.clients[i].close_sent = true;
    }

    /// Sends a question; what has no answer of its own without an `id` gets one mostly, the rest always.
    pub(super) fn ask(&mut self, i: usize, room: &str, asked: Asked, mut message: Value) {
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
    pub(super) fn tell(&mut self, i: usize) {
        let viewer = &self.clients[i].viewer;
        if let (Some(seq), Some(user)) =
            (viewer.newest_direct().filter(|_| self.dice.once_in(3)), &viewer.user)
        {
            let tried = self.truth.directs.tried.entry(user.clone()).or_default();
            *tried = seq.max(*tried);
            return self.ask(i, "", Asked::Acknowledge { seq }, json!({"type": "ack", "seq": seq}));
        }
        let to = USERS[self.dice.below(USERS.len())];
        self.tell_user(i, to);
    }

    pub(super) fn tell_user(&mut self, i: usize, to: &'static str) {
        let n = self.truth.published.len();
        let (echo, tagged, step) = (false, true, self.step);
        self.truth.published.push(Published { client: i, room: None, echo, tagged, step });
        self.bar(i, n, &Asked::Direct { to });
        let message = json!({"type": "direct_message", "user_id": to, "message": {"n": n}});
        self.ask(i, "", Asked::Direct { to }, message);
    }

    pub(super) fn join(&mut self, i: usize) {
        let mut room = ROOMS[self.dice.below(ROOMS.len())];
        let viewer = &self.clients[i].viewer;
        let mut message = json!({"type": "join_room", "room": room});
        let mut since = None;
        if self.dice.once_in(3) {
            // From where it stands, or stood in another room: the epoch tells.
            if let Some(member) = viewer.rooms.values().next() {
                let offset = self.dice.bits() % (member.next + 1);
                let (epoch, ahead) = (member.epoch.clone(), offset == member.next);
                since = Some(Since { offset, epoch, ahead });
            }
            // Or where somebody stood when the process was killed, mostly at the very end.
            let places = &self.truth.kept.positions;
            if !places.is_empty() && (since.is_none() || self.dice.once_in(2)) {
                let (of, place) = &places[self.dice.below(places.len())];
                room = ROOMS.into_iter().find(|room| room == of).expect("a room of ours");
                let back = if self.dice.once_in(2) { self.dice.bits() % (place.offset + 1) } else { 0 };
                since = Some(Since { offset: place.offset - back, ..place.clone() });
            }
            if let Some(Since { offset, epoch, .. }) = &since {
                message["since"] = json!({"offset": offset, "epoch": epoch});
                message["room"] = json!(room);
            }
        } else if self.dice.once_in(2) {
            message["history"] = json!(10);
        }
        self.ask(i, room, Asked::Join { since }, message);
    }

    /// Somebody does what moderators do, mostly one of them.
    pub(super) fn moderate(&mut self, i: usize, room: &str) {
        let moderates = self.clients[i].named == Some(MODERATOR);
        if !moderates && !self.dice.once_in(4) {
            return;
        }
        let nth = self.dice.below(2 * self.truth.users.len() + 1);
        let anybody = self.truth.users.values().nth(nth).map(String::as_str);
        let user = anybody.unwrap_or(USERS[1 + nth % 2]).to_owned();
        let may = moderates && user != MODERATOR;
        let (seconds, now_us) = (*self.dice.pick(&[0, 1, 3, 3]), self.world.now_us);
        let concerns = (room.to_owned(), user.clone());
        let act = json!({"room": room, "user_id": user, "seconds": seconds});
        let (kind, may) = match self.dice.below(4) {
            0 => {
                self.truth.clears.extend(moderates.then(|| room.to_owned()));
                ("clear_history", moderates)
            }
            1 => {
                if may {
                    self.truth.muted.want(concerns, seconds, now_us);
                }
                ("mute", may)
            }
            _ => {
                if may {
                    self.truth.banned.want(concerns, seconds, now_us);
                }
                ("kick", may)
            }
        };
        let mut message = act;
        message["type"] = json!(kind);
        self.ask(i, room, Asked::Moderate { may }, message);
    }

    pub(super) fn publish(&mut self, i: usize, room: &'static str) {
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
        if client.viewer.may(room, &Asked::Publish { n, echo }) == Some(false) {
            self.truth.barred.insert(n);
        }
        client.viewer.ask(id, room, Asked::Publish { n, echo });
        let frame = net::message(message.to_string().as_bytes(), &mut self.dice);
        self.send(i, &frame);
    }
}
