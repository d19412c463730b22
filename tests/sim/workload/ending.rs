//! The end of a run: everybody comes to rest, is asked, is judged, and goes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Client, JUMPS_MAX, Kind, ROOMS, SETTLING_MAX, STALE_US, Sim, USERS};
use crate::model::{Asked, Viewer};
use crate::net::End;

impl Sim {
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
    pub(super) fn settle(&mut self) {
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
    pub(super) fn let_go(&mut self) {
        let grace_us = u64::try_from(self.limits.presence_grace.as_micros()).expect("a short grace");
        let count = |sim: &Sim| sim.clients.iter().filter(|client| client.is_member()).count();
        if grace_us == 0 {
            return;
        }
        let mut before = usize::MAX;
        while count(self) != before {
            before = count(self);
            self.world.now_us += grace_us;
            // Over all that would have been said meanwhile.
            self.clients
                .iter_mut()
                .filter_map(|client| client.viewer.pass.as_mut())
                .for_each(|p| (p.warned, p.dozed) = (true, true));
            self.rest();
        }
    }

    /// Everybody who still talks asks how things stand.
    pub(super) fn question(&mut self) {
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
            let silent = self.clients[i].viewer.pass.as_ref().is_some_and(|pass| pass.is_silent());
            let asks = self.clients[i].talks() && !self.clients[i].outlaw && !silent;
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

    /// Whether there may be sessions that are nobody's, and yet in their rooms until their time is over: of clients who
    /// never heard their names, or came back with a token that grants less, and began anew or were refused.
    fn has_ghosts(&self) -> bool {
        let left = |viewer: &Viewer| {
            let unknown = viewer.user.is_none() || viewer.pass.is_some();
            viewer.process == self.world.process && viewer.last_seq.is_some() && unknown
        };
        self.clients.iter().any(|client| client.over && left(&client.viewer)) || self.past.iter().any(left)
    }

    /// What the server says about itself is what the clients know.
    pub(super) fn compare(&self) {
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
        let ghosts = self.has_ghosts();
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
            let guest = client.viewer.pass.as_ref().is_some_and(|pass| pass.guest);
            let welcomed = client.kind == Kind::Echo || guest || client.viewer.welcomed.is_some();
            assert!(settled || welcomed, "client {i} waits for its welcome");
            if let Kind::Http { asked } = client.kind {
                let claim = !client.over && !client.gave_up;
                assert!(!claim || client.answers == asked, "client {i} got {} answers", client.answers);
            }
        }
    }

    /// The end of all connections: the server drains, or the clients go, each its own way.
    pub(super) fn part(&mut self) {
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
