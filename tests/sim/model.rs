//! What each client must see: the shadow of the whole server, learnt from what all clients hear.
//!
//! [`Truth`] is common: which publication has which place in which numbering. A [`Viewer`] is one client's view, moved
//! only by what it hears, and judged at once where that is possible, at the end where it takes the others' word.
//! Knows nothing of shards.

mod direct;
mod kept;
mod measures;
pub(crate) mod passes;
mod rooms;
mod verdict;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use crate::model::direct::Directs;
use crate::model::kept::Kept;
use crate::model::measures::Measures;
use crate::model::passes::Pass;
use crate::papers::{Papers, Paperwork};

/// A room and the name of its numbering.
type Numbering = (String, String);

/// Begins the payload of plain binary messages.
pub(crate) const RELAYED: &[u8] = b"relayed \xff";

/// A publication or broadcast that some client sent; its payload carries its index.
pub(crate) struct Published {
    pub(crate) client: usize,
    /// None: a broadcast.
    pub(crate) room: Option<String>,
    pub(crate) echo: bool,
    pub(crate) tagged: bool,
    pub(crate) step: usize,
}

/// What all clients together know.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) published: Vec<Published>,
    /// Who sent each plain binary message.
    pub(crate) relayed: Vec<usize>,
    log: BTreeMap<Numbering, BTreeMap<u64, usize>>,
    places: BTreeMap<usize, BTreeMap<Numbering, u64>>,
    /// The user of each client that was welcomed.
    pub(crate) users: BTreeMap<usize, String>,
    /// Broadcasts that somebody heard right after another.
    after: BTreeMap<usize, BTreeSet<usize>>,
    pub(crate) broadcasts_heard: BTreeSet<usize>,
    pub(crate) directs: Directs,
    /// What must still be there although the process was killed.
    pub(crate) kept: Kept,
    /// The drain began.
    pub(crate) drained: bool,
    /// Users stay for a while without a connection.
    pub(crate) grace: bool,
    /// Whom a moderator wanted out of a room for some time.
    pub(crate) banned: Measures,
    /// Whom a moderator wanted quiet.
    pub(crate) muted: Measures,
    /// In microseconds.
    pub(crate) now_us: u64,
    /// Rooms in which a moderator wanted everything forgotten.
    pub(crate) clears: BTreeSet<String>,
    /// Publications that no token of their senders grants.
    pub(crate) barred: BTreeSet<usize>,
}

impl Truth {
    /// Everybody sees the same publication at the same place, and nowhere else.
    pub(crate) fn observe(&mut self, numbering: &Numbering, offset: u64, n: usize) {
        assert!(!self.barred.contains(&n), "{n} in {numbering:?} was not granted to its sender");
        assert_eq!(
            self.published[n].room.as_deref(),
            Some(&*numbering.0),
            "publication {n} is in another room"
        );
        let here = *self.log.entry(numbering.clone()).or_default().entry(offset).or_insert(n);
        assert_eq!(here, n, "two publications at {offset} of {numbering:?}");
        self.judge_muted(&numbering.0, n);
        // What is remembered of another life has the same place under another name.
        let places = self.places.entry(n).or_default();
        let place = *places.entry(numbering.clone()).or_insert(offset);
        let one = places.len() == 1 || !self.kept.goes_on();
        assert!(place == offset && one, "publication {n} has two places: {places:?}");
    }

    /// The largest offset that anybody has seen.
    fn head(&self, numbering: &Numbering) -> u64 {
        self.log.get(numbering).and_then(|log| log.keys().next_back()).copied().unwrap_or(0)
    }

    /// What can be judged only when all is said.
    pub(crate) fn judge(&self) {
        for (numbering, log) in &self.log {
            let mut last = BTreeMap::new();
            for (offset, n) in log {
                let before = last.insert(self.published[*n].client, n);
                assert!(before < Some(n), "a sender's order is turned at {offset} of {numbering:?}");
            }
        }
        self.judge_broadcasts();
    }

    /// All clients heard broadcasts in one order: "heard right after" has no circle.
    fn judge_broadcasts(&self) {
        let mut before: BTreeMap<usize, usize> = BTreeMap::new();
        for later in self.after.values().flatten() {
            *before.entry(*later).or_default() += 1;
        }
        let mut free: Vec<usize> =
            self.broadcasts_heard.iter().filter(|n| !before.contains_key(n)).copied().collect();
        while let Some(n) = free.pop() {
            for later in self.after.get(&n).into_iter().flatten() {
                let left = before.get_mut(later).expect("counted above");
                *left -= 1;
                if *left == 0 {
                    before.remove(later);
                    free.push(*later);
                }
            }
        }
        assert!(before.is_empty(), "broadcasts were heard in different orders: {:?}", before.keys());
    }
}

