//! Who may connect: how many in all, how many from one address, and which shard has the fewest.
//!
//! Counts connections from accept to close, exactly: an admitted connection carries a [`Ticket`], and dropping
//! the ticket is the one way to be uncounted. Opens no sockets, reads no clock, writes no answers. Shared by
//! the acceptor (which admits) and the shards (whose connections end, and where clients of proxies are found);
//! only what is by address is behind locks: the counts, if there is a cap, and who comes too fast or is banned.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::base::clock::Mono;
use crate::base::hash::{Keys, Map};
use crate::base::id::ShardId;
use crate::config::setting::ByAddress;
use crate::metrics::shard::Gauges;
use crate::metrics::table::Cell;
use crate::reactor::Kept;
use crate::server::doorman::Doorman;
use crate::server::refused::{Block, Refused};
use crate::shard::barred::Barred;
use crate::shard::limits::Rate;

/// How many connections are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Open connections of this process.
    pub connections_max: u32,
    /// Open connections from one address (IPv4) or one network (IPv6, /64: a single subscriber has all of
    /// it).
    pub per_address: ByAddress<u32>,
    /// How fast they may come from one.
    pub handshake_rate: ByAddress<Rate>,
    /// How long nobody may from one that has offended.
    pub ban_time: ByAddress<Duration>,
    /// What clients may make the process remember, in bytes, before nobody is let in; none = unlimited.
    pub memory_max: Option<u64>,
}

/// The counts of all open connections.
#[derive(Debug)]
pub struct Admission {
    caps: Caps,
    open: AtomicU32,
    /// Invariant: no count is zero; the map holds addresses with connections only, so it is bounded by
    /// `connections_max`.
    by_address: Mutex<Map<Block, u32>>,
    /// Connections of each shard, those on the way to it included.
    by_shard: Box<[AtomicU32]>,
    counts: Arc<Gauges>,
    /// What the shards use.
    gauges: Arc<[Gauges]>,
    draining: AtomicBool,
    doorman: Mutex<Doorman>,
}

/// One counted connection; dropping it gives everything back.
#[derive(Debug)]
pub struct Ticket {
    admission: Arc<Admission>,
    /// Where it comes from, as far as that is known; clients of a Unix socket are nowhere.
    block: Option<Block>,
    /// Whether it is counted there.
    counted: bool,
    /// Counted for this shard, once it is chosen.
    shard: Option<ShardId>,
}

impl Admission {
    /// No connections yet. `keys` guard the address map against chosen collisions; refusals go to `counts`, and
    /// how many shards there are and what they use is in `gauges`.
    ///
    /// # Panics
    /// If there are no shards.
    #[must_use]
    pub fn new(caps: Caps, keys: Keys, counts: Arc<Gauges>, gauges: Arc<[Gauges]>) -> Arc<Admission> {
        assert!(!gauges.is_empty(), "somebody has to take the connections");
        Arc::new(Admission {
            caps,
            open: AtomicU32::new(0),
            by_address: Mutex::new(Map::with_hasher(keys)),
            by_shard: gauges.iter().map(|_| AtomicU32::new(0)).collect(),
            counts,
            gauges,
            draining: AtomicBool::new(false),
            doorman: Mutex::new(Doorman::new(caps.handshake_rate, caps.ban_time, keys)),
        })
    }

    /// Counts one more connection from `address`, if it has one, or says why not.
    ///
    /// # Errors
    /// Which cap is reached; nothing was counted then but the refusal.
    pub fn admit(self: &Arc<Self>, address: Option<IpAddr>, now: Mono) -> Result<Ticket, Refused> {
        if let Some(address) = address {
            self.judge(address, now).map_err(Refused::Address)?;
        }
        if self.draining.load(Ordering::Relaxed) {
            return Err(self.refuse(Refused::Draining));
        }
        let used = || self.gauges.iter().map(Gauges::memory).sum::<u64>();
        if self.caps.memory_max.is_some_and(|max| used() > max) {
            return Err(self.refuse(Refused::Memory));
        }
        let max = self.caps.connections_max;
        let more = |open: u32| (open < max).then(|| open + 1);
        if self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return Err(self.refuse(Refused::TooManyConnections));
        }
        // From here on the ticket gives back what was counted, also when it is refused below.
        let block = address.map(Block::of);
        let mut ticket = Ticket { admission: Arc::clone(self), block, counted: false, shard: None };
        if let Some(block) = block
            && let Some(max) = self.per_address_max(block)
        {
            if !self.count_address(block, max) {
                return Err(self.refuse(Refused::Address(Barred::TooMany)));
            }
            ticket.counted = true;
        }
        Ok(ticket)
    }

    /// Lets nobody in from now on.
    pub fn close(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether a connection from this address may come in now, however many there are.
    fn judge(&self, address: IpAddr, now: Mono) -> Result<(), Barred> {
        self.doorman.lock().judge(address, now).inspect_err(|barred| {
            self.refuse(Refused::Address(*barred));
        })
    }

    /// How many connections of this address may be open; none = unlimited.
    fn per_address_max(&self, block: Block) -> Option<u32> {
        let ByAddress { limit, spares_loopback } = self.caps.per_address;
        limit.filter(|_| !(spares_loopback && block.is_loopback()))
    }

    /// Counts a refusal, and gives it back.
    pub fn refuse(&self, why: Refused) -> Refused {
        self.counts.count(why.cell());
        why
    }

    fn count_address(&self, block: Block, max: u32) -> bool {
        let mut by_address = self.by_address.lock();
        let open = by_address.get(&block).copied().unwrap_or(0);
        if open >= max {
            return false;
        }
        by_address.insert(block, open + 1);
        true
    }

    fn uncount_address(&self, block: Block) {
        let mut by_address = self.by_address.lock();
        match by_address.get_mut(&block) {
            Some(open) if *open > 1 => *open -= 1,
            _ => {
                by_address.remove(&block);
            }
        }
    }

    /// Open connections of this process.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that a shard has, or will have when it looks.
    #[must_use]
    pub fn load(&self, shard: ShardId) -> u32 {
        self.by_shard[shard.index()].load(Ordering::Relaxed)
    }

    /// Counts something else of whoever lets connections in.
    pub fn count(&self, cell: Cell) {
        self.counts.count(cell);
    }

    /// How often connections were refused for this reason since start.
    #[must_use]
    pub fn refused(&self, why: Refused) -> u64 {
        self.counts.get(why.cell())
    }
}

