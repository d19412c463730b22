//! Start and stop, in order, written once.
//!
//! Everything that touches the operating system beside the shards' own loops is here: listeners, signals,
//! threads, clocks at their source. Nothing below imports it.
//!
//! Start: listeners (so that a taken port ends the start), the store, acceptor, shards, signals. Stop: new
//! connections are told so, every client is told when to come back and closed, the shards end when they are empty, or
//! at the deadline, the listeners with them, and the store after them.

pub mod descriptors;
pub mod log;
pub mod refused;
pub mod doorman;
pub mod admission;
pub mod papers;
pub mod mint;
mod validity;
pub mod certs;
pub mod reload;
pub mod listener;
pub mod linger;
pub mod acceptor;
pub mod signals;
pub mod ask;
pub mod outside;
pub mod feed;

use std::any::Any;
use std::fmt;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, unbounded};

use crate::base::hash::Keys;
use crate::base::id::ShardId;
use crate::config::endpoint::Place;
use crate::config::plan::Plan;
use crate::hub::journal::Durability;
use crate::hub::owner;
use crate::hub::stored::{Image, Restored};
use crate::mailbox::{Mailbox, Wake, mesh};
use crate::metrics::shard::Gauges;
use crate::metrics::table::{MEMORY_BUDGET, MEMORY_WORST};
use crate::pages;
use crate::reactor::clock::Clock;
use crate::reactor::{Accepted, Control, Handed, Home, Parts, Reactor};
use crate::server::acceptor::{Acceptor, Door, Proxies, Stop};
use crate::server::admission::{Admission, Caps, Ticket};
use crate::server::certs::{CertError, Certs};
use crate::server::feed::Feeds;
use crate::server::listener::{BindError, Listener};
use crate::server::outside::Outside;
use crate::server::papers::{Archive, PapersError};
use crate::server::reload::{Reload, reload_all};
use crate::server::signals::Wanted;
use crate::shard::ledger::Ledger;
use crate::shard::limits::Term;
use crate::shard::placement;
use crate::shard::port::{Papers, ToEdge, ToOwner};
use crate::shard::state::{Setting, Shard};
use crate::store::disk::{Disk, DiskError};
use crate::store::writer::{self, Outlet};

/// Mail of one class that waits in a lane between two shards.
const LANE_CAPACITY: usize = 4096;
/// Accepted sockets that wait for one shard.
const INTAKE_CAPACITY: usize = 1024;
/// Before a shard's number in the name of its thread.
const SHARD_THREAD: &str = "shard-";
/// The thread that writes histories to disk.
const STORE_THREAD: &str = "store";
/// How long a write waits for more where nobody waits for it: 20 writes a second at most.
const ASYNC_GATHER: Duration = Duration::from_millis(50);
/// Exit code when a thread of the server has failed: a half-dead server is worse than a restarted one
/// (`EX_SOFTWARE` of sysexits).
const EXIT_SOFTWARE: i32 = 70;

/// Why the server could not start; shown as one line: what is wrong, then how to mend it.
#[derive(Debug)]
pub enum StartError {
    /// The files for TLS cannot be used.
    Certs(CertError),
    /// An address cannot be listened on.
    Listen(BindError),
    /// The folder of `--data-dir` cannot be used.
    Store(DiskError),
    /// A file of keys or rules cannot be used.
    Papers(PapersError),
    /// The operating system refused something else.
    System {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        cause: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Certs(error) => error.fmt(f),
            StartError::Listen(error) => error.fmt(f),
            StartError::Store(error) => error.fmt(f),
            StartError::Papers(error) => error.fmt(f),
            StartError::System { what, cause } => {
                write!(f, "cannot {what}: {cause}; the limits of this process (ulimit -a) may be too low")
            }
        }
    }
}

impl std::error::Error for StartError {}

/// How a server that had started came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It drained, as far as the drain timeout allowed.
    Drained,
    /// A second signal cut the drain short.
    AtOnce,
}

