//! How much each may send: what a message costs its connection, and its user over all connections.
//!
//! Counts only; what is said about it, and to whom, is `client`'s.

use crate::base::bucket::Dry;
use crate::base::id::Key;
use crate::metrics::table::LIMITS_HIT;
use crate::shard::conn::Conn;
use crate::shard::limits::{Rate, tokens};
use crate::shard::state::Shard;

impl Shard {
    /// Each message costs, whatever is answered to it; a long one as much as several. Who has not said which user it is
    /// has one connection, and so pays only for that.
    #[inline]
    pub(crate) fn take_tokens(&mut self, key: Key, bytes: usize) -> Result<(), Dry> {
        let (all, user_all) = (self.limits.rate, self.limits.user_rate);
        if all.is_none() && user_all.is_none() && !self.asks_for_tokens() {
            return Ok(());
        }
        let now = self.now.mono;
        let Some(client) = self.conns.get_mut(key).and_then(Conn::client) else { return Ok(()) };
        let (mut rate, mut user_rate) = (all, user_all);
        if let Some(pass) = client.pass() {
            let allowance = &pass.grants.allowance;
            let of = |(per_second, burst)| Rate { per_second, burst };
            if let Some(own) = allowance.rate.map(of) {
                (rate, user_rate) = (Some(own), user_rate.map(|_| own.of_user()));
            }
            user_rate = allowance.user_rate.map(of).or(user_rate);
        }
        if let Some(rate) = rate {
            let cost = tokens(rate, self.limits.byte_rate, bytes);
            if let Err(dry) = client.purse.draw(now, rate, cost) {
                self.tally.count(const { LIMITS_HIT.of("message_rate") });
                if cost > 1 {
                    self.tally.count(const { LIMITS_HIT.of("byte_rate") });
                }
                return Err(dry);
            }
        }
        let Some(rate) = user_rate.filter(|_| client.named) else { return Ok(()) };
        let cost = tokens(rate, self.limits.user_byte_rate, bytes);
        if client.purse.spend(cost) { Ok(()) } else { self.ask_ledger(key, rate, cost) }
    }

    /// The connection has too little of its user's in its purse.
    #[inline(never)]
    fn ask_ledger(&mut self, key: Key, rate: Rate, cost: u32) -> Result<(), Dry> {
        let now = self.now.mono;
        let Some(client) = self.conns.get_mut(key).and_then(Conn::client) else { return Ok(()) };
        let Some(user) = &client.user else { return Ok(()) };
        let drawn = self.ledger.draw(&user.id, now, rate, cost);
        if drawn.is_err() {
            self.tally.count(const { LIMITS_HIT.of("user_message_rate") });
            if cost > 1 {
                self.tally.count(const { LIMITS_HIT.of("user_byte_rate") });
            }
        }
        client.purse.asked(drawn)
    }
}
