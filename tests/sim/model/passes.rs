//! Tokens as the model sees them: what each grants, whether it can be good, and which one is in force on a connection.
//!
//! A connection hears everything in order, so what is in force is known to it: the last token whose success it was told
//! of. What it says meanwhile may be judged by one that is under way, and only what all of these agree on is certain.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Asked, Pending, Viewer, number, text};
use crate::papers::Paperwork;

/// After the end of a token, so long its connection may still be heard, in milliseconds.
const END_MS: u64 = 1000;
/// A token that is good for no longer may end before anybody is warned, in milliseconds.
const SHORT_MS: u64 = 200;

/// What a token lets its user do; of topics, none is all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grants {
    pub(crate) rooms: Option<Vec<&'static str>>,
    pub(crate) channels: Option<Vec<&'static str>>,
    pub(crate) documents: Option<Vec<&'static str>>,
    pub(crate) can: Option<Vec<&'static str>>,
}

/// The whole of patterns, as grants have them.
fn covers(globs: Option<&Vec<&'static str>>, name: &str) -> bool {
    let one = |glob: &&str| match glob.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => *glob == name,
    };
    globs.is_none_or(|globs| globs.iter().any(one))
}

impl Grants {
    pub(crate) fn room(&self, name: &str) -> bool {
        covers(self.rooms.as_ref(), name)
    }

    /// A channel, or a pattern over them.
    pub(crate) fn channel(&self, name: &str) -> bool {
        covers(self.channels.as_ref(), name)
    }

    pub(crate) fn document(&self, name: &str) -> bool {
        covers(self.documents.as_ref(), name)
    }

    pub(crate) fn can(&self, what: &str) -> bool {
        let usual = matches!(what, "direct" | "presence");
        self.can.as_ref().map_or(usual, |can| can.contains(&what))
    }

    fn writes(&self) -> bool {
        self.can.is_none() || self.can("publish")
    }

    /// Adds them to the claims of a token.
    pub(crate) fn claim(&self, claims: &mut Value) {
        let lists = [
            ("rooms", &self.rooms),
            ("channels", &self.channels),
            ("documents", &self.documents),
            ("can", &self.can),
        ];
        for (name, list) in lists {
            if let Some(list) = list {
                claims[name] = json!(list);
            }
        }
    }

    fn cover(&self, room: &str, asked: &Asked) -> bool {
        match asked {
            Asked::Leave | Asked::Acknowledge { .. } | Asked::Ping | Asked::Auth => true,
            Asked::Join { .. } | Asked::History { .. } | Asked::Moderate { .. } => self.room(room),
            Asked::Publish { .. } | Asked::Typing => self.room(room) && self.writes(),
            Asked::Users => self.room(room) && self.can("presence"),
            Asked::Broadcast => self.can("broadcast"),
            Asked::Direct { .. } => self.can("direct"),
            Asked::Stats => self.can("stats"),
            Asked::Paper(_, Paperwork::Leave) => true,
            Asked::Paper(name, Paperwork::Join) => self.document(name),
            Asked::Paper(name, _) => self.document(name) && self.writes(),
        }
    }
}

/// What is known of a token that was shown and not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    Good,
    Bad,
    /// Keys were exchanged while it was under way.
    Unknown,
}

/// A token that was shown.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) grants: Grants,
    pub(crate) user: String,
    pub(crate) ends_ms: u64,
    pub(crate) shown_ms: u64,
    pub(crate) worth: Worth,
    /// Which key it is signed with.
    pub(crate) key: u64,
}

impl Token {
    fn may_be_good(&self) -> bool {
        self.worth != Worth::Bad && self.ends_ms > self.shown_ms
    }

    fn may_be_bad(&self, now_ms: u64) -> bool {
        self.worth != Worth::Good || self.ends_ms <= now_ms
    }
}

/// The tokens of one client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pass {
    /// Whose they are.
    pub(crate) user: String,
    /// The one that it came with.
    pub(crate) door: Option<Token>,
    /// It comes without, to show it in a message.
    pub(crate) guest: bool,
    /// It said something else first.
    pub(crate) rude: bool,
    /// By the `id` of the message that showed it.
    pub(crate) renewals: BTreeMap<u64, Token>,
    current: Option<Token>,
    /// What earlier tokens granted: a session tells again what was said in their time.
    earlier: Vec<Grants>,
    pub(crate) warned: bool,
    /// Time has jumped beyond what was due.
    pub(crate) dozed: bool,
    /// Rooms and documents that the token in force does not grant, and whose end is still to be told.
    fading: BTreeSet<String>,
    /// Rooms that it asked for when that may have been granted.
    asked: BTreeSet<String>,
    pub(crate) now_ms: u64,
    pub(crate) warning_ms: u64,
}

impl Pass {
    pub(crate) fn new(user: String, warning_ms: u64, now_ms: u64) -> Pass {
        Pass { user, warning_ms, now_ms, ..Pass::default() }
    }

    /// Whether nothing but a token may be said.
    pub(crate) fn is_silent(&self) -> bool {
        self.guest && self.door.is_none()
    }