/// What a client asked, by its kind of answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Join {
        since: Option<Since>,
    },
    Leave,
    Publish {
        n: usize,
        echo: bool,
    },
    Typing,
    History {
        limit: usize,
        before: Option<u64>,
    },
    Users,
    Broadcast,
    Direct {
        to: &'static str,
    },
    Acknowledge {
        seq: u64,
    },
    Stats,
    Ping,
    /// Whether it may.
    Moderate {
        may: bool,
    },
    Paper(String, Paperwork),
    /// Shows a token.
    Auth,
}

/// From where on a client asks for what it has missed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Since {
    pub(crate) offset: u64,
    pub(crate) epoch: String,
    /// It is beyond all that the client was told.
    pub(crate) ahead: bool,
}

/// Who moderates all rooms.
pub(crate) const MODERATOR: &str = "ann";

/// A question that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) asked: Asked,
    pub(crate) room: String,
    /// When it was asked the client was a member, and had not asked to leave.
    sure: bool,
    /// It has never asked to join.
    never: bool,
    /// What is known of whether its token grants it.
    may: Option<bool>,
}

/// A client in a room.
pub(crate) struct Membership {
    pub(crate) epoch: String,
    /// The offset that comes next.
    pub(crate) next: u64,
    /// Who is there; none in a crowd, and once presence events were lost.
    users: Option<BTreeSet<String>>,
}

/// One client's view.
#[derive(Default)]
pub(crate) struct Viewer {
    client: usize,
    /// Which process it is connected to, and the step in which it asked to be.
    pub(crate) process: u64,
    opened: usize,
    pub(crate) user: Option<String>,
    pub(crate) welcomed: Option<usize>,
    /// The step of its first welcome.
    began: Option<usize>,
    pub(crate) rooms: BTreeMap<String, Membership>,
    pub(crate) pending: BTreeMap<u64, Pending>,
    /// The last question about each room that was answered well.
    answered: BTreeMap<String, u64>,
    pub(crate) joins: BTreeMap<String, usize>,
    leaves: BTreeMap<String, usize>,
    left: BTreeMap<String, usize>,
    /// Publications without echo and without tag, by room: nobody tells their place.
    silent: BTreeMap<String, usize>,
    /// Offsets passed over: they must be its own publications without echo.
    skipped: Vec<(Numbering, u64)>,
    announced: Vec<(Numbering, u64, u64)>,
    /// What it was told to be forgotten.
    cleared: BTreeMap<Numbering, u64>,
    pub(crate) broadcasts: Vec<usize>,
    broadcasts_lost: u64,
    pub(crate) shutdown: bool,
    /// The number of the last message, for one who has a session.
    pub(crate) last_seq: Option<u64>,
    /// The session's name, once it was told.
    pub(crate) session: Option<String>,
    /// Questions of earlier connections: they may never have arrived.
    stale: BTreeMap<u64, Pending>,
    /// A part of what it was told is lost, and the view of rooms with it.
    pub(crate) loose: bool,
    /// It comes back, and the session must still be there.
    pub(crate) must_resume: bool,
    /// Numbers of the direct messages that came, and ranges of those that were announced.
    directs: BTreeSet<u64>,
    /// Those of them that came on this connection.
    directs_here: BTreeSet<u64>,
    directs_lost: Vec<(u64, u64)>,
    /// Users that were written to, and how many connections that reached.
    pub(crate) reached: Vec<(&'static str, u64)>,
    /// The last answers to `get_users` and `get_stats`.
    pub(crate) info: BTreeMap<String, (u64, u64)>,
    pub(crate) stats: Option<(u64, u64)>,
    pub(crate) papers: Papers,
    /// Binary publications that a list has named and that must follow it.
    owed: VecDeque<(Numbering, u64)>,
    relays: BTreeSet<usize>,
    /// Its tokens, where they are asked for.
    pub(crate) pass: Option<Box<Pass>>,
}

pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

pub(crate) fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn index(value: &Value) -> usize {
    usize::try_from(number(&value["message"], "n")).expect("indices are small")
}

impl Viewer {
    /// The view of one who has heard nothing yet, with a session or without.
    pub(crate) fn new(client: usize, session: bool, process: u64, opened: usize) -> Viewer {
        Viewer { client, process, opened, last_seq: session.then_some(0), ..Viewer::default() }
    }

    /// The view of one whose session is gone, on the connection where it is told so.
    pub(crate) fn anew(&self) -> Viewer {
        let pass = self.pass.clone();
        Viewer { pass, ..Viewer::new(self.client, true, self.process, self.opened) }
    }

