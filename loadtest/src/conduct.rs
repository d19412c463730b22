//! Conducts a run: starts the threads, leads them through the phases, and reads the kernel's counts on the way.
//!
//! Sends nothing and judges nothing; [`crate::audit`] and [`crate::outcome`] make sense of the [`Record`].

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::clock::{Clock, Nanos, SECOND};
use crate::control::{Control, Phase, SAMPLE, Totals};
use crate::net::{Net, Play};
use crate::plays::Harvest;
use crate::proc::{self, Reading};
use crate::progress::Progress;

/// Connecting or joining that makes no progress for so long has failed.
const SETUP_PATIENCE: Nanos = 20 * SECOND;
/// No thread waits longer for what is under way when the measure is over: members that did not read for a minute may
/// have to wait another until the server's kernel tries again.
const SETTLE_PATIENCE: Nanos = 180 * SECOND;
/// A closed loop in which nothing arrives for so long has lost a message and will not go on.
const STALL: Nanos = 5 * SECOND;

/// How long the phases are.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// Connections that must be open before anything else begins.
    pub connections: u64,
    /// Of [`Phase::Warm`].
    pub warm: Nanos,
    /// Of [`Phase::Measure`].
    pub measure: Nanos,
    /// The measure ends as soon as all threads are settled; then `measure` is the longest it may take.
    pub until_settled: bool,
    /// Nothing arriving for a while is no stall: nothing is sent, or by a slow schedule.
    pub may_be_silent: bool,
}

/// Counts at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When.
    pub at: Nanos,
    /// Messages and connections.
    pub totals: Totals,
    /// The server's processes, if we were told which.
    pub server: Option<Reading>,
    /// Our own worker threads.
    pub own: Vec<proc::Thread>,
}

/// One point of the time series.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When.
    pub at: Nanos,
    /// The phase that was on.
    pub phase: Phase,
    /// Messages and connections.
    pub totals: Totals,
    /// The server's processor time and memory so far.
    pub server: Option<(Nanos, u64)>,
    /// Our own workers' processor time so far.
    pub own_cpu: Nanos,
}

/// All that was observed.
#[derive(Debug)]
pub struct Record {
    /// Before the first connection.
    pub empty: Snapshot,
    /// All connected, and joined where there are rooms.
    pub ready: Snapshot,
    /// Beginning and end of the measure.
    pub begin: Snapshot,
    /// See `begin`.
    pub end: Snapshot,
    /// One point each [`SAMPLE`], from the first connection to the end.
    pub samples: Vec<Sample>,
    /// What the threads brought home.
    pub harvest: Harvest,
    /// What went wrong above the threads.
    pub complaints: Vec<String>,
    /// How late the conductor itself woke at worst: this machine did not run us.
    pub late_max: Nanos,
}

struct Conductor<'a> {
    clock: Clock,
    control: Arc<Control>,
    pids: &'a [u32],
    reports: Receiver<Phase>,
    progress: &'a mut Progress,
    samples: Vec<Sample>,
    complaints: Vec<String>,
    late_max: Nanos,
    next_sample: Nanos,
}

/// Runs `threads` (each its connections and its play) through all phases.
///
/// # Errors
/// A thread could not be started or failed, or the server's counts cannot be read.
pub fn conduct<P>(
    threads: Vec<(Net, P)>,
    control: &Arc<Control>,
    lengths: Lengths,
    pids: &[u32],
    clock: Clock,
    progress: &mut Progress,
) -> Result<Record, String>
where
    P: Play<Harvest = Harvest> + 'static,
{
    let (sender, reports) = channel();
    let mut conductor = Conductor {
        clock,
        control: Arc::clone(control),
        pids,
        reports,
        progress,
        samples: Vec::new(),
        complaints: Vec::new(),
        late_max: 0,
        next_sample: clock.now(),
    };
    let empty = conductor.snapshot()?;
    let mut workers = Vec::new();
    for (index, (net, play)) in threads.into_iter().enumerate() {
        let (control, sender) = (Arc::clone(control), sender.clone());
        let worker = std::thread::Builder::new()
            .name(format!("load-{index}"))
            .spawn(move || work(net, play, &control, index, &sender))
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        workers.push(worker);
    }
    drop(sender);
    let led = conductor.lead(lengths, workers.len());
    conductor.begin(Phase::Stop);
    let mut harvest: Option<Harvest> = None;
    for worker in workers {
        let part = worker.join().map_err(|_| "a thread of the generator panicked".to_owned())?;
        let part = part.map_err(|error| format!("a thread of the generator failed: {error}"))?;
        match &mut harvest {
            Some(whole) => whole.merge(part),
            None => harvest = Some(part),
        }
    }
    let (ready, begin, end) = led?;
    let Conductor { samples, complaints, late_max, .. } = conductor;
    let harvest = harvest.ok_or("no threads")?;
    Ok(Record { empty, ready, begin, end, samples, harvest, complaints, late_max })
}