/// Runs the server until signals end it.
///
/// # Errors
/// Says why it could not start.
pub fn run(plan: &Plan) -> Result<Ended, StartError> {
    let system = |what| move |cause| StartError::System { what, cause };
    let signals = signals::listen().map_err(system("catch signals"))?;
    let papers = papers::read(&plan.files).map_err(StartError::Papers)?;
    let certs = plan.tls.clone().map(Certs::load).transpose().map_err(StartError::Certs)?;
    let listeners = listener::bind(&plan.listen, certs.as_ref()).map_err(StartError::Listen)?;
    let places: Vec<_> =
        listeners.iter().map(|listener| (listener.place.clone(), listener.certs.is_some())).collect();
    let clock = Clock::start();
    let keys = Keys::new(seed().map_err(system("get random numbers"))?);
    let wakes: Vec<Arc<Wake>> = (0..plan.shards).map(|_| Arc::default()).collect();
    let (failed, failures) = unbounded();
    let store = open_store(plan, keys, &wakes, &failed)?;
    let (shards, mut ends): (Vec<Running>, Vec<Ends>) = (0..plan.shards).map(|_| lanes()).unzip();
    // Not bounded: each value holds one of the connections, which are.
    let handed: Vec<Handing> = (0..plan.shards).map(|_| unbounded()).collect();
    let outside = outside(plan, keys, &wakes, &mut ends);
    let process: Arc<Gauges> = Arc::default();
    let gauges: Arc<[Gauges]> = (0..plan.shards).map(|_| Gauges::default()).collect();
    tell_memory(plan, &process);
    let admission = admission(plan, keys, (&process, &gauges));
    let acceptor =
        acceptor(plan, clock, listeners, &shards, &wakes, &admission).map_err(system("make a poll"))?;
    let door = Entrance { admission, stop: acceptor.stopper() };
    let lodger = if plan.shards == 1 && cfg!(unix) {
        Some(acceptor)
    } else {
        spawn("acceptor".to_owned(), failed.clone(), move || acceptor.run())?;
        None
    };
    start_shards(
        plan,
        (keys, clock),
        &papers,
        (&wakes, &process, &gauges),
        (ends, &handed, store),
        lodger,
        &failed,
    )?;
    let controls = shards.iter().zip(&wakes).map(|(shard, wake)| (shard.control.clone(), Arc::clone(wake)));
    let archive = Archive::new(plan.files.clone(), controls.collect());
    let archive = Some(archive).filter(|one| !one.is_empty()).map(Reload::Papers);
    let reloads: Vec<Reload> = certs.map(Reload::Certs).into_iter().chain(archive).collect();
    let feeds = Feeds::start(&plan.feeds, outside.as_ref(), plan.limits.message_bytes_max, &failed)?;
    announce(&places);
    tracing::info!(shards = plan.shards, connections_max = plan.max_connections, "started");
    Ok(wait(plan, (signals, &reloads), &door, &shards, &wakes, feeds, &failures))
}

/// Tells where we listen, each with whether by TLS.
fn announce(places: &[(Place, bool)]) {
    for (place, tls) in places {
        tracing::info!(address = %place, tls, "listening");
    }
    let inet = places.iter().find_map(|(place, tls)| match place {
        Place::Inet(address) => Some((if *tls { "https" } else { "http" }, address)),
        Place::Unix(_) => None,
    });
    let path = pages::CHAT_PATH;
    // Whoever waits for this line on the pipe may have closed it.
    let _ = match (inet, places.first()) {
        (Some((scheme, address)), _) => writeln!(io::stdout(), "chat page: {scheme}://{address}{path}"),
        (None, Some((place, _))) => writeln!(io::stdout(), "chat page: {path} at {place}"),
        (None, None) => Ok(()),
    };
}

/// Says, and exports, how much memory may be used, and how much could be.
fn tell_memory(plan: &Plan, process: &Gauges) {
    let terms = plan.limits.worst_case(plan.shards, plan.max_connections as u64);
    let worst = terms.iter().fold(0_u64, |sum, term| sum.saturating_add(term.bytes));
    for Term { part, bytes } in &terms {
        tracing::info!(part, bytes, "memory, at worst");
    }
    tracing::info!(budget = plan.limits.memory, worst, "memory, all together");
    process.set(MEMORY_BUDGET.cell(), plan.limits.memory.unwrap_or(0));
    process.set(MEMORY_WORST.cell(), worst);
}

/// What the end of the server does to the acceptor.
struct Entrance {
    admission: Arc<Admission>,
    stop: Stop,
}

/// A running shard as the server sees it.
struct Running {
    intake: Sender<Accepted<Ticket>>,
    control: Sender<Control>,
}

/// The lane by which other shards hand it sockets.
type Handing = (Sender<Handed<Ticket>>, Receiver<Handed<Ticket>>);

/// The other ends of its lanes.
struct Ends {
    intake: Receiver<Accepted<Ticket>>,
    control: Receiver<Control>,
    outside: Option<Receiver<ToOwner>>,
}

fn lanes() -> (Running, Ends) {
    let (sender, intake) = bounded(INTAKE_CAPACITY);
    let (orders, control) = unbounded();
    (Running { intake: sender, control: orders }, Ends { intake, control, outside: None })
}

