//! Seeded pseudo-random numbers for jitter and simulation; never for secrets (see `base::hash::Keys::digest`).
//!
//! SplitMix64 (Steele, Lea, Flood 2014): one addition and three mixing steps, equidistributed over 64 bits.

/// A generator whose whole future follows from its seed.
#[derive(Clone, Debug)]
pub struct Prng(u64);

impl Prng {
    /// A generator that repeats for the same `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Prng {
        Prng(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; zero if `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Multiply-shift: the bias is below 2^-32 for every bound used here.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_and_stays_in_bounds() {
        let (mut a, mut b) = (Prng::new(9), Prng::new(9));
        for bound in [1, 2, 3, 10, 1 << 40] {
            let x = a.below(bound);
            assert_eq!(x, b.below(bound));
            assert!(x < bound);
        }
        assert_eq!(a.below(0), 0);
    }
}