impl Ticket {
    /// Counts the connection for `shard`, from now until the ticket is dropped.
    pub fn assign(&mut self, shard: ShardId) {
        debug_assert!(self.shard.is_none(), "a connection stays with its shard");
        self.admission.by_shard[shard.index()].fetch_add(1, Ordering::Relaxed);
        self.shard = Some(shard);
    }
}

impl Kept for Ticket {
    fn locate(&mut self, address: IpAddr, now: Mono) -> Result<(), Barred> {
        self.admission.judge(address, now)?;
        let block = Block::of(address);
        if self.block == Some(block) {
            return Ok(());
        }
        let limit = self.admission.per_address_max(block);
        if limit.is_some_and(|max| !self.admission.count_address(block, max)) {
            self.admission.refuse(Refused::Address(Barred::TooMany));
            return Err(Barred::TooMany);
        }
        let before = self.block.replace(block).filter(|_| self.counted);
        self.counted = limit.is_some();
        if let Some(before) = before {
            self.admission.uncount_address(before);
        }
        Ok(())
    }

    /// Who came by a proxy that did not say for whom is nowhere, so it is not the proxy that has offended.
    fn offend(&self, now: Mono) {
        if let Some(block) = self.block {
            self.admission.doorman.lock().offend(block, now);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let admission = &*self.admission;
        if let Some(shard) = self.shard {
            let before = admission.by_shard[shard.index()].fetch_sub(1, Ordering::Relaxed);
            debug_assert!(before > 0, "a shard gives back what was counted for it");
        }
        if let Some(block) = self.block.filter(|_| self.counted) {
            admission.uncount_address(block);
        }
        let before = admission.open.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "every ticket was counted");
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const NOW: Mono = Mono(100_000_000);
    const BAN: Duration = Duration::from_secs(60);

    fn admission(connections_max: u32, per_address_max: Option<u32>) -> Arc<Admission> {
        let per_address = ByAddress { limit: per_address_max, spares_loopback: false };
        let (handshake_rate, ban_time) = (ByAddress::OFF, ByAddress::all(BAN));
        let caps = Caps { connections_max, per_address, handshake_rate, ban_time, memory_max: Some(1000) };
        let gauges = [Gauges::default(), Gauges::default()];
        Admission::new(caps, Keys::new([3; 16]), Arc::default(), Arc::from(gauges))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_ticket_is_small() {
        assert_eq!(size_of::<Ticket>(), 24);
    }

    #[test]
    fn the_cap_holds_and_a_dropped_ticket_makes_room() {
        let admission = admission(2, None);
        let first = admission.admit(Some(ip("10.0.0.1")), NOW).unwrap();
        let _second = admission.admit(Some(ip("10.0.0.1")), NOW).unwrap();
        assert_eq!(admission.admit(Some(ip("10.0.0.2")), NOW).unwrap_err(), Refused::TooManyConnections);
        assert_eq!((admission.open(), admission.refused(Refused::TooManyConnections)), (2, 1));
        drop(first);
        assert!(admission.admit(Some(ip("10.0.0.2")), NOW).is_ok());
        assert!(admission.by_address.lock().is_empty(), "addresses are not counted without a cap");
    }

    #[test]
    fn addresses_are_counted_as_their_owners_have_them() {
        // Two connections from each pair of addresses; is the second one the same owner's?
        let table = [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.2", false),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("::1", "::10.0.0.1", true),
            ("0.0.0.1", "::1", false),
        ];
        for (first, second, same) in table {
            let admission = admission(10, Some(1));
            let _held = admission.admit(Some(ip(first)), NOW).unwrap();
            let refused = admission.admit(Some(ip(second)), NOW).err();
            assert_eq!(refused, same.then_some(Refused::Address(Barred::TooMany)), "{first} and {second}");
            assert_eq!(admission.open(), 1, "a refusal and a dropped ticket leave no trace");
        }
    }

    #[test]
    fn clients_of_a_proxy_count_where_they_are() {
        let admission = admission(10, Some(2));
        let mut tickets: Vec<_> = (0..3).map(|_| admission.admit(None, NOW).unwrap()).collect();
        let mut locate = |ticket: usize, address| tickets[ticket].locate(ip(address), NOW).is_ok();
        assert!(locate(0, "192.0.2.7") && locate(1, "192.0.2.7"));
        assert!(!locate(2, "192.0.2.7"), "a third is too many");
        assert!(admission.admit(Some(ip("192.0.2.7")), NOW).is_err(), "also without a proxy");
        assert!(locate(1, "192.0.2.8"), "the same proxy asks for somebody else");
        assert!(locate(2, "192.0.2.7") && locate(2, "192.0.2.7"));
        tickets.clear();
        assert!(admission.by_address.lock().is_empty());
    }

    #[test]
    fn nobody_is_let_in_while_all_memory_is_in_use() {
        let admission = admission(10, None);
        admission.gauges[0].set_memory(600);
        admission.gauges[1].set_memory(400);
        assert!(admission.admit(Some(ip("10.0.0.1")), NOW).is_ok());
        admission.gauges[1].set_memory(401);
        assert_eq!(admission.admit(Some(ip("10.0.0.1")), NOW).unwrap_err(), Refused::Memory);
        admission.gauges[0].set_memory(0);
        assert!(admission.admit(Some(ip("10.0.0.1")), NOW).is_ok());
    }

    #[test]
    fn offences_of_a_proxys_clients_are_theirs_and_not_its_own() {
        let admission = admission(100, None);
        let (ann, proxy) = (ip("192.0.2.7"), ip("10.0.0.1"));
        let mut ticket = admission.admit(None, NOW).unwrap();
        (0..9).for_each(|_| ticket.offend(NOW)); // nobody knows yet whose they are
        assert_eq!(ticket.locate(ann, NOW), Ok(()));
        (0..3).for_each(|_| ticket.offend(NOW));
        let mut next = admission.admit(None, NOW).unwrap();
        assert_eq!(next.locate(ann, NOW), Err(Barred::Banned));
        assert_eq!(admission.refused(Refused::Address(Barred::Banned)), 1);
        assert_eq!(next.locate(ip("192.0.2.8"), NOW), Ok(()));
        assert!(admission.admit(Some(proxy), NOW).is_ok());
        assert_eq!(
            admission.admit(Some(ann), NOW).unwrap_err(),
            Refused::Address(Barred::Banned),
            "also without it"
        );
        assert_eq!(next.locate(ann, NOW + BAN), Ok(()));
    }

    #[test]
    fn a_closed_door_stays_closed() {
        let admission = admission(10, None);
        admission.close();
        assert_eq!(admission.admit(Some(ip("10.0.0.1")), NOW).unwrap_err(), Refused::Draining);
        assert_eq!((admission.open(), admission.refused(Refused::Draining)), (0, 1));
    }

    #[test]
    fn nothing_remains_of_who_left() {
        let admission = admission(10, Some(3));
        let tickets: Vec<_> = (0..3).map(|_| admission.admit(Some(ip("10.0.0.1")), NOW).unwrap()).collect();
        assert!(admission.admit(Some(ip("10.0.0.1")), NOW).is_err());
        assert_eq!(admission.refused(Refused::Address(Barred::TooMany)), 1);
        drop(tickets);
        assert_eq!(admission.open(), 0);
        assert!(admission.by_address.lock().is_empty());
    }

    #[test]
    fn shards_are_counted_from_the_choice_to_the_end() {
        let admission = admission(10, None);
        let mut ticket = admission.admit(Some(ip("10.0.0.1")), NOW).unwrap();
        ticket.assign(ShardId(1));
        assert_eq!((admission.load(ShardId(0)), admission.load(ShardId(1))), (0, 1));
        drop(ticket);
        assert_eq!(admission.load(ShardId(1)), 0);
    }

    #[test]
    fn counts_are_exact_when_all_threads_open_and_close() {
        let admission = admission(50, Some(5));
        thread::scope(|scope| {
            for thread in 0..4u8 {
                let admission = &admission;
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for number in 0..5000u32 {
                        let address = IpAddr::from([10, 0, 0, thread % 2 + (number % 7) as u8]);
                        if let Ok(mut ticket) = admission.admit(Some(address), NOW) {
                            ticket.assign(ShardId(u16::from(thread % 2)));
                            held.push(ticket);
                        }
                        assert!(admission.open() <= 50);
                        if number % 3 == 0 && !held.is_empty() {
                            held.swap_remove(number as usize % held.len());
                        }
                    }
                });
            }
        });
        assert_eq!(admission.open(), 0);
        assert!(admission.by_address.lock().is_empty());
        assert_eq!((admission.load(ShardId(0)), admission.load(ShardId(1))), (0, 0));
    }
}