    /// Notes a question before it is sent.
    pub(crate) fn ask(&mut self, id: Option<u64>, room: &str, asked: Asked) {
        let count = |counts: &BTreeMap<String, usize>| counts.get(room).copied().unwrap_or(0);
        let sure = self.rooms.contains_key(room) && count(&self.leaves) == count(&self.left);
        let may = self.may(room, &asked);
        if matches!(asked, Asked::Join { .. }) {
            self.note_join(room);
        }
        match (&asked, id) {
            (Asked::Join { .. }, _) => *self.joins.entry(room.into()).or_default() += 1,
            (Asked::Leave, _) => *self.leaves.entry(room.into()).or_default() += 1,
            (Asked::Publish { echo: false, .. }, None) => *self.silent.entry(room.into()).or_default() += 1,
            _ => {}
        }
        let never = !room.is_empty() && !self.joins.contains_key(room);
        if let Some(id) = id {
            self.pending.insert(id, Pending { asked, room: room.into(), sure, never, may });
        }
    }

    /// Notes that the request for the upgrade joins a room.
    pub(crate) fn joins_at_once(&mut self, room: &str) {
        self.note_join(room);
        *self.joins.entry(room.into()).or_default() += 1;
    }

    /// The client comes back on another connection; its questions may have been lost.
    pub(crate) fn returns(&mut self, must_resume: bool, process: u64, opened: usize) {
        (self.process, self.opened) = (process, opened);
        self.stale.append(&mut self.pending);
        self.shutdown = false;
        self.directs_here.clear();
        self.must_resume = must_resume;
        self.welcomed = None;
    }

    /// Whether the next message is a welcome that ends this view: the session is gone.
    pub(crate) fn is_over_with(&self, said: &Value) -> bool {
        self.session.is_some() && self.welcomed.is_none() && said["resumed"] == false
    }

    /// A binary message has a number and does not carry it.
    fn count_binary(&mut self) {
        if let Some(last) = &mut self.last_seq {
            *last += 1;
        }
    }

    /// Everything that is told to one with a session has the next number, or is announced to be lost.
    fn count(&mut self, said: &Value) {
        let seq =
            said.get("session_seq").or_else(|| said.get("seq").filter(|_| said["type"] != "direct_message"));
        let Some(last) = &mut self.last_seq else { return assert_eq!(seq, None, "{said}") };
        if said["topic"] == "session" {
            assert_eq!(number(said, "from"), *last + 1, "{said}");
            *last = number(said, "to");
            self.loose = true;
            self.rooms.clear();
            self.owed.clear();
            return;
        }
        if said["type"] != "welcome" {
            assert_eq!(seq.and_then(Value::as_u64), Some(*last + 1), "{said}");
            *last += 1;
        }
    }

    /// One message of the server.
    pub(crate) fn hear(&mut self, said: &Value, truth: &mut Truth, step: usize) {
        let kind = text(said, "type");
        assert_eq!(kind == "welcome", self.welcomed.is_none(), "welcome comes first, and once");
        self.count(said);
        if said["topic"] == "session" {
            return;
        }
        assert!(kind == "welcome" || self.owed.is_empty(), "{said} comes before {:?}", self.owed);
        let pending = said.get("id").map(|id| self.take_pending(id, said));
        if self.judge_reach(said, pending.as_ref()) {
            return;
        }
        if self.loose && (said.get("room").is_some() || said.get("doc_id").is_some()) {
            return; // who knows
        }
        let paper = match &pending {
            Some(Pending { asked: Asked::Paper(name, what), .. }) => Some((&**name, *what)),
            _ => None,
        };
        if paper.is_some() || said.get("doc_id").is_some() {
            let granted = pending.as_ref().is_some_and(|pending| pending.may == Some(true));
            assert!(!granted || said["code"] != "forbidden", "{said}: its token grants it");
            return self.papers.hear(said, paper, self.user.as_deref().unwrap_or_default());
        }
        match kind {
            "welcome" => self.hear_welcome(said, truth, step),
            "room_joined" => self.hear_joined(said, pending, truth),
            "room_left" => {
                assert!(pending.is_none_or(|pending| pending.asked == Asked::Leave));
                let room = text(said, "room");
                assert!(self.rooms.remove(room).is_some(), "left {room} without being there");
                self.note_left(room);
            }
            "chat_message" => self.hear_publication(said, pending, truth),
            "user_joined" | "user_left" => self.hear_presence(said, kind == "user_joined", truth),
            "presence" => {
                let listed = self.listed(said);
                let member = self.rooms.get_mut(text(said, "room")).expect("presence is told to members");
                member.users = listed;
            }
            "kicked" => self.hear_kicked(said, truth, step),
            "muted" => self.hear_muted(said, truth, step),
            "history_cleared" => self.hear_cleared(said, truth),
            "typing_indicator" => {
                let member = self.rooms.get(text(said, "room")).expect("typing is told to members");
                let known = member.users.as_ref().is_none_or(|users| users.contains(text(said, "user_id")));
                assert!(known, "{said}: who is that?");
            }
            "broadcast" => self.hear_broadcast(said, truth),
            "direct_message" => self.hear_direct(said, truth, step),
            "dropped" => self.hear_dropped(said, truth),
            "ack" => self.hear_ack(said, pending.expect("acks have ids"), truth, step),
            "message_history" => self.hear_history(said, pending.expect("asked with id"), truth),
            "room_info" => self.hear_info(said, pending.expect("asked with id")),
            "server_stats" => {
                assert_eq!(pending.expect("asked with id").asked, Asked::Stats);
                self.stats = Some((number(said, "total_clients"), number(said, "total_rooms")));
            }
            "auth_success" => self.hear_success(said, pending.as_ref()),
            "token_expiring" => assert!(self.pass.is_some(), "{said}"),
            "pong" => assert_eq!(pending.expect("asked with id").asked, Asked::Ping),
            "error" => self.hear_error(said, pending, truth),
            "heartbeat" => {}
            "server_shutdown" => {
                assert!(truth.drained && !std::mem::replace(&mut self.shutdown, true));
            }
            _ => panic!("unknown type in {said}"),
        }
    }