/// The way in for feeds; none where there are none, so that no shard looks for anything there.
fn outside(plan: &Plan, keys: Keys, wakes: &[Arc<Wake>], ends: &mut [Ends]) -> Option<Outside> {
    if plan.feeds.is_empty() {
        return None;
    }
    let (outside, lanes) = Outside::new(wakes, keys);
    ends.iter_mut().zip(lanes).for_each(|(ends, lane)| ends.outside = Some(lane));
    Some(outside)
}

/// Which thread has ended, and how.
struct Exit {
    thread: String,
    end: Result<(), String>,
}

fn seed() -> io::Result<[u8; 16]> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

/// Starts the shards; the first one lodges the acceptor, if that has no thread of its own.
fn start_shards(
    plan: &Plan,
    (keys, mut clock): (Keys, Clock),
    papers: &Papers,
    (wakes, process, gauges): (&[Arc<Wake>], &Arc<Gauges>, &Arc<[Gauges]>),
    (ends, handed, store): (Vec<Ends>, &[Handing], Store),
    mut lodger: Option<Acceptor>,
    exits: &Sender<Exit>,
) -> Result<(), StartError> {
    let setting = Setting {
        shards: plan.shards,
        keys,
        limits: plan.limits.clone(),
        node: plan.node_name.as_str().into(),
        gauges: Arc::clone(gauges),
        process: Arc::clone(process),
        ledger: Arc::new(Ledger::new(keys)),
    };
    let requests: Vec<Mailbox<ToOwner>> = mesh(wakes, LANE_CAPACITY);
    let edges: Vec<Mailbox<ToEdge>> = mesh(wakes, LANE_CAPACITY);
    let mail = requests.into_iter().zip(edges);
    let homes = handed.iter().zip(wakes);
    let homes = homes.map(|((lane, _), wake)| Home { lane: lane.clone(), wake: Arc::clone(wake) });
    let Store { mut restored, inbox_floor, outlets } = store;
    let mut outlets = outlets.into_iter();
    for ((id, Ends { intake, control, outside }), (requests, edges)) in (0..).map(ShardId).zip(ends).zip(mail)
    {
        let mut shard = Shard::new(id, &setting, keys.hash(&("jitter", id)), clock.now());
        shard.handle_papers(Arc::clone(papers));
        shard.restore_inbox_floor(inbox_floor);
        for topic in restored.get_mut(id.index()).map(std::mem::take).into_iter().flatten() {
            shard.restore(topic);
        }
        let parts = Parts {
            shard,
            id,
            shards: plan.shards,
            clock,
            wake: Arc::clone(&wakes[id.index()]),
            requests,
            edges,
            intake,
            handed: handed[id.index()].1.clone(),
            homes: homes.clone().collect(),
            control,
            outside,
            outlet: outlets.next(),
        };
        let reactor = Reactor::new(parts, lodger.take())
            .map_err(|cause| StartError::System { what: "make a poll", cause })?;
        spawn(format!("{SHARD_THREAD}{id}"), exits.clone(), move || reactor.run())?;
    }
    Ok(())
}

/// What the shards get of the store; nothing if there is none.
#[derive(Default)]
struct Store {
    /// By shard: the topics that it owns.
    restored: Vec<Vec<Restored>>,
    /// As in [`Image`].
    inbox_floor: u64,
    /// By shard.
    outlets: Vec<Outlet>,
}

/// Reads what a former process has left, and starts the thread that writes.
fn open_store(
    plan: &Plan,
    keys: Keys,
    wakes: &[Arc<Wake>],
    exits: &Sender<Exit>,
) -> Result<Store, StartError> {
    let Some(folder) = &plan.data_dir else { return Ok(Store::default()) };
    let mut named = 0;
    let fresh_epoch = || {
        named += 1;
        owner::epoch(keys, ShardId(u16::MAX), named)
    };
    let holds = plan.limits.durability == Durability::Sync;
    let (disk, Image { topics, inbox_floor }) =
        Disk::open(folder, holds, keys, fresh_epoch).map_err(StartError::Store)?;
    tracing::info!(folder = %folder.display(), topics = topics.len(), "read what was kept");
    let mut restored: Vec<Vec<Restored>> = wakes.iter().map(|_| Vec::new()).collect();
    for topic in topics {
        restored[placement::owner(topic.topic.hash(), plan.shards).index()].push(topic);
    }
    let gather = if holds { Duration::ZERO } else { ASYNC_GATHER };
    let (writer, outlets) = writer::new(disk, wakes, gather);
    spawn(STORE_THREAD.to_owned(), exits.clone(), move || writer.run().map_err(io::Error::other))?;
    Ok(Store { restored, inbox_floor, outlets })
}

