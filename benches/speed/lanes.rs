//! Mail from shard to shard: within one thread, what a lane costs; between two, how long there and back takes.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use criterion::{Criterion, Throughput};
use roomcast::base::id::ShardId;
use roomcast::mailbox::{Mailbox, Wake, mesh};

/// About as large as what shards send each other.
type Mail = [u64; 8];

/// Sent and received in one go: a turn's worth.
const RUN: u64 = 64;
const LANE: usize = 1024;
const A: ShardId = ShardId(0);
const B: ShardId = ShardId(1);

/// Two shards that never sleep, so nobody is rung: what a ring costs is the kernel's.
fn pair() -> (Mailbox<Mail>, Mailbox<Mail>) {
    let wakes: Vec<Arc<Wake>> = (0..2).map(|_| Arc::default()).collect();
    let mut boxes = mesh(&wakes, LANE).into_iter();
    (boxes.next().expect("there are two"), boxes.next().expect("there are two"))
}

pub(crate) fn hop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox");
    group.throughput(Throughput::Elements(RUN));
    let (mut a, mut b) = pair();
    group.bench_function("one thread, roomcast", |bench| {
        bench.iter(|| {
            for i in 0..RUN {
                a.send(B, [i; 8]).expect("the lane has room");
            }
            a.flush_wakes();
            while let Some(mail) = b.receive_any() {
                black_box(mail);
            }
            b.flush_wakes();
        });
    });
    let (sender, receiver) = mpsc::sync_channel::<Mail>(LANE);
    group.bench_function("one thread, std sync_channel", |bench| {
        bench.iter(|| {
            for i in 0..RUN {
                sender.try_send([i; 8]).expect("the channel has room");
            }
            while let Ok(mail) = receiver.try_recv() {
                black_box(mail);
            }
        });
    });

    group.throughput(Throughput::Elements(1));
    there_and_back(&mut group);
}

/// A second thread answers; both look all the time, as two busy shards do.
fn there_and_back(group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>) {
    let (mut a, mut b) = pair();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                match b.receive(A) {
                    Some(mail) => {
                        b.send(A, mail).expect("one is under way");
                        b.flush_wakes();
                    }
                    None => std::thread::yield_now(),
                }
            }
        });
        group.bench_function("two threads, there and back", |bench| {
            bench.iter(|| {
                a.send(B, [7; 8]).expect("one is under way");
                a.flush_wakes();
                loop {
                    match a.receive(B) {
                        Some(mail) => break black_box(mail),
                        None => std::thread::yield_now(),
                    }
                }
            });
        });
        stop.store(true, Ordering::Relaxed);
    });
}
