//! What each user owes, over all its connections on all shards: the one table that shards share to write to.
//!
//! A connection does not come here for each message: with one it draws a sixteenth of what is left, and keeps that
//! in its `Purse` (`shard/purse.rs`). So the lock of a stripe is taken rarely, held for a look into a
//! table, and hardly ever wanted by two shards at once; and where little is left, each message is asked for. All
//! that is sent was drawn before, so over time nothing is given away. The price is exactness at the moment: each
//! connection may have up to a sixteenth of the burst in its purse from before.
//!
//! Holds only who has something to pay back, and of those a bounded number. Reads no clock.

use parking_lot::Mutex;

use crate::base::bucket::{Bucket, Dry};
use crate::base::clock::Mono;
use crate::base::hash::{HashTable, Keys};
use crate::shard::limits::Rate;

/// Parts of the table, each with a lock of its own: so many that two of 256 shards seldom want the same.
const STRIPES: usize = 64;
/// Most users in a stripe: as many as fit 1024 places of its table.
const STRIPE_USERS_MAX: usize = 896;
/// Users in a stripe that are not worth a sweep.
const STRIPE_USERS_FEW: usize = 64;
/// A connection draws one of so many parts of what is left, beyond what it needs.
const PORTIONS: u32 = 16;
/// Most tokens of such a part.
pub(crate) const PORTION_MAX: u32 = 4096;

/// What one user owes.
#[derive(Debug)]
struct Account {
    /// Stands for the user: nobody can choose an id to meet another's, and by chance it takes billions of users.
    hash: u64,
    bucket: Bucket,
    /// When nothing is owed any more.
    clear_at: Mono,
}

#[derive(Debug)]
struct Stripe {
    accounts: HashTable<Account>,
    /// With so many, those that owe nothing are swept out before another comes.
    sweep_at: usize,
}

/// See the module's page.
#[derive(Debug)]
pub struct Ledger {
    keys: Keys,
    stripes: Box<[Mutex<Stripe>]>,
}

impl Ledger {
    /// Nobody owes anything. `keys` guard it against chosen collisions.
    #[must_use]
    pub fn new(keys: Keys) -> Ledger {
        let stripe = || Mutex::new(Stripe { accounts: HashTable::new(), sweep_at: STRIPE_USERS_FEW });
        Ledger { keys, stripes: (0..STRIPES).map(|_| stripe()).collect() }
    }

    /// Draws `tokens` for a message of `user`. How many more were drawn for the next ones.
    ///
    /// # Errors
    /// What is missing; nothing was taken then.
    pub(crate) fn draw(&self, user: &str, now: Mono, rate: Rate, tokens: u32) -> Result<u32, Dry> {
        let hash = self.keys.hash(&("ledger", user));
        // The table takes positions from the low bits and tags from the highest.
        let mut stripe = self.stripes[(hash >> 32) as usize % STRIPES].lock();
        let stripe = &mut *stripe;
        if stripe.accounts.len() >= stripe.sweep_at {
            stripe.make_room(now);
        }
        let entry = stripe.accounts.entry(hash, |account| account.hash == hash, |account| account.hash);
        let mut entry = entry.or_insert(Account { hash, bucket: Bucket::default(), clear_at: now });
        let account = entry.get_mut();
        let Rate { per_second, burst } = rate;
        let drawn = account.bucket.draw(now, per_second, burst, tokens).map(|()| {
            let more = (account.bucket.left(burst) / PORTIONS).min(PORTION_MAX);
            // It is there, as was just seen.
            account.bucket.draw(now, per_second, burst, more).map_or(0, |()| more)
        });
        account.clear_at = account.bucket.clear_at(per_second);
        drawn
    }

    /// How many users are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().accounts.len()).sum()
    }
}

impl Stripe {
    /// Those go that owe nothing any more, and if that is not enough, every second one: whoever can come as that many
    /// users is held by none of their accounts.
    fn make_room(&mut self, now: Mono) {
        self.accounts.retain(|account| account.clear_at > now);
        if self.accounts.len() > STRIPE_USERS_MAX / 2 {
            let mut stays = false;
            self.accounts.retain(|_| {
                stays = !stays;
                stays
            });
        }
        self.sweep_at = (2 * self.accounts.len()).clamp(STRIPE_USERS_FEW, STRIPE_USERS_MAX);
        self.accounts.shrink_to(self.sweep_at, |account| account.hash);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::shard::limits::LEDGER_MEMORY;

    const RATE: Rate = Rate { per_second: 100, burst: 200 };

    fn ledger() -> Ledger {
        Ledger::new(Keys::new([4; 16]))
    }

    #[test]
    fn all_connections_of_a_user_draw_from_one_bucket_and_others_do_not() {
        let (ledger, now) = (ledger(), Mono(5_000_000));
        let mut taken = 0;
        let dry = loop {
            match ledger.draw("ann", now, RATE, 1) {
                Ok(more) => taken += 1 + more,
                Err(dry) => break dry,
            }
        };
        assert_eq!(taken, RATE.burst);
        assert_eq!(ledger.draw("bob", now, RATE, 200), Ok(0));
        assert_eq!(
            ledger.draw("ann", now + dry.wait, RATE, 1),
            Ok(0),
            "alone it is asked for when little is left"
        );
    }

    #[test]
    fn portions_get_smaller_with_what_is_left() {
        let (ledger, now) = (ledger(), Mono(5_000_000));
        let portions: Vec<u32> = (0..60).map_while(|_| ledger.draw("ann", now, RATE, 1).ok()).collect();
        assert_eq!(portions[..3], [12, 11, 10]);
        assert!(portions.is_sorted_by(|a, b| a >= b) && portions.ends_with(&[0]), "{portions:?}");
        assert!(portions.len() > 30, "a user with many windows open can use them all: {portions:?}");
        let most = Rate { per_second: 1_000_000, burst: 1_000_000 };
        assert_eq!(ledger.draw("bob", now, most, 1), Ok(PORTION_MAX));
    }

    /// 1024 places of 33 bytes in each stripe, and as much again in one that grows.
    #[test]
    fn who_owes_nothing_is_forgotten_and_a_crowd_is_bounded() {
        let (ledger, now) = (ledger(), Mono(5_000_000));
        for number in 0..20_000 {
            let late = now + Duration::from_secs(10 * number);
            assert_eq!(ledger.draw(&format!("u{number}"), late, RATE, 1), Ok(12));
        }
        assert!(ledger.len() <= STRIPES * STRIPE_USERS_FEW);
        // All at once, none paid back.
        let late = now + Duration::from_secs(1_000_000);
        (0..200_000).for_each(|number| assert!(ledger.draw(&format!("v{number}"), late, RATE, 1).is_ok()));
        assert!(ledger.len() <= STRIPES * STRIPE_USERS_MAX, "{}", ledger.len());
        let places: usize =
            ledger.stripes.iter().map(|stripe| stripe.lock().accounts.allocation_size()).sum();
        assert!(places as u64 <= LEDGER_MEMORY * 3 / 4, "{places}");
    }

    #[test]
    fn shards_together_get_no_more_than_the_burst() {
        let (ledger, now) = (ledger(), Mono(5_000_000));
        let draw = || {
            (0..1000).filter_map(|_| ledger.draw("ann", now, RATE, 1).ok()).map(|more| 1 + more).sum::<u32>()
        };
        let taken: u32 = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(draw)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(taken, 200);
    }
}