    /// What the message with this `id` answers.
    fn take_pending(&mut self, id: &Value, said: &Value) -> Pending {
        let kind = text(said, "type");
        let id = id.as_u64().expect("all our ids are numbers");
        let pending = self.pending.remove(&id).or_else(|| self.stale.remove(&id));
        let pending = pending.unwrap_or_else(|| panic!("nobody asked {said}"));
        if kind != "error" {
            assert!(!pending.never, "{said} answers one who never joined");
            assert!(pending.may != Some(false), "{said}: that was not granted");
            let last = self.answered.insert(pending.room.clone(), id);
            let ordered = last.is_none_or(|last| last < id) || pending.room.is_empty();
            assert!(ordered, "{said} is overtaken by {last:?}");
        }
        pending
    }

    fn hear_welcome(&mut self, said: &Value, truth: &mut Truth, step: usize) {
        if self.last_seq.is_some() {
            let resumed = said["resumed"].as_bool().expect("it asked for a session");
            assert_eq!(resumed, self.session.is_some(), "a view ends with its session");
            let before = self.session.replace(text(said, "session").into());
            assert!(!resumed || before == self.session, "another session");
        }
        let began = *self.began.get_or_insert(step);
        self.welcomed = Some(began);
        self.user = Some(text(said, "user_id").into());
        truth.users.insert(self.client, text(said, "user_id").into());
    }

    fn hear_presence(&mut self, said: &Value, came: bool, truth: &Truth) {
        let member = self.rooms.get_mut(text(said, "room")).expect("presence is told to members");
        let user = text(said, "user_id");
        let Some(users) = &mut member.users else { return };
        let news = if came { users.insert(user.into()) } else { users.remove(user) };
        assert!(news, "{said}: that is known");
        assert!(truth.grace || users.len() as u64 <= number(said, "members_count"), "{said}: {users:?}");
    }

    fn hear_broadcast(&mut self, said: &Value, truth: &mut Truth) {
        let n = index(said);
        let published = &truth.published[n];
        assert!(!truth.barred.contains(&n), "{said} was not granted to its sender");
        // It may still be under way when its sender, whose session nobody knows, is there again.
        let own = published.client == self.client && self.began.is_none_or(|began| published.step >= began);
        assert!(published.room.is_none() && !own, "{said}");
        assert!(!self.broadcasts.contains(&n), "{said} comes twice");
        if let Some(last) = self.broadcasts.last() {
            truth.after.entry(*last).or_default().insert(n);
        }
        truth.broadcasts_heard.insert(n);
        self.broadcasts.push(n);
    }

