//! What a client must see of rooms: joins, publications in their places, lists of those before.

use std::collections::BTreeSet;

use roomcast::wire::typed::Delivered;
use serde_json::Value;

use super::{Asked, Membership, Pending, Published, RELAYED, Truth, Viewer, index, number, text};

impl Viewer {
    /// Everything up to `offset` has been told; what was passed over must be explained.
    pub(super) fn sync(&mut self, room: &str, offset: u64) {
        let member = self.rooms.get_mut(room).expect("the caller looked");
        assert!(offset + 1 >= member.next, "{room}: {offset} comes after {} was next", member.next);
        let numbering = (room.to_owned(), member.epoch.clone());
        self.skipped.extend((member.next..=offset).map(|skipped| (numbering.clone(), skipped)));
        member.next = offset + 1;
    }

    pub(super) fn hear_joined(&mut self, said: &Value, pending: Option<Pending>, truth: &mut Truth) {
        let (room, epoch, offset) = (text(said, "room"), text(said, "epoch"), number(said, "offset"));
        truth.judge_banned(room, self);
        assert!(self.joins.contains_key(room), "nobody asked to join {room}");
        let users = self.listed(said);
        assert!(truth.grace || number(said, "user_count") <= number(said, "members_count"));
        if let Some(member) = self.rooms.get(room) {
            assert_eq!(member.epoch, epoch, "a numbering lives while it has members");
            assert!(member.users.is_none() || member.users == users, "presence in {said}");
            self.sync(room, offset);
        }
        self.rooms.insert(room.into(), Membership { epoch: epoch.into(), next: offset + 1, users });
        let messages = said.get("messages").map(|list| self.observe_list(room, epoch, list, truth));
        if let Some(last) = messages.as_ref().and_then(|offsets| offsets.last()) {
            assert_eq!(*last, offset, "history reaches up to the snapshot");
        }
        let Some(Pending { asked: Asked::Join { since: Some(since) }, .. }) = pending else { return };
        let from = since.offset;
        let recovered = said["recovered"].as_bool().expect("asked since");
        let whole: Vec<u64> = (from + 1..=offset).collect();
        if recovered {
            assert_eq!(messages, Some(whole), "recovered since {from}: {said}");
        } else {
            let excused = truth.excuses(room, &since, epoch, offset);
            assert!(excused, "not recovered since {from}: {said}");
        }
    }

    /// The users that are told of, if they are not too many: then all.
    pub(super) fn listed(&self, said: &Value) -> Option<BTreeSet<String>> {
        let users = said.get("users")?.as_array().expect("a list of users");
        if users.is_empty() {
            assert!(number(said, "user_count") > 0, "{said}: who asks is there");
            return None;
        }
        assert_eq!(users.len() as u64, number(said, "user_count"), "all are listed, or none");
        let users: BTreeSet<String> = users.iter().map(|user| text(user, "user_id").to_owned()).collect();
        assert!(users.contains(self.user.as_ref().expect("welcomed")), "{said}: a member is listed");
        Some(users)
    }

    pub(super) fn hear_cleared(&mut self, said: &Value, truth: &Truth) {
        let (room, offset) = (text(said, "room"), number(said, "offset"));
        assert!(truth.clears.contains(room), "nobody asked for {said}");
        self.sync(room, offset);
        let numbering = (room.to_owned(), self.rooms[room].epoch.clone());
        self.cleared.insert(numbering, offset);
    }

    /// A list of publications, told again. Their offsets, which have no hole.
    pub(super) fn observe_list(
        &mut self,
        room: &str,
        epoch: &str,
        list: &Value,
        truth: &mut Truth,
    ) -> Vec<u64> {
        let list = list.as_array().expect("a list of messages");
        let mut offsets = Vec::new();
        let numbering = (room.to_owned(), epoch.to_owned());
        let cleared = self.cleared.get(&numbering).copied().unwrap_or(0);
        let cleared = cleared.max(truth.kept.cleared(self.process, &numbering));
        for one in list {
            let offset = number(one, "offset");
            assert!(offset > cleared, "{one} was to be forgotten");
            assert!(offsets.last().is_none_or(|last| last + 1 == offset), "a hole before {one}");
            assert_eq!(text(one, "room"), room);
            let numbering = (room.into(), epoch.into());
            if text(one, "type") == "binary" {
                self.owed.push_back((numbering, offset));
            } else {
                truth.observe(&numbering, offset, index(one));
            }
            offsets.push(offset);
        }
        offsets
    }

    pub(super) fn hear_publication(&mut self, said: &Value, pending: Option<Pending>, truth: &mut Truth) {
        let (room, n) = (text(said, "room"), index(said));
        if let Some(pending) = &pending {
            assert_eq!(pending.asked, Asked::Publish { n, echo: true });
        }
        let own = pending.is_some();
        self.observe_publication(room, number(said, "offset"), n, text(said, "user_id"), own, truth);
    }

    /// A binary message: a publication, now or as part of the last list; or one without a place.
    pub(crate) fn hear_binary(&mut self, message: &[u8], truth: &mut Truth) {
        self.count_binary();
        if self.loose {
            return;
        }
        let index = |bytes: &[u8]| {
            let n = *bytes.first_chunk().expect("our payloads begin with a number");
            usize::try_from(u64::from_be_bytes(n)).expect("indices are small")
        };
        let Some(Delivered { room, user, offset, payload, .. }) = Delivered::parse(message) else {
            // What outlaws send may come to be a message of some type.
            let Some(marked) = message[4..].strip_prefix(RELAYED) else { return };
            let n = index(marked);
            assert!(truth.relayed[n] != self.client && self.relays.insert(n), "{n} comes twice, or back");
            assert!(!self.rooms.is_empty(), "{n} comes to one who is nowhere");
            return;
        };
        self.judge_room_reach(room);
        let n = index(payload);
        if let Some((numbering, owed)) = self.owed.pop_front() {
            assert_eq!((numbering.0.as_str(), owed), (room, offset), "another was to come");
            return truth.observe(&numbering, offset, n);
        }
        self.observe_publication(room, offset, n, user, false, truth);
    }

    /// The next publication of a room; `answer`: it has an `id`.
    pub(super) fn observe_publication(
        &mut self,
        room: &str,
        offset: u64,
        n: usize,
        user: &str,
        answer: bool,
        truth: &mut Truth,
    ) {
        let member = self.rooms.get(room).unwrap_or_else(|| panic!("{n} is said in {room}, where it is not"));
        assert!(offset >= member.next, "{offset} of {room} comes when {} is next", member.next);
        let numbering = (room.to_owned(), member.epoch.clone());
        truth.observe(&numbering, offset, n);
        let Published { client, echo, tagged, .. } = truth.published[n];
        assert!(answer || client != self.client || (echo && !tagged), "{n}: own, and not like that");
        if let Some(known) = truth.users.get(&client) {
            assert_eq!(user, known);
        }
        self.sync(room, offset - 1);
        self.rooms.get_mut(room).expect("a member").next = offset + 1;
    }
}
