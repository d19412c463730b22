//! Input that came before its connection was held: counted under the budget, and the heaviest go first.

use super::*;
use crate::shard::conn::Hold;

/// Input of the lightest; the others have two, three, … times as much.
const UNIT: usize = 4 << 10;

/// So many clients that wait for an answer, each with more held input than the one before.
fn crowd(memory: u64, count: usize) -> (Rig, Vec<Key>) {
    let mut rig = Rig::new(1, Limits { memory: Some(memory), ..Limits::default() });
    let keys: Vec<Key> = (0..count).map(|_| rig.open("/ws")).collect();
    for (nth, key) in keys.iter().enumerate() {
        rig.shard.conns.get_mut(*key).expect("it is open").hold.set(Hold::ANSWER);
        rig.shard.handle_bytes(*key, &mut vec![0; (nth + 1) * UNIT]);
    }
    (rig, keys)
}

#[test]
fn what_is_held_counts_and_the_heaviest_go_first() {
    let (mut rig, keys) = crowd(590 << 10, 16);
    let held = 16 * 17 / 2 * UNIT;
    assert!(rig.shard.memory_bytes() >= held, "{} are seen of {held}", rig.shard.memory_bytes());
    rig.shard.check();
    rig.written.clear();
    rig.shard.fit_memory();
    rig.turn(&[]);
    let gone: Vec<Key> = rig.written.iter().map(|(key, _)| *key).collect();
    assert_eq!(gone.len(), 2, "an eighth at a time");
    assert!(gone.contains(&keys[15]) && gone.contains(&keys[14]), "those with the most");
    for _ in 0..16 {
        rig.shard.fit_memory();
        rig.turn(&[]);
    }
    assert!(rig.shard.memory_bytes() <= 531 << 10, "nine tenths of the budget");
    let gone: Vec<usize> =
        (0..16).filter(|nth| rig.written.iter().any(|(key, _)| *key == keys[*nth])).collect();
    let first = *gone.first().expect("some are closed");
    assert!(first > 8 && gone == (first..16).collect::<Vec<_>>(), "{gone:?}: who brought little stays");
}

#[test]
fn in_a_hurry_more_go_at_a_time() {
    let (mut rig, _) = crowd(400 << 10, 16);
    rig.written.clear();
    rig.shard.fit_memory();
    rig.turn(&[]);
    assert_eq!(rig.written.len(), 8, "a half");
}

#[test]
fn what_is_handled_or_forgotten_counts_no_more() {
    let (mut rig, keys) = crowd(64 << 20, 4);
    rig.shard.release(keys[0], Hold::ANSWER);
    rig.turn(&[]); // zeros are no frames: it is closed for them
    rig.shard.handle_reset(keys[1]);
    rig.turn(&[]);
    rig.shard.handle_reset(keys[2]);
    rig.shard.handle_reset(keys[3]);
    rig.turn(&[]);
    assert_eq!(rig.shard.unfinished.held_bytes, 0);
}
