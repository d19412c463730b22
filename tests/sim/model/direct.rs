//! What a client must see of messages to its user: each under one number, again until it is acknowledged, and then
//! never more.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Truth, Viewer, index, number, text};

/// What all clients together know.
#[derive(Default)]
pub(crate) struct Directs {
    /// Messages that anybody heard, by receiver and number: a number is never given twice, whatever has died.
    heard: BTreeMap<(String, u64), usize>,
    /// Receiver and number of each, by life: in another life, it may come under another number.
    places: BTreeMap<(u64, usize), (String, u64)>,
    /// The greatest number that a connection of the user has acknowledged, or tried to.
    pub(crate) tried: BTreeMap<String, u64>,
    /// The greatest number of which a connection of the user was told that it is acknowledged, by life, and when.
    done: BTreeMap<(u64, String), Vec<(usize, u64)>>,
    /// The greatest number that a connection of the user has heard, and when.
    newest: BTreeMap<String, Vec<(usize, u64)>>,
}

/// Adds a new record to a list that rises both ways.
fn note(list: &mut Vec<(usize, u64)>, step: usize, seq: u64) {
    if list.last().is_none_or(|(_, last)| *last < seq) {
        list.push((step, seq));
    }
}

/// The greatest number that was noted before `step`.
fn before(list: Option<&Vec<(usize, u64)>>, step: usize) -> u64 {
    let list = list.map_or(&[][..], Vec::as_slice);
    let count = list.partition_point(|(at, _)| *at < step);
    count.checked_sub(1).map_or(0, |last| list[last].1)
}

impl Directs {
    /// A connection was told that all up to `seq` is acknowledged.
    pub(super) fn acknowledged(&mut self, life: u64, user: &str, seq: u64, step: usize) {
        note(self.done.entry((life, user.to_owned())).or_default(), step, seq);
    }
}

impl Viewer {
    pub(super) fn hear_direct(&mut self, said: &Value, truth: &mut Truth, step: usize) {
        let (seq, n) = (number(said, "seq"), index(said));
        assert!(!truth.barred.contains(&n), "{said} was not granted to its sender");
        let user = self.user.clone().expect("welcomed");
        let (life, plain) = (truth.kept.life(self.process), self.last_seq.is_none());
        let newest_here = self.directs_here.last().copied();
        assert!(!plain || newest_here < Some(seq), "{said} comes after {newest_here:?}");
        self.directs.insert(seq);
        assert!(self.directs_here.insert(seq), "{said} comes twice");
        let known = &mut truth.directs;
        let here = *known.heard.entry((user.clone(), seq)).or_insert(n);
        assert_eq!(here, n, "two messages at {seq}");
        let place = known.places.entry((life, n)).or_insert_with(|| (user.clone(), seq));
        assert_eq!(*place, (user.clone(), seq), "{said} has two numbers");
        let done = before(known.done.get(&(life, user.clone())), self.opened);
        assert!(!plain || done < seq, "{said} was acknowledged up to {done} before it connected");
        let newest = known.newest.entry(user).or_default();
        let sent = truth.published[n].step;
        assert!(before(Some(newest), sent) < seq, "{said}: the numbers go down");
        note(newest, step, seq);
        if let Some(sender) = truth.users.get(&truth.published[n].client) {
            assert_eq!(text(said, "user_id"), sender);
        }
    }

    pub(super) fn hear_directs_lost(&mut self, said: &Value, truth: &Truth) {
        let (from, to) = (number(said, "from"), number(said, "to"));
        let whose = (truth.kept.life(self.process), self.user.clone().expect("welcomed"));
        let done = before(truth.directs.done.get(&whose), self.opened);
        assert!(done < from && from <= to, "{said}: all up to {done} was acknowledged");
        self.directs_lost.push((from, to));
    }

    /// The newest message that this view has heard, for acknowledging it.
    pub(crate) fn newest_direct(&self) -> Option<u64> {
        self.directs.last().copied()
    }

    /// What nobody has acknowledged has come, or was announced to be lost.
    pub(super) fn judge_directs(&self, truth: &Truth) {
        let Some(user) = &self.user else { return };
        let life = truth.kept.life(self.process);
        let tried = truth.directs.tried.get(user).copied().unwrap_or(0);
        let places = truth.directs.places.range((life, 0)..=(life, usize::MAX));
        for (_, (_, seq)) in places.filter(|(_, (to, seq))| to == user && *seq > tried) {
            let announced = self.directs_lost.iter().any(|(from, to)| (*from..=*to).contains(seq));
            assert!(
                announced || self.directs.contains(seq),
                "client {}: message {seq} to {user} never came",
                self.client
            );
        }
    }
}
