//! The send queue under what clients do to it.

use super::*;

/// A client that reads, but never all: what is written must go, or its queue becomes a record of the connection.
#[test]
fn a_queue_that_never_runs_empty_keeps_only_what_is_not_written() {
    const FRAME: usize = 1000;
    let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
    let push = |outbox: &mut Outbox, spares: &mut Spares| {
        outbox.push_own(spares, |out| out.resize(out.len() + FRAME, 7));
    };
    push(&mut outbox, &mut spares);
    for _ in 0..10_000 {
        push(&mut outbox, &mut spares);
        outbox.written(FRAME - 1, &mut spares);
        outbox.written(1, &mut spares);
        outbox.check();
        let held: usize = outbox.items.iter().map(|item| item.bytes().len()).sum();
        assert!(outbox.own_bytes() == FRAME && held <= 3 * FRAME, "{held} bytes for one frame");
    }
}
