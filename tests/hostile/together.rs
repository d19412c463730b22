//! Several attacks at the same time, as the limits of all connections together are to stand them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::beside::withstands;
use crate::peer::{FIN, Peer, TEXT, frame, text, upgrade};
use crate::server::eventually;

/// Catalogue 14, 22, 53 and 69 at once: connections that never finish their request, slow readers in a busy room, and a
/// flood of bad frames; under a memory budget that the slow readers' queues would exceed many times. `loadtest/siege`
/// does it to the server as it is shipped, and looks at latency.
#[test]
fn c69_half_open_slow_readers_and_bad_frames_within_the_memory_budget() {
    const SILENT: usize = 2000;
    const SLOW: usize = 500;
    const MESSAGES: usize = 300;
    /// Open files for so many, and for the tests beside this one.
    const DESCRIPTORS: u64 = 8192;
    /// The budget, as much again for what the kernel does not count for us but the allocator does, and the connections.
    const GROWTH_MIB_MAX: u64 = 40;
    let share = if roomcast::server::descriptors::raise() < DESCRIPTORS { 8 } else { 1 };
    let (silent, slow) = (SILENT / share, SLOW / share);
    let half_open = (silent * 3 / 4).to_string();
    let flags = [
        "--memory",
        "16MiB",
        "--history-memory",
        "1MiB",
        "--send-queue-bytes",
        "64MiB",
        "--send-queue-messages",
        "10000",
        "--max-half-open",
        &half_open,
    ];
    withstands(&flags, |server| {
        let mut waiting: Vec<Peer> = (0..silent).map(|_| Peer::connect(server)).collect();
        for peer in &mut waiting {
            // Those that had to give way may be gone already.
            peer.try_send("GET /ws HTTP/1.1\r\nHost: x\r\n");
        }
        let mut deaf: Vec<Peer> = (0..slow).map(|_| Peer::narrow(server)).collect();
        deaf.iter_mut().for_each(|peer| peer.send(upgrade("/ws/busy?user_id=slow")));
        let mut talker = Peer::member(server, "/ws/busy?user_id=talker");
        talker.object("room_joined");
        eventually("the slow are members", || {
            talker.say(r#"{"type":"get_users","room":"busy"}"#);
            talker.object_among("room_info")["members_count"] == slow + 1
        });
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let mut bad = 0;
                while !done.load(Ordering::Relaxed) {
                    let mut peer = Peer::connect(server);
                    peer.try_send(upgrade("/echo"));
                    // While the slow use up all memory, and until enough of them are gone, nobody new is let in.
                    if peer.answer().is_none_or(|answer| answer.status == 503) {
                        continue;
                    }
                    peer.send([frame(FIN | TEXT, b"\xff"), frame(0x70, b"reserved")].concat());
                    assert_eq!(peer.close_code_at_end(), Some(1007));
                    bad += 1;
                }
                bad
            });
            let payload = "m".repeat(64 << 10);
            let message = text(&format!(r#"{{"type":"chat_message","room":"busy","message":"{payload}"}}"#));
            for number in 1..=MESSAGES {
                talker.send(&message);
                assert_eq!(talker.object_among("chat_message")["offset"], number, "each, and in order");
            }
            done.store(true, Ordering::Relaxed);
            assert!(flood.join().expect("the flood went on") > 0, "there was one");
        });
        let grown = server.peak_growth_mib();
        assert!(grown < GROWTH_MIB_MAX, "{grown} MiB");
        drop((waiting, deaf, talker));
    });
}