    fn hear_dropped(&mut self, said: &Value, truth: &Truth) {
        let events = said.get("events").map_or(0, |_| number(said, "events"));
        if text(said, "topic").starts_with("user:") {
            return self.hear_directs_lost(said, truth);
        }
        let Some(room) = said.get("room") else {
            assert_eq!(text(said, "topic"), "everyone:");
            self.broadcasts_lost += events;
            return;
        };
        let room = room.as_str().expect("rooms are strings");
        let member = self.rooms.get_mut(room).unwrap_or_else(|| panic!("not in the room of {said}"));
        if events > 0 {
            member.users = None;
        }
        if said.get("from").is_none() {
            assert!(events > 0, "{said} announces nothing");
            return;
        }
        let (from, to) = (number(said, "from"), number(said, "to"));
        assert!(member.next <= from && from <= to, "{said} comes when {} is next", member.next);
        let numbering = (room.to_owned(), member.epoch.clone());
        self.sync(room, from - 1);
        self.rooms.get_mut(room).expect("a member").next = to + 1;
        self.announced.push((numbering, from, to));
    }

    fn hear_ack(&mut self, said: &Value, pending: Pending, truth: &mut Truth, step: usize) {
        match pending.asked {
            Asked::Publish { .. } if self.loose => {}
            Asked::Publish { n, echo: false } => {
                let offset = number(said, "offset");
                let member = self.rooms.get(&pending.room).expect("members publish");
                truth.observe(&(pending.room.clone(), member.epoch.clone()), offset, n);
                self.sync(&pending.room, offset);
            }
            Asked::Typing | Asked::Broadcast | Asked::Moderate { may: true } => {}
            Asked::Acknowledge { seq } => {
                let life = truth.kept.life(self.process);
                let user = self.user.as_deref().expect("welcomed");
                truth.directs.acknowledged(life, user, seq, step);
            }
            Asked::Direct { to } => self.reached.push((to, number(said, "delivered"))),
            other => panic!("{said} answers {other:?}"),
        }
    }

    fn hear_history(&mut self, said: &Value, pending: Pending, truth: &mut Truth) {
        let Asked::History { limit, before } = pending.asked else { panic!("{said}") };
        let room = text(said, "room");
        let member = self.rooms.get(room).expect("members ask for history");
        let epoch = member.epoch.clone();
        assert_eq!(text(said, "epoch"), epoch);
        let offsets = self.observe_list(room, &epoch, &said["messages"], truth);
        assert!(offsets.len() <= limit && before.is_none_or(|before| offsets.iter().all(|o| *o < before)));
        let head = number(said, "offset");
        if before.is_none() && limit > 0 {
            assert!(offsets.last().is_none_or(|last| *last == head));
        }
        self.sync(room, head);
    }

    fn hear_info(&mut self, said: &Value, pending: Pending) {
        assert_eq!(pending.asked, Asked::Users);
        let users = self.listed(said);
        let member = &self.rooms[&pending.room];
        assert!(member.users.is_none() || member.users == users, "{:?}, {said}", member.users);
        self.info.insert(pending.room, (number(said, "members_count"), number(said, "user_count")));
    }

    fn hear_error(&mut self, said: &Value, pending: Option<Pending>, truth: &Truth) {
        let code = text(said, "code");
        if pending.as_ref().is_some_and(|pending| pending.asked == Asked::Auth) {
            return self.judge_refused(said, said["id"].as_u64());
        }
        if code == "rate_limited" {
            return; // whatever it was, it was not done
        }
        let Some(Pending { asked, sure, room, may, .. }) = pending else {
            let known = [
                "invalid_json",
                "not_in_room",
                "room_required",
                "room_full",
                "too_many_rooms",
                "invalid_field",
                "forbidden",
            ];
            assert!(known.contains(&code), "{said}");
            return;
        };
        let concerns = || (room.clone(), self.user.clone().expect("welcomed"));
        match (&asked, code) {
            _ if self.loose => {}
            (_, "forbidden") if may != Some(true) => {}
            (Asked::Join { .. }, "forbidden") => {
                assert!(!sure && truth.banned.is_wanted(&concerns()), "{said}")
            }
            (Asked::Publish { .. } | Asked::Typing, "forbidden") => {
                assert!(truth.muted.is_wanted(&concerns()), "{said}")
            }
            (Asked::Moderate { may }, "forbidden") => assert!(!may, "{said}"),
            (Asked::Join { .. }, "room_full" | "too_many_rooms") => assert!(!sure, "{said}: it is in {room}"),
            (Asked::Stats, "unavailable") => {}
            (Asked::Join { .. } | Asked::Stats | Asked::Ping | Asked::Broadcast, _) => panic!("{said}"),
            (_, "not_in_room") => assert!(!sure, "{said}: it is in {room}"),
            _ => panic!("{said} answers {asked:?}"),
        }
        if asked == Asked::Leave {
            *self.left.entry(room).or_default() += 1;
        }
    }
}