    /// What is certain of a question: that it is granted, or that it is not.
    pub(crate) fn may(&self, covers: impl Fn(&Grants) -> bool) -> Option<bool> {
        let door = self.door.iter().filter(|_| self.current.is_none());
        let shown = door.chain(self.renewals.values()).filter(|token| token.may_be_good());
        let mut verdicts = self.current.iter().chain(shown).map(|token| covers(&token.grants));
        let Some(first) = verdicts.next() else { return Some(false) };
        verdicts.all(|other| other == first).then_some(first)
    }

    /// What the token in force grants, which the client was told of.
    pub(crate) fn grants(&self) -> &Grants {
        &self.current.as_ref().expect("it was welcomed").grants
    }

    /// Whether what it hears may be about this: by the token in force, or for a session by one before.
    fn reaches(&self, session: bool, covers: impl Fn(&Grants) -> bool) -> bool {
        covers(self.grants()) || session && self.earlier.iter().any(covers)
    }

    /// Keys were exchanged: what is under way may meet the old or the new ones.
    pub(crate) fn keys_changed(&mut self, good: impl Fn(u64) -> bool) {
        let door = self.door.iter_mut().filter(|_| self.current.is_none());
        for token in door.chain(self.renewals.values_mut()) {
            let bad = !good(token.key);
            if bad && token.worth == Worth::Good {
                token.worth = Worth::Unknown;
            }
        }
    }

    /// It comes back with another token. Whether that one grants all that the last one did.
    pub(crate) fn returns(&mut self, token: Token) {
        let before = self.current.take().into_iter().chain(std::mem::take(&mut self.renewals).into_values());
        self.earlier.extend(before.map(|token| token.grants));
        (self.door, self.warned) = (Some(token), false);
    }

    /// Whether it is certain to be let in, and to be there for a while.
    pub(crate) fn is_sound(&self) -> bool {
        self.door
            .as_ref()
            .is_some_and(|token| token.worth == Worth::Good && token.ends_ms > self.now_ms + 60 * END_MS)
    }

    /// The one in force, which is good for a while; none if another may be.
    pub(crate) fn lasting(&self) -> Option<&Grants> {
        let token = self.current.as_ref().filter(|token| token.ends_ms > self.now_ms + 5 * END_MS);
        token.filter(|_| self.renewals.is_empty()).map(|token| &token.grants)
    }

    /// It is let in: so its token was good when it was judged.
    pub(super) fn hear_welcome(&mut self, said: &Value) {
        let door = self.door.clone().expect("a token was shown");
        assert!(door.may_be_good() && !self.rude, "let in with {door:?}");
        assert_eq!(text(said, "user_id"), self.user);
        (self.current, self.warned) = (Some(door), false);
    }

    /// Its token ends soon.
    fn hear_expiring(&mut self, said: &Value) {
        let ends_ms = self.current.as_ref().expect("it was welcomed").ends_ms;
        assert!(ends_ms <= self.now_ms + self.warning_ms, "{said}: there are {ends_ms} - {}", self.now_ms);
        assert!(number(said, "expires_in") <= self.warning_ms.div_ceil(1000), "{said}");
        self.warned = true;
    }

    /// Judges that a connection is closed for its token. `strict`: nothing held it up.
    pub(crate) fn judge_close(&self, code: u16, strict: bool) -> bool {
        match code {
            4001 => self.rude || self.door.as_ref().is_some_and(|token| token.may_be_bad(self.now_ms)),
            4002 => self.guest && self.current.is_none(),
            4007 => {
                // Who waits to be let in may wait for too long.
                let token = self.current.as_ref().or(self.door.as_ref()).expect("it has shown one");
                // Fractions of seconds may round down.
                assert!(token.ends_ms <= self.now_ms + 1, "{} before its end: {token:?}", self.now_ms);
                let short = token.ends_ms < token.shown_ms + SHORT_MS;
                assert!(
                    self.warned || short || !strict || self.current.is_none(),
                    "nobody warned of the end of {token:?}"
                );
                true
            }
            _ => false,
        }
    }

    /// Nobody is heard, or spoken to, long after its token's end.
    pub(crate) fn judge_age(&self) {
        let Some(token) = &self.current else { return };
        let still = self.renewals.is_empty() && !self.dozed;
        assert!(!still || self.now_ms < token.ends_ms + END_MS, "{} after the end of {token:?}", self.now_ms);
    }
}

impl Viewer {
    /// What is certain of a question that it is about to ask.
    pub(crate) fn may(&self, room: &str, asked: &Asked) -> Option<bool> {
        self.pass.as_ref().map_or(Some(true), |pass| pass.may(|grants| grants.cover(room, asked)))
    }

    /// Notes that it asks to join where that may be granted.
    pub(super) fn note_join(&mut self, room: &str) {
        if self.may(room, &Asked::Join { since: None }) != Some(false)
            && let Some(pass) = &mut self.pass
        {
            pass.asked.insert(room.to_owned());
        }
    }

