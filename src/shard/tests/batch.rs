//! Publications that one turn brings to a room: made one delivery or not, every client gets the same bytes.

use super::*;
use crate::shard::delivery::Delivery;
use crate::shard::limits::SlowConsumer;

/// What each client is written in a story with publishers, a join, a session and a client that does not read, where so
/// many bytes may become one delivery; and how many slices that took.
fn story(batch_bytes_max: usize, slow_consumer: SlowConsumer) -> (Vec<Vec<u8>>, usize) {
    let mut limits =
        Limits { slow_consumer, queue_messages_max: 12, coalesce: Coalesce::Off, ..Limits::default() };
    limits.pace.batch_bytes_max = batch_bytes_max;
    let mut rig = Rig::new(1, limits);
    let mut keys: Vec<Key> = (0..5).map(|_| rig.open("/ws/r")).collect();
    let [ann, bob] = [keys[0], keys[1]];
    let (late, session, slow) = (rig.open("/ws"), rig.open("/ws/r?last_seq=0"), rig.open("/ws/r"));
    keys.extend([late, session, slow]);
    rig.turn(&[]);
    rig.room = 1;
    rig.turn(&[(slow, &say(r#"{"type":"ping"}"#))]);
    rig.room = usize::MAX;
    rig.slices = 0;
    for round in 0..3 {
        let chat = |n: u32| say(&format!(r#"{{"type":"chat_message","room":"r","message":"{round}.{n}"}}"#));
        let chats: Vec<Vec<u8>> = (0..8).map(chat).collect();
        let join = say(r#"{"type":"join_room","room":"r"}"#);
        let leave = say(r#"{"type":"leave_room","room":"r"}"#);
        let mut input: Vec<(Key, &[u8])> = Vec::new();
        for (n, chat) in chats.iter().enumerate() {
            input.push((if n % 3 == 0 { ann } else { bob }, chat));
            match n {
                3 => input.push((late, &join)),
                6 => input.push((late, &leave)),
                _ => {}
            }
        }
        rig.turn(&input);
    }
    rig.shard.handle_writable(slow);
    while rig.shard.is_due() {
        rig.turn(&[]);
    }
    let of = |key: &Key| {
        rig.written.iter().filter(|(to, _)| to == key).flat_map(|(_, bytes)| bytes.clone()).collect()
    };
    (keys.iter().map(of).collect(), rig.slices)
}

#[test]
fn batches_change_no_byte_and_save_slices() {
    for policy in [SlowConsumer::DropOldest, SlowConsumer::DropNewest, SlowConsumer::Disconnect] {
        let (one_by_one, slices) = story(0, policy);
        for limit in [400, 16 << 10] {
            let (together, fewer) = story(limit, policy);
            for (n, (single, batched)) in one_by_one.iter().zip(&together).enumerate() {
                let [single, batched] = [single, batched].map(|bytes| String::from_utf8_lossy(bytes));
                assert_eq!(single, batched, "client {n}, {policy:?}, up to {limit} bytes");
            }
            assert!(fewer * 4 < slices * 3, "{fewer} slices in place of {slices}");
        }
    }
}

/// One that did not fit was counted as if it were in it, and once more by itself.
#[test]
fn a_batch_counts_as_much_as_it_is() {
    let mut rig = Rig::new(2, Limits { coalesce: Coalesce::Off, ..Limits::default() });
    let topic = elsewhere();
    let members = [(); 3].map(|()| member(&mut rig, &topic));
    rig.turn(&[]);
    rig.room = 1;
    for (offset, bytes) in [(1, 100), (2, 100), (3, 100), (4, 100_000)] {
        rig.shard.handle_edge_mail(published(&topic, offset, bytes));
    }
    rig.turn(&[]);
    let waits = rig.shard.conns.get(members[0]).expect("it is open").outbox.bytes();
    // One byte of each is written, and there are two deliveries.
    assert_eq!(rig.shard.held.bytes(), waits + 1 + 2 * Delivery::BYTES);
}
