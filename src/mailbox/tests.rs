//! Step by step in one thread, then with real threads that sleep without a timeout: a lost wake-up hangs
//! them, and the watchdog tells.

use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use super::*;

const A: ShardId = ShardId(0);
const B: ShardId = ShardId(1);

fn wakes(count: usize) -> Vec<Arc<Wake>> {
    (0..count).map(|_| Arc::default()).collect()
}

fn pair(capacity: usize) -> (Vec<Arc<Wake>>, Mailbox<u64>, Mailbox<u64>) {
    let wakes = wakes(2);
    let mut boxes = mesh(&wakes, capacity).into_iter();
    let (a, b) = (boxes.next().unwrap(), boxes.next().unwrap());
    (wakes, a, b)
}

#[test]
fn many_sends_one_wake_and_none_for_the_awake() {
    let (wakes, mut a, mut b) = pair(100);
    for number in 0..10 {
        a.send(B, number).unwrap();
    }
    assert_eq!(a.flush_wakes(), 0, "b has not slept");
    assert!(!wakes[1].prepare_sleep(|| b.regained_room() | b.has_mail()), "mail has come");
    assert_eq!(std::iter::from_fn(|| b.receive(A)).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());

    assert!(wakes[1].prepare_sleep(|| b.regained_room() | b.has_mail()));
    for number in 0..10 {
        a.send(B, number).unwrap();
    }
    assert_eq!(a.flush_wakes(), 1, "one for all ten");
    a.send(B, 10).unwrap();
    assert_eq!(a.flush_wakes(), 0, "b knows");
    assert_eq!(a.flush_wakes(), 0, "nothing new");

    assert!(wakes[1].awoke(), "it was notified");
    while b.receive_any().is_some() {}
    assert!(wakes[1].prepare_sleep(|| b.regained_room() | b.has_mail()));
    assert!(!wakes[1].awoke(), "nobody has");
    a.send(B, 11).unwrap();
    assert_eq!(a.flush_wakes(), 0, "b got up by itself");
}

#[test]
fn mail_that_waits_gets_old_for_both_sides() {
    let wakes = [Arc::<Wake>::default(), Arc::default()];
    let mut boxes = mesh::<u32>(&wakes, 4);
    let (mut b, mut a) = (boxes.pop().unwrap(), boxes.pop().unwrap());
    let at = |ms: u64| Mono(1_000_000 + ms * 1000);
    let ms = Duration::from_millis;
    a.stamp(at(0));
    assert_eq!((a.age(at(9)), b.age(at(9))), (ms(0), ms(0)), "nothing was sent");
    a.send(B, 1).unwrap();
    a.send(B, 2).unwrap();
    a.stamp(at(10));
    a.flush_wakes();
    a.send(B, 3).unwrap();
    a.stamp(at(20));
    assert_eq!((a.age(at(25)), b.age(at(25))), (ms(15), ms(15)), "it waits");
    b.receive_any();
    assert_eq!(b.age(at(30)), ms(20), "the marked one is the second");
    b.receive_any();
    assert_eq!(b.age(at(40)), ms(30), "it was taken just now");
    assert_eq!((a.age(at(50)), b.age(at(50))), (ms(0), ms(0)), "the next is marked when more is sent");
    a.send(B, 4).unwrap();
    a.stamp(at(60));
    b.receive_any();
    assert_eq!(b.age(at(70)), ms(10), "two are taken of four");
    b.receive_any();
    assert_eq!((b.age(at(71)), b.age(at(72))), (ms(11), ms(0)));
}

