//! What clients do with documents, and their binary messages.

use roomcast::wire::typed::{Kind as Typed, Sent};
use serde_json::json;

use super::{ROOMS, Sim};
use crate::editor::Change;
use crate::model::{Asked, Published, RELAYED};
use crate::net::{self, BINARY};
use crate::papers::Paperwork;

const DOCUMENTS: [&str; 3] = ["plan", "list", "\u{1f4dc}"];
/// Of one to four bytes, and those that JSON escapes.
const LETTERS: [char; 8] = ['x', '"', '\\', '\u{1}', '\u{e9}', '\u{301}', '\u{4e2d}', '\u{1f389}'];

impl Sim {
    /// A native client does something with a document: mostly it writes, if it can.
    pub(super) fn write(&mut self, i: usize) {
        let name = *self.dice.pick(&DOCUMENTS);
        let paper = self.clients[i].viewer.papers.by_name.entry(name.into()).or_default();
        let (in_step, joins) = (paper.in_step, paper.joins);
        match self.dice.below(40) {
            0..=1 => self.ask_of(i, name, Paperwork::Leave),
            2 => self.ask_of(i, name, Paperwork::Join),
            3 => self.ask_of(i, name, Paperwork::Point),
            // It does not follow: there is nothing that it could say.
            _ if !in_step && joins == 0 => self.ask_of(i, name, Paperwork::Join),
            _ if !in_step => {}
            4..=8 => self.ask_of(i, name, Paperwork::Point),
            _ => (0..=self.dice.below(4)).for_each(|_| self.edit(i, name)),
        }
    }

    /// Joins all documents that it is in anew: what it is told has to be what it has.
    pub(super) fn read_again(&mut self, i: usize) {
        let papers = &self.clients[i].viewer.papers.by_name;
        let names: Vec<String> =
            papers.iter().filter(|(_, paper)| paper.member).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.paperwork(i, &name, Paperwork::Join, json!({"type": "join_document", "doc_id": name}), true);
        }
    }

    fn ask_of(&mut self, i: usize, name: &str, what: Paperwork) {
        let mut message = match what {
            Paperwork::Leave => json!({"type": "leave_document", "doc_id": name}),
            Paperwork::Join if self.dice.once_in(2) => json!({"type": "join_document", "doc_id": name}),
            Paperwork::Join => json!({"type": "join_document", "doc_id": name, "user_info": {"seat": i}}),
            Paperwork::Point | Paperwork::Edit => json!({"type": "cursor_update", "doc_id": name}),
        };
        if what == Paperwork::Point {
            let paper = &self.clients[i].viewer.papers.by_name[name];
            let place = self.dice.below(paper.len() + 1);
            message["position"] = json!(place);
            message["selection"] = json!({"start": place, "end": self.dice.below(paper.len() + 1)});
            message["version"] = json!(paper.in_step.then(|| paper.version()));
        }
        self.paperwork(i, name, what, message, false);
    }

    fn edit(&mut self, i: usize, name: &str) {
        if self.world.links[self.clients[i].link].is_ending() {
            return;
        }
        let paper = self.clients[i].viewer.papers.by_name.get_mut(name);
        let Some(paper) = paper.filter(|paper| paper.in_step) else { return };
        let len = paper.len();
        let (change, operation) = if self.dice.once_in(3) {
            let start = self.dice.below(len + 1);
            let end = start + self.dice.below((len - start).min(20) + 1);
            (Change::Delete(start, end), json!({"type": "delete", "start": start, "end": end}))
        } else {
            let (at, count) = (self.dice.below(len + 1), self.dice.below(6));
            let text: Vec<char> = (0..count).map(|_| *self.dice.pick(&LETTERS)).collect();
            let operation =
                json!({"type": "insert", "position": at, "text": text.iter().collect::<String>()});
            (Change::Insert(at, text), operation)
        };
        let version = paper.edit(&change);
        let message =
            json!({"type": "text_operation", "doc_id": name, "version": version, "operation": operation});
        self.paperwork(i, name, Paperwork::Edit, message, false);
    }

    /// Sends a message about a document. An edit is answered without an `id` as well; only where it may be refused
    /// does it need one, to be told which one was not taken.
    fn paperwork(
        &mut self,
        i: usize,
        name: &str,
        what: Paperwork,
        mut message: serde_json::Value,
        compare: bool,
    ) {
        let client = &mut self.clients[i];
        if self.world.links[client.link].is_ending() {
            return;
        }
        client.viewer.papers.by_name.entry(name.into()).or_default().ask(what, compare);
        let refused = self.limits.rate.is_some() || self.limits.access.tokens;
        if what != Paperwork::Edit || refused || self.dice.once_in(2) {
            message["id"] = json!(client.next_id);
            client.viewer.ask(Some(client.next_id), "", Asked::Paper(name.into(), what));
            client.next_id += 1;
        }
        let frame = net::message(message.to_string().as_bytes(), &mut self.dice);
        self.send(i, &frame);
    }

    /// All who say what a text is say the same: nothing is under way.
    pub(super) fn compare_documents(&self) {
        for name in DOCUMENTS {
            let told = self.clients.iter().filter_map(|client| client.viewer.papers.told.get(name));
            let told: Vec<_> = told.collect();
            assert!(
                told.windows(2).all(|two| two[0] == two[1]),
                "{name} is told in different ways: {told:?}"
            );
        }
        for (i, client) in self.clients.iter().enumerate().filter(|(_, client)| client.is_member()) {
            let open = client.viewer.papers.by_name.values().filter(|paper| paper.member).count();
            let all = open + client.viewer.rooms.len();
            assert!(all <= self.limits.rooms_per_connection_max as usize, "client {i} is in {all} topics");
        }
    }

    /// A binary message: to a room, or to the one room where the sender is.
    pub(super) fn send_bytes(&mut self, i: usize, room: &'static str) {
        if self.world.links[self.clients[i].link].is_ending() {
            return;
        }
        let (mut message, step) = (Vec::new(), self.step);
        let kind = Typed::new(*self.dice.pick(&[1, 2, 17, 1 << 30])).expect("none of them is reserved");
        if self.dice.once_in(3) {
            let n = self.truth.relayed.len() as u64;
            self.truth.relayed.push(i);
            let payload = [RELAYED, &n.to_be_bytes()].concat();
            Sent { kind, room: None, payload: &payload }.write(&mut message);
        } else {
            debug_assert!(ROOMS.contains(&room));
            let n = self.truth.published.len() as u64;
            let (room_, echo, tagged) = (Some(room.into()), true, false);
            self.truth.published.push(Published { client: i, room: room_, echo, tagged, step });
            if self.clients[i].viewer.may(room, &Asked::Publish { n: 0, echo }) == Some(false) {
                self.truth.barred.insert(self.truth.published.len() - 1);
            }
            let pad = vec![0xff; *self.dice.pick(&[0, 0, 30, 700])];
            let payload = [&n.to_be_bytes()[..], &pad].concat();
            Sent { kind, room: Some(room), payload: &payload }.write(&mut message);
        }
        let frame = net::frame(BINARY, true, &message, &mut self.dice);
        self.send(i, &frame);
    }
}
