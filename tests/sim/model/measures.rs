//! What moderators want, and what must then hold: who was told that it is out, or muted, is so for its time.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{MODERATOR, Truth, Viewer, number, text};

/// Of one kind, by room and user.
#[derive(Default)]
pub(crate) struct Measures {
    all: BTreeMap<(String, String), Measure>,
}

#[derive(Default)]
struct Measure {
    /// None that was asked for ends before, in microseconds; 0 if one of them asks for the end.
    until_us: Option<u64>,
    /// The step in which a client was first told that it holds; none since the server was killed, which ends all.
    told: Option<usize>,
}

impl Measures {
    /// A moderator is about to ask for so many seconds; 0: for the end.
    pub(crate) fn want(&mut self, concerns: (String, String), seconds: u64, now_us: u64) {
        let until_us = if seconds == 0 { 0 } else { now_us + seconds * 1_000_000 };
        let measure = self.all.entry(concerns).or_default();
        measure.until_us = Some(measure.until_us.map_or(until_us, |before| before.min(until_us)));
    }

    /// Whether anybody ever asked for it.
    pub(super) fn is_wanted(&self, concerns: &(String, String)) -> bool {
        self.all.contains_key(concerns)
    }

    fn told(&mut self, concerns: &(String, String), step: usize) {
        if let Some(measure) = self.all.get_mut(concerns) {
            measure.told.get_or_insert(step);
        }
    }

    /// The process was killed. What was asked of it may still be told, and has no end that is known.
    pub(crate) fn end(&mut self) {
        for measure in self.all.values_mut() {
            *measure = Measure { until_us: None, told: None };
        }
    }

    /// Whether it certainly holds for what was asked in this step and done by now.
    fn holds(&self, room: &str, user: &str, asked: usize, now_us: u64) -> bool {
        let measure = self.all.get(&(room.to_owned(), user.to_owned()));
        measure.is_some_and(|measure| {
            measure.told.is_some_and(|told| told < asked)
                && measure.until_us.is_some_and(|until| now_us < until)
        })
    }
}

impl Truth {
    /// Who is muted publishes nothing. The application can, in whoever's name.
    pub(super) fn judge_muted(&self, room: &str, n: usize) {
        let published = &self.published[n];
        let Some(user) = self.users.get(&published.client) else { return };
        let muted = self.muted.holds(room, user, published.step, self.now_us);
        assert!(!muted, "{n} in {room} is of {user}, who is muted");
    }

    /// Who was banned before it connected is not let in.
    pub(super) fn judge_banned(&self, room: &str, viewer: &Viewer) {
        let user = viewer.user.as_deref().expect("welcomed");
        let banned = self.banned.holds(room, user, viewer.opened, self.now_us) && viewer.last_seq.is_none();
        assert!(!banned, "{user} is in {room}, and is banned from there");
    }
}

impl Viewer {
    pub(super) fn hear_muted(&self, said: &Value, truth: &mut Truth, step: usize) {
        let (room, me) = (text(said, "room"), self.user.clone().expect("welcomed"));
        assert!(self.rooms.contains_key(room), "{said}: it is not there");
        if number(said, "seconds") > 0 && truth.kept.is_present(self.process) {
            truth.muted.told(&(room.to_owned(), me), step);
        }
    }

    pub(super) fn hear_kicked(&mut self, said: &Value, truth: &mut Truth, step: usize) {
        let (room, me) = (text(said, "room"), self.user.clone().expect("welcomed"));
        assert!(self.rooms.remove(room).is_some(), "{said}: it is not there");
        assert!(text(said, "by") == MODERATOR && me != MODERATOR, "{said}: of {me}");
        let concerns = (room.to_owned(), me);
        if number(said, "seconds") > 0 {
            assert!(truth.banned.is_wanted(&concerns), "nobody asked for {said}");
            if truth.kept.is_present(self.process) {
                truth.banned.told(&concerns, step);
            }
        }
        // What it asked meanwhile found it gone.
        let asked = self.pending.values_mut().chain(self.stale.values_mut());
        asked.filter(|pending| pending.room == room).for_each(|pending| pending.sure = false);
    }
}
