//! Accepts: admits or refuses, and hands each socket to the shard with the fewest connections.
//!
//! Has a thread of its own, or lodges with the only shard, where two threads would only get in each other's way.
//! Reads and writes nothing on a socket that it hands on; knows no HTTP beyond the answer to the refused. It
//! never spins: where accepting fails for want of file descriptors or memory, or no shard takes more, it
//! pauses, and the kernel's backlog holds who waits. mio reports edges, so a listener whose backlog was left
//! is remembered and tried again without an event.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use crate::base::clock::Mono;
use crate::base::id::ShardId;
use crate::base::network::Trusted;
use crate::base::peer::Peer;
use crate::mailbox::Wake;
use crate::metrics::table::ACCEPT_PAUSES;
use crate::reactor::Accepted;
use crate::reactor::clock::Clock;
use crate::reactor::lodger::{Lodger, Next};
use crate::server::admission::{Admission, Ticket};
use crate::server::linger::Lingering;
use crate::server::listener::Listener;
use crate::shard::front::Terms;

/// Sockets accepted from one listener before the others, the refused and the shards get their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Without descriptors or memory: so long until the next try. Short enough for a backlog of thousands.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
/// All shards are behind: they catch up within a turn or two.
const SHARDS_FULL_PAUSE: Duration = Duration::from_millis(5);
/// Exhaustion is logged again only after so long without any.
const EPISODE_GAP: Duration = Duration::from_secs(10);
/// Events of one poll; more come with the next.
const EVENTS_MAX: usize = 256;
/// `ENFILE` and `EMFILE` have the same numbers on Linux, macOS and the BSDs.
const OUT_OF_DESCRIPTORS: [i32; 2] = [23, 24];
/// The waker's token; listeners count up from zero and refused sockets from behind them.
const WAKER: Token = Token(usize::MAX);

/// Who may speak for others.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// These.
    pub trusted: Trusted,
    /// Nobody else may connect, and each says first for whom it speaks (the PROXY protocol).
    pub header: bool,
}

/// Where one shard takes connections in.
#[derive(Clone, Debug)]
pub struct Door {
    /// Bounded; the acceptor is the only one to send.
    pub lane: Sender<Accepted<Ticket>>,
    /// Notified once for all sockets of a turn.
    pub wake: Arc<Wake>,
}

/// Ends an acceptor from another thread.
#[derive(Clone, Debug)]
pub struct Stop {
    wanted: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Stop {
    /// The acceptor closes its listeners and returns from [`Acceptor::run`]; does not wait for it.
    ///
    /// # Errors
    /// If the system cannot wake the thread; it stops at the next connection then.
    pub fn stop(&self) -> io::Result<()> {
        self.wanted.store(true, Ordering::Release);
        self.waker.wake()
    }
}

/// All listeners and what is needed to place a connection.
#[derive(Debug)]
pub struct Acceptor {
    poll: Poll,
    events: Events,
    listeners: Vec<Backlog>,
    doors: Vec<Door>,
    /// By door: something was sent in this turn.
    touched: Vec<bool>,
    admission: Arc<Admission>,
    proxies: Proxies,
    lingering: Lingering,
    stop: Stop,
    clock: Clock,
    /// Nothing is accepted before.
    paused_until: Mono,
    /// When descriptors or memory were last missing.
    exhausted_at: Option<Mono>,
}

/// A listener, and whether connections may wait there that no event will tell of.
#[derive(Debug)]
struct Backlog {
    listener: Listener,
    waiting: bool,
}

/// How a listener's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Halt {
    /// Nobody waits.
    Drained,
    /// The budget is used up.
    Budget,
    /// Nothing can be accepted for a while.
    Pause(Duration),
}

impl Acceptor {
    /// Prepares to accept; the kernel queues connections from [`crate::server::listener::bind`] on. `headers`: lines
    /// that refusals get, each with its line end. `clock` is that of the shards.
    ///
    /// # Errors
    /// If the system gives no poll or waker.
    ///
    /// # Panics
    /// If there are no doors.
    pub fn new(
        listeners: Vec<Listener>,
        doors: Vec<Door>,
        admission: Arc<Admission>,
        proxies: Proxies,
        headers: &[u8],
        clock: Clock,
    ) -> io::Result<Acceptor> {
        assert!(!doors.is_empty(), "somebody has to take the connections");
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let first_token = listeners.len();
        let mut backlogs = Vec::with_capacity(first_token);
        for (index, mut listener) in listeners.into_iter().enumerate() {
            poll.registry().register(listener.source(), Token(index), Interest::READABLE)?;
            backlogs.push(Backlog { listener, waiting: true });
        }
        Ok(Acceptor {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            listeners: backlogs,
            touched: vec![false; doors.len()],
            doors,
            admission,
            proxies,
            lingering: Lingering::new(first_token, headers),
            stop: Stop { wanted: Arc::new(AtomicBool::new(false)), waker },
            clock,
            paused_until: Mono(0),
            exhausted_at: None,
        })
    }

    /// The way to end it.
    #[must_use]
    pub fn stopper(&self) -> Stop {
        self.stop.clone()
    }

    /// Accepts until stopped. The listeners are closed when this returns.
    ///
    /// # Errors
    /// If the poll itself fails, which leaves nothing to go on with.
    pub fn run(mut self) -> io::Result<()> {
        let mut next = Next::Within(Some(Duration::ZERO));
        while let Next::Within(sleep) = next {
            next = self.step_within(sleep)?;
        }
        Ok(())
    }

