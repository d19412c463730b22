//! Too much to do: a shard whose turns get long stops hearing those who give it most to do, for a while.
//!
//! Mail that gets old counts as turns that get long: an owner, or an edge, that is behind takes its mail later and
//! later, while its turns, and those of who sends it, may be short.
//!
//! Turns get long when clients together bring more than the shard can work off. Each turn reads from everybody who has
//! sent something, so all are served alike, the quiet with the loud, and all wait longer and longer. So the loudest are
//! held: TCP slows them down, and the others are heard at once. It ends when turns are short again; meanwhile the loud
//! are let go on in turns, so nobody is silenced. Kicks nobody out, and drops nothing.

use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::id::Key;
use crate::metrics::table::{HELD_BACK, OVERLOADED};
use crate::shard::conn::{Hold, Phase};
use crate::shard::load::Turned;
use crate::shard::state::Shard;

/// Most connections that are held after one turn.
const HELD_PER_TURN_MAX: usize = 16;
/// How long one of them is held.
const HELD_FOR: Duration = Duration::from_millis(100);
/// What a connection has to bring in one turn to be among the loud, in bytes: more than any that only talks.
const LOUD_BYTES: usize = 4 << 10;

impl Shard {
    /// So much came from `key` while the shard is overloaded.
    #[cold]
    pub(crate) fn note_loud(&mut self, key: Key, bytes: usize) {
        if bytes >= LOUD_BYTES {
            self.load.loud.push((bytes, key));
        }
    }

    /// The time of a turn is known. What that means for the log, if it means something.
    pub(crate) fn weigh_turn(&mut self, turn: Duration, end: Mono) -> Option<Turned> {
        let high = self.limits.overload_turn?;
        let turned = self.load.take(turn, high);
        if self.load.is_over {
            self.hold_loudest(end);
        }
        self.let_loud_go_on(end);
        turned
    }

    /// Holds those who brought most in this turn.
    fn hold_loudest(&mut self, end: Mono) {
        let mut loud = std::mem::take(&mut self.load.loud);
        loud.sort_unstable_by_key(|(bytes, key)| (std::cmp::Reverse(*bytes), key.slot));
        for (_, key) in loud.into_iter().take(HELD_PER_TURN_MAX) {
            let Some(conn) = self.conns.get_mut(key) else { continue };
            if matches!(conn.phase, Phase::Socket(_)) && !conn.hold.has(Hold::LOAD) {
                conn.hold.set(Hold::LOAD);
                self.load.held.push((end + HELD_FOR, key));
                self.tally.count(const { HELD_BACK.cell() });
            }
        }
    }

    /// Lets those go on who were held long enough; all of them if the load is gone.
    fn let_loud_go_on(&mut self, now: Mono) {
        let is_over = self.load.is_over;
        let due = self.load.held.iter().take_while(|(until, _)| !is_over || *until <= now).count();
        let due: Vec<(Mono, Key)> = self.load.held.drain(..due).collect();
        for (_, key) in due {
            self.release(key, Hold::LOAD);
        }
    }

    /// When somebody is let go on next.
    pub(crate) fn next_relief(&self) -> Option<Mono> {
        self.load.held.first().map(|(until, _)| *until)
    }

    /// Publishes what this file counts.
    pub(crate) fn measure_load(&mut self) {
        self.tally.set(const { OVERLOADED.cell() }, u64::from(self.load.is_over));
    }
}
