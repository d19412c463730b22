//! Which shard owns a name.

use crate::base::id::ShardId;

/// The owner among `shards` shards of a topic with this hash: multiply-shift, even and without division.
#[must_use]
pub fn owner(hash: u64, shards: u16) -> ShardId {
    debug_assert!(shards > 0);
    #[expect(clippy::cast_possible_truncation, reason = "the high half of the product is below `shards`")]
    ShardId(((u128::from(hash) * u128::from(shards)) >> 64) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn every_shard_owns_its_share() {
        let mut prng = Prng::new(1);
        let mut owned = [0_u32; 3];
        for _ in 0..30_000 {
            owned[owner(prng.next_u64(), 3).index()] += 1;
        }
        assert!(owned.iter().all(|&n| (9_500..10_500).contains(&n)), "{owned:?}");
        assert_eq!(owner(u64::MAX, 1), ShardId(0));
    }
}
