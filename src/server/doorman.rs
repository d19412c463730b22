//! Who comes too fast, and who has to stay outside for a while: by address, as the cap on connections counts them.
//!
//! Remembers a bounded number of addresses, those that were seen last: who has many addresses can make it forget, and
//! gains nothing that they would not have with them anyway. Takes no lock (its owner has one) and reads no clock.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::bucket::Bucket;
use crate::base::clock::Mono;
use crate::base::hash::{Keys, Map};
use crate::config::setting::ByAddress;
use crate::server::refused::Block;
use crate::shard::barred::Barred;
use crate::shard::limits::Rate;

/// Addresses that are remembered at least; at most twice as many.
const KNOWN_MIN: usize = 1 << 16;
/// Offences for which an address is refused.
const OFFENCES_MAX: u8 = 3;

/// What is known of an address.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    bucket: Bucket,
    offences: u8,
    /// When the last one was.
    offended: Mono,
    banned_until: Mono,
}

/// See the module's page.
#[derive(Debug)]
pub struct Doorman {
    rate: ByAddress<Rate>,
    ban: ByAddress<Duration>,
    /// Seen since it was empty.
    young: Map<Block, Known>,
    /// Seen before that.
    old: Map<Block, Known>,
    keys: Keys,
}

impl Doorman {
    /// Knows nobody. `keys` guard its tables against chosen collisions.
    #[must_use]
    pub fn new(rate: ByAddress<Rate>, ban: ByAddress<Duration>, keys: Keys) -> Doorman {
        Doorman { rate, ban, young: Map::with_hasher(keys), old: Map::with_hasher(keys), keys }
    }

    /// Whether a connection from this address may come in now.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&mut self, address: IpAddr, now: Mono) -> Result<(), Barred> {
        let (rate, ban) = (holds(self.rate, address), holds(self.ban, address));
        if rate.is_none() && ban.is_none() {
            return Ok(());
        }
        let known = self.known(Block::of(address));
        if ban.is_some() && now < known.banned_until {
            return Err(Barred::Banned);
        }
        match rate.map(|rate| known.bucket.take(now, rate.per_second, rate.burst)) {
            Some(Err(_)) => Err(Barred::TooFast),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// A connection from this address was closed for what it did.
    pub fn offend(&mut self, block: Block, now: Mono) {
        let Some(ban) = self.ban.limit.filter(|_| !(self.ban.spares_loopback && block.is_loopback())) else {
            return;
        };
        let known = self.known(block);
        if now.since(known.offended) > ban {
            known.offences = 0;
        }
        known.offences += 1;
        known.offended = now;
        if known.offences >= OFFENCES_MAX {
            known.offences = 0;
            known.banned_until = now + ban;
        }
    }

    fn known(&mut self, block: Block) -> &mut Known {
        if self.young.len() >= KNOWN_MIN && !self.young.contains_key(&block) {
            self.old = std::mem::replace(&mut self.young, Map::with_hasher(self.keys));
        }
        let old = &mut self.old;
        self.young.entry(block).or_insert_with(|| old.remove(&block).unwrap_or_default())
    }
}

/// The limit, if it holds for this address.
fn holds<T>(limit: ByAddress<T>, address: IpAddr) -> Option<T> {
    let ByAddress { limit, spares_loopback } = limit;
    limit.filter(|_| !(spares_loopback && address.to_canonical().is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 2, burst: 3 };

    fn doorman(rate: ByAddress<Rate>, ban: ByAddress<Duration>) -> Doorman {
        Doorman::new(rate, ban, Keys::new([5; 16]))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_rate() {
        let mut doorman = doorman(ByAddress::all(RATE), ByAddress::OFF);
        let now = Mono(9);
        for _ in 0..3 {
            assert_eq!(doorman.judge(ip("10.0.0.1"), now), Ok(()));
        }
        assert_eq!(doorman.judge(ip("10.0.0.1"), now), Err(Barred::TooFast));
        assert_eq!(doorman.judge(ip("10.0.0.2"), now), Ok(()));
        assert_eq!(doorman.judge(ip("10.0.0.1"), now + Duration::from_millis(500)), Ok(()));
    }

    #[test]
    fn three_offences_ban_for_a_while_and_old_ones_are_forgotten() {
        let ban = Duration::from_secs(60);
        let mut doorman = doorman(ByAddress::OFF, ByAddress::all(ban));
        let (block, second) = (Block::of(ip("10.0.0.1")), Duration::from_secs(1));
        let mut now = Mono(0) + ban;
        for apart in [second, ban + second, second] {
            now = now + apart;
            doorman.offend(block, now);
            assert_eq!(doorman.judge(ip("10.0.0.1"), now), Ok(()));
        }
        doorman.offend(block, now);
        assert_eq!(doorman.judge(ip("::ffff:10.0.0.1"), now), Err(Barred::Banned));
        assert_eq!(doorman.judge(ip("10.0.0.2"), now), Ok(()));
        assert_eq!(doorman.judge(ip("10.0.0.1"), now + ban), Ok(()));
    }

    #[test]
    fn what_nobody_asked_for_does_not_hold_for_a_proxy_on_this_machine() {
        let mut doorman = doorman(ByAddress::by_default(RATE), ByAddress::by_default(Duration::from_secs(9)));
        for _ in 0..9 {
            doorman.offend(Block::of(ip("127.0.0.1")), Mono(0));
            assert_eq!(doorman.judge(ip("127.0.0.1"), Mono(0)), Ok(()));
            assert_eq!(doorman.judge(ip("::ffff:127.0.0.1"), Mono(0)), Ok(()));
            doorman.offend(Block::of(ip("::1")), Mono(0));
            assert_eq!(doorman.judge(ip("::1"), Mono(0)), Ok(()));
        }
        assert!(doorman.young.is_empty(), "and costs nothing");
    }

    #[test]
    fn only_so_many_addresses_are_remembered() {
        let mut doorman = doorman(ByAddress::all(RATE), ByAddress::OFF);
        let most = u32::try_from(3 * KNOWN_MIN).unwrap();
        for number in 0..most {
            let _ = doorman.judge(IpAddr::from(number.to_be_bytes()), Mono(0));
            assert!(doorman.young.len() + doorman.old.len() <= 2 * KNOWN_MIN);
        }
        // Those of the last table are known still.
        for _ in 0..2 {
            assert_eq!(doorman.judge(IpAddr::from((most - 1).to_be_bytes()), Mono(0)), Ok(()));
        }
        assert_eq!(doorman.judge(IpAddr::from((most - 1).to_be_bytes()), Mono(0)), Err(Barred::TooFast));
    }
}