impl Conductor<'_> {
    fn lead(&mut self, lengths: Lengths, threads: usize) -> Result<(Snapshot, Snapshot, Snapshot), String> {
        let mut is_good = true;
        for phase in [Phase::Connect, Phase::Prepare] {
            self.begin(phase);
            is_good = self.all_settle(threads, SETUP_PATIENCE, Nanos::MAX);
            let open = self.control.totals().open;
            if !is_good || open < lengths.connections {
                is_good = false;
                let stage = if phase == Phase::Connect { "connected" } else { "ready" };
                self.complaints.push(format!(
                    "not all were {stage} ({open} of {} connections are open): nothing was measured",
                    lengths.connections
                ));
                break;
            }
        }
        let ready = self.snapshot()?;
        if !is_good {
            return Ok((ready.clone(), ready.clone(), ready));
        }
        self.begin(Phase::Warm);
        let is_good = self.last(lengths.warm, lengths.may_be_silent);
        // The counts first, as reading memory exactly may take a moment in which messages flow.
        self.begin(Phase::Measure);
        let begin = self.snapshot()?;
        if lengths.until_settled {
            if !self.all_settle(threads, Nanos::MAX, lengths.measure) {
                self.complaints.push("not all were back in time".into());
            }
        } else if is_good {
            self.last(lengths.measure, lengths.may_be_silent);
        }
        let end = self.snapshot()?;
        self.begin(Phase::Drain);
        // Each thread gives up by itself when nothing more comes.
        self.all_settle(threads, Nanos::MAX, SETUP_PATIENCE);
        self.begin(Phase::Settle);
        self.all_settle(threads, Nanos::MAX, SETTLE_PATIENCE);
        Ok((ready, begin, end))
    }

    fn begin(&mut self, phase: Phase) {
        while self.reports.try_recv().is_ok() {}
        self.control.set_phase(phase);
        self.progress.phase(phase);
    }

    /// Lets a phase last; false if it was cut short because nothing came any more.
    fn last(&mut self, length: Nanos, may_be_silent: bool) -> bool {
        let end = self.clock.now() + length;
        let received = |control: &Control| control.totals().received;
        let mut stall = Stall::new(self.clock.now(), received(&self.control));
        while self.clock.now() < end {
            self.tick(end);
            if !may_be_silent && stall.is_stalled(self.clock.now(), received(&self.control), STALL) {
                self.complaints.push("nothing arrived for 5 seconds: the run was cut short".into());
                return false;
            }
        }
        true
    }

    /// Waits until all threads have settled; false if nothing moved for `patience`, or `most` has passed.
    fn all_settle(&mut self, threads: usize, patience: Nanos, most: Nanos) -> bool {
        let phase = self.control.phase();
        let end = self.clock.now().saturating_add(most);
        let moved = |control: &Control| control.totals().reads + control.totals().open;
        let mut stall = Stall::new(self.clock.now(), moved(&self.control));
        let mut settled = 0;
        while settled < threads {
            if let Some(reported) = self.tick(end) {
                settled += usize::from(reported == phase);
            }
            let now = self.clock.now();
            if now >= end || stall.is_stalled(now, moved(&self.control), patience) {
                return false;
            }
        }
        true
    }

    /// Waits until the next sample is due, a thread reports or `end` has come.
    fn tick(&mut self, end: Nanos) -> Option<Phase> {
        let now = self.clock.now();
        let due = self.next_sample.min(end);
        let wait = Duration::from_nanos(due.saturating_sub(now));
        let report = match self.reports.recv_timeout(wait) {
            Ok(phase) => return Some(phase),
            Err(RecvTimeoutError::Timeout) => None,
            // All threads have ended; only their harvest can say why.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::park_timeout(wait);
                None
            }
        };
        let woke = self.clock.now();
        if self.control.phase().flows() {
            self.late_max = self.late_max.max(woke.saturating_sub(due.max(now)));
        }
        if woke >= self.next_sample {
            self.sample(woke);
            self.next_sample = woke + SAMPLE;
        }
        report
    }

    fn sample(&mut self, at: Nanos) {
        let mut server = None;
        for pid in self.pids {
            let (mut cpu, rss) = (0, proc::rss_fast(*pid).unwrap_or(0));
            if let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) {
                for tid in threads.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
                    cpu += proc::thread(*pid, tid).map_or(0, |thread| thread.cpu);
                }
            }
            let (cpus, rsss) = server.unwrap_or((0, 0));
            server = Some((cpus + cpu, rsss + rss));
        }
        let own_cpu = self.own().iter().map(|thread| thread.cpu).sum();
        let totals = self.control.totals();
        let phase = self.control.phase();
        self.progress.show(totals);
        self.samples.push(Sample { at, phase, totals, server, own_cpu });
    }

    fn own(&self) -> Vec<proc::Thread> {
        let tid = |tally: &crate::control::Tally| tally.tid.load(std::sync::atomic::Ordering::Relaxed);
        let pid = std::process::id();
        self.control.tallies.iter().map(|tally| proc::thread(pid, tid(tally)).unwrap_or_default()).collect()
    }

    fn snapshot(&self) -> Result<Snapshot, String> {
        let own = self.own();
        let server = if self.pids.is_empty() { None } else { Some(proc::read(self.pids)?) };
        // As near to the processor time as can be, since one is divided by the other.
        let totals = self.control.totals();
        Ok(Snapshot { at: self.clock.now(), totals, server, own })
    }
}