    /// Its token was good.
    pub(super) fn hear_success(&mut self, said: &Value, pending: Option<&Pending>) {
        let session = self.last_seq.is_some();
        let id = said.get("id").and_then(Value::as_u64);
        let pass = self.pass.as_mut().expect("only who shows tokens hears of them");
        assert_eq!(text(said, "user_id"), pass.user, "{said}");
        assert!(pending.is_none_or(|pending| pending.asked == Asked::Auth), "{said}");
        let Some(token) = id.and_then(|id| pass.renewals.remove(&id)) else {
            // What it came with; or of another connection, told again.
            assert!(pass.guest || session, "{said} of no token");
            return;
        };
        assert!(token.may_be_good() && token.user == pass.user, "{said} of {token:?}");
        let left = token.ends_ms.saturating_sub(token.shown_ms) / 1000;
        assert!(number(said, "expires_in") <= left, "{said} of {token:?}");
        let before = pass.current.replace(token);
        pass.earlier.extend(before.map(|token| token.grants));
        pass.warned = false;
        let granted = pass.grants().clone();
        let over: Vec<String> = self.rooms.keys().filter(|room| !granted.room(room)).cloned().collect();
        for room in over {
            self.rooms.remove(&room);
            self.forget_sure(&room);
            self.pass.as_mut().expect("as above").fading.insert(room);
        }
        for (_, paper) in self.papers.by_name.iter_mut().filter(|(name, _)| !granted.document(name)) {
            paper.stop();
        }
    }

    /// What it has asked about a room may find it gone.
    fn forget_sure(&mut self, room: &str) {
        let asked = self.pending.values_mut().chain(self.stale.values_mut());
        asked.filter(|pending| pending.room == room).for_each(|pending| pending.sure = false);
    }

    /// It was told that it has left a room, which it may not have asked for.
    pub(super) fn note_left(&mut self, room: &str) {
        let asked = self.leaves.get(room).copied().unwrap_or(0);
        let left = self.left.entry(room.into()).or_default();
        if *left < asked {
            *left += 1;
        } else {
            self.forget_sure(room);
        }
    }

    /// A token was refused.
    pub(super) fn judge_refused(&mut self, said: &Value, id: Option<u64>) {
        let pass = self.pass.as_mut().expect("it shows tokens");
        let Some(token) = id.and_then(|id| pass.renewals.remove(&id)) else { return };
        let limited = text(said, "code") == "rate_limited";
        let bad = token.may_be_bad(pass.now_ms) || token.user != pass.user;
        assert!(limited || bad && text(said, "code") == "forbidden", "{said} of {token:?}");
    }

    /// What is said is about what was granted. True if it is about what is not any more, and no more than an answer.
    pub(super) fn judge_reach(&mut self, said: &Value, pending: Option<&Pending>) -> bool {
        let session = self.last_seq.is_some();
        let Some(pass) = &mut self.pass else { return false };
        let kind = text(said, "type");
        match kind {
            "welcome" => pass.hear_welcome(said),
            "token_expiring" if session => {}
            "token_expiring" => pass.hear_expiring(said),
            _ => {}
        }
        if let Some(name) = said.get("doc_id").and_then(Value::as_str) {
            let ends = matches!(kind, "document_left" | "dropped" | "error" | "ack") || pending.is_some();
            let reached = ends || pass.reaches(session, |grants| grants.document(name));
            assert!(reached, "{said} is of what is not granted");
            return false;
        }
        let Some(room) = said.get("room").and_then(Value::as_str) else {
            return kind == "ack" && pending.is_some_and(|pending| pass.fading.contains(&pending.room));
        };
        if pass.fading.contains(room) {
            let answer = pending.is_some() || matches!(kind, "room_left" | "kicked" | "muted" | "dropped");
            assert!(answer || kind == "error", "{said} is of what is not granted any more");
            if matches!(kind, "room_left" | "kicked") {
                pass.fading.remove(room);
                self.note_left(room);
                // What it asked there before may have been done, and nobody tells it.
                let asked = self.pending.iter().filter(|(_, pending)| pending.room == room);
                for id in asked.map(|(id, _)| *id).collect::<Vec<u64>>() {
                    self.stale.extend(self.pending.remove_entry(&id));
                }
            }
            return true;
        }
        if kind == "room_joined" && !pass.reaches(session, |grants| grants.room(room)) {
            assert!(pass.asked.contains(room), "{said}: it was never granted");
            pass.fading.insert(room.to_owned());
            return true;
        }
        let ends = matches!(kind, "error" | "room_left");
        let reached = ends || pass.reaches(session, |grants| grants.room(room));
        assert!(reached, "{said} is of what is not granted");
        false
    }

    /// The same of a binary message.
    pub(super) fn judge_room_reach(&self, room: &str) {
        let session = self.last_seq.is_some();
        let reached = self.pass.as_ref().is_none_or(|pass| pass.reaches(session, |grants| grants.room(room)));
        assert!(reached, "bytes come from {room}, which is not granted");
    }
}