    /// Waits at most `sleep` for something to do, and does it. Returns how long nothing is to be done then.
    fn step_within(&mut self, sleep: Option<Duration>) -> io::Result<Next> {
        match self.poll.poll(&mut self.events, sleep) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        if self.stop.wanted.load(Ordering::Acquire) {
            return Ok(Next::Over);
        }
        for event in &self.events {
            match self.listeners.get_mut(event.token().0) {
                Some(backlog) => backlog.waiting = true,
                None => self.lingering.readable(event.token(), self.poll.registry()),
            }
        }
        let now = self.clock.mono();
        self.turn(now);
        self.lingering.expire(now, self.poll.registry());
        // More may be ready than was taken, of which a poll that watches this one is not told again.
        let more = self.events.iter().count() >= EVENTS_MAX;
        Ok(Next::Within(if more { Some(Duration::ZERO) } else { self.sleep(now) }))
    }

    /// How long nothing is to be done without an event; none = forever.
    fn sleep(&self, now: Mono) -> Option<Duration> {
        let retry = self.listeners.iter().any(|backlog| backlog.waiting).then_some(self.paused_until);
        let next = Mono::earlier(retry, self.lingering.next_deadline())?;
        Some(next.since(now))
    }

    /// Accepts from every listener where somebody may wait, then wakes the shards that got something.
    fn turn(&mut self, now: Mono) {
        for index in 0..self.listeners.len() {
            if now < self.paused_until {
                break;
            }
            if !self.listeners[index].waiting {
                continue;
            }
            match self.accept_some(index, now) {
                Halt::Drained => self.listeners[index].waiting = false,
                Halt::Budget => {}
                Halt::Pause(pause) => self.paused_until = now + pause,
            }
        }
        for (door, touched) in self.doors.iter().zip(&mut self.touched) {
            if std::mem::take(touched) {
                door.wake.notify();
            }
        }
    }

    fn accept_some(&mut self, index: usize, now: Mono) -> Halt {
        for _ in 0..ACCEPTS_PER_TURN {
            // Chosen first: a socket that nobody has room for stays in the kernel's backlog.
            let Some(door) = self.choose() else {
                self.admission.count(const { ACCEPT_PAUSES.of("shards") });
                return Halt::Pause(SHARDS_FULL_PAUSE);
            };
            match self.listeners[index].listener.accept() {
                Ok((stream, peer)) => self.place(index, stream, peer, door, now),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Halt::Drained,
                    kind if is_about_one_connection(kind) => {}
                    _ => {
                        self.report(&error, now);
                        self.admission.count(const { ACCEPT_PAUSES.of("descriptors") });
                        return Halt::Pause(EXHAUSTED_PAUSE);
                    }
                },
            }
        }
        Halt::Budget
    }

    /// The shard with the fewest connections among those that have room for one more.
    fn choose(&self) -> Option<ShardId> {
        let with_room = (0..).map(ShardId).zip(&self.doors).filter(|(_, door)| !door.lane.is_full());
        with_room.map(|(shard, _)| shard).min_by_key(|&shard| self.admission.load(shard))
    }

    fn place(
        &mut self,
        index: usize,
        stream: TcpStream,
        peer: Option<SocketAddr>,
        shard: ShardId,
        now: Mono,
    ) {
        let certs = self.listeners[index].listener.certs.as_ref();
        let address = peer.map(|peer| peer.ip());
        let trusted = self.proxies.trusted.covers(address);
        if self.proxies.header && !trusted {
            tracing::debug!(?peer, "refused: only trusted proxies may come here");
            return;
        }
        // Clients of proxies are counted where they are, once that is known.
        let near = address.filter(|_| !trusted);
        match self.admission.admit(near, now) {
            Err(why) => self.lingering.refuse(stream, why, certs.is_some(), now, self.poll.registry()),
            Ok(mut ticket) => {
                ticket.assign(shard);
                let terms = Terms { tls: certs.map(|certs| certs.current()), proxy: self.proxies.header };
                let near = address.map_or(Peer::Loopback, Peer::of);
                let near = if trusted { near.as_proxy() } else { near };
                let accepted = Accepted { stream, address: peer, peer: near, terms, kept: ticket };
                // There was room, and nobody else sends. If the shard has ended, dropping closes the socket.
                let _ = self.doors[shard.index()].lane.try_send(accepted);
                self.touched[shard.index()] = true;
            }
        }
    }

    /// Says once per episode that nothing can be accepted, and what to do.
    fn report(&mut self, error: &io::Error, now: Mono) {
        let quiet = self.exhausted_at.is_none_or(|last| now.since(last) >= EPISODE_GAP);
        self.exhausted_at = Some(now);
        if !quiet {
            return;
        }
        let open = self.admission.open();
        if error.raw_os_error().is_some_and(|code| OUT_OF_DESCRIPTORS.contains(&code)) {
            tracing::warn!(%error, open, "out of file descriptors, connections wait: raise `ulimit -n`");
        } else {
            tracing::warn!(%error, open, "cannot accept, connections wait");
        }
    }
}

impl Lodger for Acceptor {
    #[cfg(unix)]
    fn move_in(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.poll.as_raw_fd()), token, Interest::READABLE)
    }

    #[cfg(not(unix))]
    fn move_in(&self, _: &Registry, _: Token) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn step(&mut self) -> io::Result<Next> {
        self.step_within(Some(Duration::ZERO))
    }
}

/// Whether a failed accept says something about the connection that would have been next, not about us.
/// accept(2) passes on what already went wrong with it; there is no reason to pause.
fn is_about_one_connection(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Interrupted
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            // A firewall rule forbids it.
            | ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests;