fn admission(plan: &Plan, keys: Keys, (process, gauges): (&Arc<Gauges>, &Arc<[Gauges]>)) -> Arc<Admission> {
    let caps = Caps {
        connections_max: u32::try_from(plan.max_connections).unwrap_or(u32::MAX),
        per_address: plan.max_connections_per_address,
        handshake_rate: plan.handshake_rate,
        ban_time: plan.ban_time,
        memory_max: plan.limits.memory,
    };
    Admission::new(caps, keys, Arc::clone(process), Arc::clone(gauges))
}

fn acceptor(
    plan: &Plan,
    clock: Clock,
    listeners: Vec<Listener>,
    shards: &[Running],
    wakes: &[Arc<Wake>],
    admission: &Arc<Admission>,
) -> io::Result<Acceptor> {
    let doors = shards.iter().zip(wakes);
    let doors =
        doors.map(|(shard, wake)| Door { lane: shard.intake.clone(), wake: Arc::clone(wake) }).collect();
    let proxies = Proxies { trusted: plan.limits.trusted.clone(), header: plan.proxy_protocol };
    Acceptor::new(listeners, doors, Arc::clone(admission), proxies, &plan.limits.headers, clock)
}

/// Starts a thread that tells when and how it ended, also by a panic.
fn spawn(
    name: String,
    exits: Sender<Exit>,
    body: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), StartError> {
    let run = {
        let thread = name.clone();
        move || {
            let end = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(panic) => Err(format!("panic: {}", panic_text(&*panic))),
            };
            // Nobody listens any more when the process is ending anyway.
            let _ = exits.send(Exit { thread, end });
        }
    };
    let started = thread::Builder::new().name(name).spawn(run);
    started.map(drop).map_err(|cause| StartError::System { what: "start a thread", cause })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("of unknown cause")
}

/// Waits for the end: for the signal that begins it, then for the shards, at most as long as the drain may take.
fn wait(
    plan: &Plan,
    (signals, reloads): (signals::Signals, &[Reload]),
    door: &Entrance,
    shards: &[Running],
    wakes: &[Arc<Wake>],
    mut feeds: Feeds,
    exits: &Receiver<Exit>,
) -> Ended {
    let (caught, wanted) = unbounded();
    let handle = signals.handle();
    thread::spawn(move || {
        for signal in signals {
            if caught.send(signal).is_err() {
                return;
            }
        }
    });
    let mut deadline = never();
    let mut shards_left = shards.len();
    let mut store_left = plan.data_dir.is_some();
    let ended = loop {
        select! {
            recv(wanted) -> signal => match signal {
                Ok(Wanted::Reload) => reload_all(reloads),
                Ok(Wanted::Drain) => {
                    tracing::info!(timeout = ?plan.drain_timeout, "draining");
                    door.admission.close();
                    // What is left of the time is for close frames, and for those who do not answer them.
                    drain(plan.limits.drain_window.min(plan.drain_timeout / 2), true, shards, wakes);
                    feeds.stop();
                    deadline = after(plan.drain_timeout);
                }
                Ok(Wanted::Leave) => {
                    tracing::info!("sending all clients away, letting no new ones in");
                    drain(plan.limits.drain_window, false, shards, wakes);
                }
                Ok(Wanted::Now) | Err(_) => break Ended::AtOnce,
            },
            recv(exits) -> exit => {
                let Ok(Exit { thread, end }) = exit else { break Ended::Drained };
                if let Err(cause) = end {
                    fail(&thread, &cause);
                }
                // Without a store there is none to wait for; with one it ends after the last shard.
                store_left &= thread != STORE_THREAD;
                shards_left -= usize::from(thread.starts_with(SHARD_THREAD));
                if shards_left == 0 && !store_left {
                    break Ended::Drained;
                }
            },
            recv(deadline) -> _ => {
                tracing::warn!("drain timeout: closing what is left");
                break Ended::Drained;
            }
        }
    };
    if let Err(error) = door.stop.stop() {
        tracing::warn!(%error, "cannot wake the acceptor");
    }
    feeds.end();
    handle.close();
    tracing::info!("stopped");
    ended
}

fn drain(window: Duration, last: bool, shards: &[Running], wakes: &[Arc<Wake>]) {
    for (shard, wake) in shards.iter().zip(wakes) {
        // A shard that has ended needs no order.
        let _ = shard.control.send(Control::Drain { window, last });
        wake.notify();
    }
}

/// A part of the server is gone, and with it connections that nobody serves: end, so that it is started again.
fn fail(thread: &str, cause: &str) -> ! {
    tracing::error!(thread, cause, "a thread of the server has failed; ending the process");
    std::process::exit(EXIT_SOFTWARE)
}
