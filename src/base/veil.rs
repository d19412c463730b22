//! Numbers of 80 bits that look random, yet tell whoever has the keys what they stand for.
//!
//! An identifier made this way needs no table to be found again and cannot be guessed from others. It is no place for
//! secrets: four Feistel rounds of a keyed hash hide the number well, but nobody has proved how well.
//!
//! ```text
//! left (40 bits)   right (40 bits)
//!      ⊕ ◄── hash(round, right) ──┤        and the halves change places, four times;
//!      └──────── ╳ ───────────────┘        undone by the same rounds in reverse
//! ```

use crate::base::hash::Keys;

/// How many bits are veiled; both the number and its veil are below `2^BITS`.
pub const BITS: u32 = 80;

const HALF_BITS: u32 = BITS / 2;
const HALF: u64 = (1 << HALF_BITS) - 1;
/// With three, whoever may ask for both directions can tell the permutation from a random one; with four, not.
const ROUNDS: u8 = 4;

fn scramble(keys: Keys, round: u8, half: u64) -> u64 {
    keys.hash(&(round, half)) & HALF
}

#[expect(clippy::cast_possible_truncation, reason = "the mask leaves 40 bits")]
fn halves(number: u128) -> (u64, u64) {
    ((number >> HALF_BITS) as u64 & HALF, number as u64 & HALF)
}

fn whole(left: u64, right: u64) -> u128 {
    u128::from(left) << HALF_BITS | u128::from(right)
}

/// The veil of `number`, of which the lowest [`BITS`] count. Different numbers have different veils.
#[must_use]
pub fn veil(keys: Keys, number: u128) -> u128 {
    let (mut left, mut right) = halves(number);
    for round in 0..ROUNDS {
        (left, right) = (right, left ^ scramble(keys, round, right));
    }
    whole(left, right)
}

/// The number under a veil; every number is the veil of some other.
#[must_use]
pub fn unveil(keys: Keys, veiled: u128) -> u128 {
    let (mut left, mut right) = halves(veiled);
    for round in (0..ROUNDS).rev() {
        (left, right) = (right ^ scramble(keys, round, left), left);
    }
    whole(left, right)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: u128 = (1 << BITS) - 1;

    #[test]
    fn neighbours_have_nothing_in_common_and_keys_matter() {
        let keys = Keys::new([1; 16]);
        let veils: Vec<u128> = (0..100).map(|number| veil(keys, number)).collect();
        for pair in veils.windows(2) {
            assert!((10..70).contains(&(pair[0] ^ pair[1]).count_ones()), "{pair:x?}");
        }
        assert_ne!(veil(keys, 1), veil(Keys::new([2; 16]), 1));
        assert_ne!(unveil(Keys::new([2; 16]), veil(keys, 1)), 1);
    }

    proptest! {
        #[test]
        fn what_is_veiled_comes_back(seed: [u8; 16], number in 0..=ALL) {
            let keys = Keys::new(seed);
            let veiled = veil(keys, number);
            prop_assert!(veiled <= ALL);
            prop_assert_eq!(unveil(keys, veiled), number);
            prop_assert_eq!(veil(keys, unveil(keys, number)), number);
        }
    }
}