/// Notices that a count no longer moves.
struct Stall {
    since: Nanos,
    count: u64,
}

impl Stall {
    fn new(since: Nanos, count: u64) -> Stall {
        Stall { since, count }
    }

    fn is_stalled(&mut self, now: Nanos, count: u64, patience: Nanos) -> bool {
        if count != self.count {
            *self = Stall { since: now, count };
        }
        now.saturating_sub(self.since) > patience
    }
}

/// One thread's loop.
fn work<P: Play>(
    mut net: Net,
    mut play: P,
    control: &Control,
    index: usize,
    reports: &Sender<Phase>,
) -> std::io::Result<P::Harvest> {
    use std::sync::atomic::Ordering::Relaxed;
    let tally = &control.tallies[index];
    tally.tid.store(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs(), Relaxed);
    let mut phase = control.phase();
    let mut has_reported = false;
    net.now = net.clock_now();
    play.enter(phase, &mut net);
    let mut due = None;
    loop {
        net.turn(&mut play, due)?;
        let asked = control.phase();
        if asked != phase {
            // One after the other, however late this thread comes; but what never began is not begun to be ended.
            let is_aborted = asked == Phase::Stop && phase < Phase::Warm;
            phase = if is_aborted { asked } else { Phase::ALL[phase as usize + 1] };
            has_reported = false;
            play.enter(phase, &mut net);
            if phase == Phase::Stop {
                return Ok(play.harvest(&net));
            }
        }
        due = play.turn(&mut net);
        net.flush(&mut play);
        if asked != phase {
            due = Some(0);
        }
        let (sent, received) = play.counts();
        tally.sent.store(sent, Relaxed);
        tally.received.store(received, Relaxed);
        tally.open.store(net.open as u64, Relaxed);
        tally.reads.store(net.work.reads, Relaxed);
        let is_connected = phase != Phase::Connect || net.opening == 0;
        if !has_reported && asked == phase && is_connected && play.settled(phase) {
            has_reported = true;
            // Nobody listens any more once the run is over.
            let _ = reports.send(phase);
        }
    }
}