#[test]
fn a_wake_before_arming_ends_the_first_sleep() {
    let mut poll = mio::Poll::new().unwrap();
    let wake = Wake::default();
    wake.notify();
    wake.arm(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
    let mut events = mio::Events::with_capacity(4);
    poll.poll(&mut events, None).unwrap();
    assert_eq!(events.iter().count(), 1);
}

#[test]
fn a_full_lane_hands_back_and_tells_when_it_is_half_empty() {
    let (wakes, mut a, mut b) = pair(4);
    for (number, room) in [(0, 4), (1, 3), (2, 2), (3, 1)] {
        assert_eq!(a.room(B), room);
        a.send(B, number).unwrap();
    }
    assert_eq!(a.room(B), 0);
    assert!(!a.is_blocked(B));
    assert_eq!(a.send(B, 4), Err(4));
    assert!(a.is_blocked(B));
    a.flush_wakes();
    assert!(wakes[0].prepare_sleep(|| a.regained_room() | a.has_mail()), "nothing to do for a but to wait");

    assert_eq!(b.receive(A), Some(0));
    assert_eq!(b.flush_wakes(), 0, "three of four places taken");
    assert!(a.is_blocked(B));
    assert_eq!(b.receive(A), Some(1));
    assert_eq!(b.flush_wakes(), 1, "half is free");
    assert!(!a.is_blocked(B));
    wakes[0].awoke();
    assert_eq!(a.send(B, 4), Ok(()));
    assert_eq!(b.flush_wakes(), 0);
    assert_eq!((b.receive(A), b.receive(A), b.receive(A), b.receive(A)), (Some(2), Some(3), Some(4), None));
}

/// The race that a wake alone does not cover: room comes after the refusal but before the sender announces
/// its sleep, so the receiver finds it awake and does not ring.
#[test]
fn room_that_comes_before_sleep_prevents_it() {
    let (wakes, mut a, mut b) = pair(2);
    a.send(B, 0).unwrap();
    a.send(B, 1).unwrap();
    assert_eq!(a.send(B, 2), Err(2));
    assert_eq!((b.receive(A), b.receive(A)), (Some(0), Some(1)));
    assert_eq!(b.flush_wakes(), 0, "a is awake");
    assert!(!wakes[0].prepare_sleep(|| a.regained_room() | a.has_mail()), "a has to try again");
    assert!(
        wakes[0].prepare_sleep(|| a.regained_room() | a.has_mail()),
        "told once: a may have dropped the value"
    );
}

#[test]
fn a_peer_that_ended_takes_nothing() {
    let (_, mut a, b) = pair(2);
    drop(b);
    assert_eq!(a.send(B, 7), Err(7));
    assert!(!a.has_mail());
    assert_eq!(a.receive_any(), None);
}

#[test]
#[should_panic(expected = "no mail to itself")]
fn no_lane_to_oneself() {
    let (_, mut a, _b) = pair(2);
    let _ = a.send(A, 1);
}

#[test]
fn a_loud_sender_does_not_starve_the_others() {
    let wakes = wakes(4);
    let mut boxes = mesh(&wakes, 1000);
    let mut receiver = boxes.remove(0);
    for number in 0..1000u32 {
        boxes[0].send(A, number).unwrap();
    }
    boxes[2].send(A, 7).unwrap();
    let order: Vec<u16> = std::iter::from_fn(|| receiver.receive_any()).map(|(from, _)| from.0).collect();
    assert_eq!(order.len(), 1001, "a run that is over does not look like an empty box");
    assert!(order.iter().position(|&from| from == 3).unwrap() <= RUN_MAX);
}

/// The heart of the matter, without the sleep: a push with its notification races an announcement of sleep.
/// Asleep and not rung while there is mail would be a hung shard. (Without the fence in `prepare_sleep` one
/// run of three fails on x86-64.)
#[test]
fn a_push_is_seen_or_rings() {
    const ROUNDS: u64 = 200_000;
    let (wakes, mut a, mut b) = pair(4);
    let wake = Arc::clone(&wakes[1]);
    let rounds = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let rang = Arc::new(AtomicBool::new(false));
    let (their_rounds, their_rang) = (Arc::clone(&rounds), Arc::clone(&rang));
    let meet = |rounds: &[AtomicU64; 2], me: usize, round: u64| {
        rounds[me].store(round, Ordering::Release);
        while rounds[1 - me].load(Ordering::Acquire) < round {
            thread::yield_now();
        }
    };
    let sender = thread::spawn(move || {
        for round in 1..=ROUNDS {
            meet(&their_rounds, 0, 2 * round);
            a.send(B, round).unwrap();
            their_rang.store(a.flush_wakes() == 1, Ordering::Relaxed);
            meet(&their_rounds, 0, 2 * round + 1);
        }
    });
    for round in 1..=ROUNDS {
        meet(&rounds, 1, 2 * round);
        let asleep = wake.prepare_sleep(|| b.regained_room() | b.has_mail());
        meet(&rounds, 1, 2 * round + 1);
        assert!(
            !asleep || rang.load(Ordering::Relaxed),
            "asleep, not rung, and there is mail: round {round}"
        );
        wake.awoke();
        assert_eq!(b.receive(A), Some(round));
    }
    sender.join().unwrap();
}

/// A shard that sends `count` numbers to each peer and receives as many from each, asleep whenever there
/// is nothing to do. `batch` bounds what it takes in a turn.
fn run_shard(me: u16, wake: &Wake, mut mailbox: Mailbox<u64>, count: u64, batch: usize) -> Mailbox<u64> {
    let mut poll = mio::Poll::new().unwrap();
    wake.arm(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
    let mut events = mio::Events::with_capacity(4);
    let peers = mailbox.outgoing.len();
    let others: Vec<ShardId> = (0..).take(peers).filter(|&peer| peer != me).map(ShardId).collect();
    let (mut sent, mut received) = (vec![0; peers], vec![0; peers]);
    let mut news = true;
    loop {
        for &peer in &others {
            while sent[peer.index()] < count && mailbox.send(peer, sent[peer.index()]).is_ok() {
                sent[peer.index()] += 1;
            }
        }
        // As a reactor does: who slept and was not rung for looks nowhere.
        for _ in 0..if news { batch } else { 0 } {
            let Some((from, number)) = mailbox.receive_any() else { break };
            assert_eq!(number, received[from.index()], "each lane in order, without a hole");
            received[from.index()] += 1;
        }
        mailbox.flush_wakes();
        if others.iter().all(|peer| sent[peer.index()] == count && received[peer.index()] == count) {
            return mailbox;
        }
        news = true;
        if wake.prepare_sleep(|| mailbox.regained_room() | mailbox.has_mail()) {
            poll.poll(&mut events, None).unwrap();
            news = wake.awoke();
        }
    }
}

/// Runs the shards to their end, or panics if they hang.
fn run_mesh(shards: usize, capacity: usize, count: u64, batch: usize) {
    let wakes = wakes(shards);
    let (done, all_done) = bounded(shards);
    for ((me, wake), mailbox) in (0..).zip(&wakes).zip(mesh(&wakes, capacity)) {
        let (wake, done) = (Arc::clone(wake), done.clone());
        thread::spawn(move || {
            // The mailbox is kept alive until all are done: a peer may still be told of room.
            let _ = done.send(run_shard(me, &wake, mailbox, count, batch));
        });
    }
    drop(done);
    let mut kept = Vec::new();
    for _ in 0..shards {
        let mailbox = all_done.recv_timeout(Duration::from_secs(120));
        kept.push(mailbox.expect("a shard hangs (a wake-up was lost) or failed"));
    }
    assert!(kept.iter().all(|mailbox| !mailbox.has_mail()));
}

#[test]
fn millions_of_values_in_order_and_no_wake_lost() {
    run_mesh(3, 1024, 400_000, 256);
}

#[test]
fn tiny_lanes_block_all_the_time_and_recover() {
    for capacity in [1, 2, 3] {
        run_mesh(3, capacity, 10_000, 2);
    }
}

/// Both sleep between any two values: the wake-up is on the path of every one.
#[test]
fn ping_pong_sleeps_and_wakes_every_time() {
    let wakes = wakes(2);
    let (done, all_done) = bounded(2);
    for (me, mut mailbox) in mesh::<u64>(&wakes, 4).into_iter().enumerate() {
        let (wake, done) = (Arc::clone(&wakes[me]), done.clone());
        thread::spawn(move || {
            let mut poll = mio::Poll::new().unwrap();
            wake.arm(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
            let mut events = mio::Events::with_capacity(4);
            let peer = if me == 0 { B } else { A };
            if me == 0 {
                mailbox.send(peer, 0).unwrap();
            }
            let mut last = 0;
            while last < 50_000 {
                mailbox.flush_wakes();
                if wake.prepare_sleep(|| mailbox.regained_room() | mailbox.has_mail()) {
                    poll.poll(&mut events, None).unwrap();
                    wake.awoke();
                }
                while let Some(number) = mailbox.receive(peer) {
                    last = number;
                    let _ = mailbox.send(peer, number + 1);
                }
            }
            mailbox.flush_wakes();
            let _ = done.send(mailbox);
        });
    }
    let both: Vec<_> = (0..2).map(|_| all_done.recv_timeout(Duration::from_secs(120))).collect();
    assert!(both.iter().all(Result::is_ok), "a shard hangs: a wake-up was lost");
}
