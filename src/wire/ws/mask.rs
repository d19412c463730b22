//! Removes the mask of client frames, in place (RFC 6455 §5.3).
//!
//! Never copies, never allocates, has no `unsafe`: whole blocks are XORed as words, which the compiler
//! turns into vector instructions.

/// Bytes that the main loop treats as one: two 128-bit registers, which every 64-bit machine has.
const BLOCK: usize = 32;

/// XORs `bytes` with `key`, where `bytes[0]` is byte `phase` of the payload.
///
/// A payload may be unmasked in any pieces, each with its own phase; masking is the same operation.
#[inline]
pub fn unmask(bytes: &mut [u8], key: [u8; 4], phase: usize) {
    // Turned so that its first byte belongs to bytes[0]; the blocks keep the phase, as 4 divides them.
    #[expect(clippy::cast_possible_truncation, reason = "below 4")]
    let turned = u32::from_le_bytes(key).rotate_right(8 * (phase % 4) as u32);
    let word = u64::from(turned) << 32 | u64::from(turned);

    let (blocks, rest) = bytes.as_chunks_mut::<BLOCK>();
    for block in blocks {
        for eight in block.as_chunks_mut::<8>().0 {
            xor(eight, word);
        }
    }
    let (eights, rest) = rest.as_chunks_mut::<8>();
    for eight in eights {
        xor(eight, word);
    }
    for (byte, key_byte) in rest.iter_mut().zip(word.to_le_bytes()) {
        *byte ^= key_byte;
    }
}

#[inline]
fn xor(eight: &mut [u8; 8], word: u64) {
    *eight = (u64::from_le_bytes(*eight) ^ word).to_le_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dull version, word for word from RFC 6455 §5.3: octet i is XORed with key octet i MOD 4.
    fn unmask_slowly(bytes: &mut [u8], key: [u8; 4], phase: usize) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte ^= key[(phase + i) % 4];
        }
    }

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn equals_the_slow_twin_at_every_length_alignment_and_phase() {
        let original: Vec<u8> = (0..160_u8).map(|i| i.wrapping_mul(37)).collect();
        for length in 0..=80 {
            for alignment in 0..=33 {
                for phase in 0..=9 {
                    let (mut fast, mut slow) = (original.clone(), original.clone());
                    unmask(&mut fast[alignment..alignment + length], KEY, phase);
                    unmask_slowly(&mut slow[alignment..alignment + length], KEY, phase);
                    assert_eq!(fast, slow, "length {length}, alignment {alignment}, phase {phase}");
                }
            }
        }
    }

    #[test]
    fn pieces_make_the_whole() {
        let mut whole: Vec<u8> = (0..70).collect();
        let original = whole.clone();
        unmask(&mut whole, KEY, 0);
        for cut in 0..=70 {
            let mut pieces = original.clone();
            let (front, back) = pieces.split_at_mut(cut);
            unmask(front, KEY, 0);
            unmask(back, KEY, cut);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }

    #[test]
    fn example_of_the_rfc() {
        // RFC 6455 §5.7: "A single-frame masked text message".
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        unmask(&mut payload, KEY, 0);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn the_largest_phase_is_a_phase() {
        let mut bytes = [0; 5];
        unmask(&mut bytes, KEY, usize::MAX);
        assert_eq!(bytes, [KEY[3], KEY[0], KEY[1], KEY[2], KEY[3]]);
    }
}
