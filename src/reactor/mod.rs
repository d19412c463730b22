//! The mio loop around one shard: poll, read under budget, feed, end the turn, write, sleep.
//!
//! Beside the acceptor the only place that reads a clock and does socket calls while the server runs. Knows sockets
//! and mail, but neither protocol nor topics. A socket is registered once to be read, and a second time, for both
//! directions, when it is full for the first time. A read that fills less than the buffer has drained it (epoll,
//! edge-triggered), so a message costs one `recv` and one `send`.

mod alarm;
pub mod clock;
pub mod lodger;
mod process;
mod socket;
mod through;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::base::clock::Mono;
use crate::base::id::{Key, ShardId};
use crate::base::peer::Peer;
use crate::mailbox::{Mailbox, Wake};
use crate::reactor::alarm::Alarm;
use crate::reactor::clock::Clock;
use crate::reactor::lodger::{Lodger, Next};
use crate::reactor::socket::{Got, Socket, token};
use crate::reactor::through::Fronts;
use crate::shard::arrival::Arrival;
use crate::shard::barred::Barred;
use crate::shard::flush::SLICES_MAX;
use crate::shard::front::{Front, Terms};
use crate::shard::load::Turned;
use crate::shard::port::{Close, Move, Papers, ToEdge, ToOwner, Written};
use crate::shard::state::Shard;
use crate::shard::tls::Room;
use crate::store::writer::Outlet;

/// The one read buffer of a shard, and so what one connection may bring in one turn.
const READ_BYTES: usize = 256 << 10;
/// Bytes read in one turn after which the rest of the ready sockets wait for the next: some milliseconds of work.
const READ_BYTES_PER_TURN: usize = 4 << 20;
/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// Pieces of mail of one class taken in one turn.
const MAIL_PER_TURN: usize = 4096;
/// Sockets taken over from the acceptor in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// The waker's token; no connection has it: that would be the last slot of 2^32, in its last generation.
const WAKE: Token = Token(usize::MAX);
/// The alarm's, likewise.
const ALARM: Token = Token(usize::MAX - 1);
/// The lodger's token, likewise.
const LODGER: Token = Token(usize::MAX - 2);

/// What the server tells a running reactor.
#[derive(Clone, Debug)]
pub enum Control {
    /// Send the clients away in an orderly way.
    Drain {
        /// Over which that is spread.
        window: Duration,
        /// The reactor ends when all connections are gone; it goes on otherwise.
        last: bool,
    },
    /// Keys and rules were read anew.
    Papers(Papers),
}

/// What is kept with a socket as long as it is open.
pub trait Kept {
    /// The client is not where the socket comes from, but behind a proxy, at this address, and counts there.
    ///
    /// # Errors
    /// Why it may not.
    fn locate(&mut self, address: IpAddr, now: Mono) -> Result<(), Barred>;
    /// The connection was closed for what its client did, again and again.
    fn offend(&self, now: Mono);
}

/// A socket on its way to a shard.
#[derive(Debug)]
pub struct Accepted<T> {
    /// Nonblocking, not registered anywhere.
    pub stream: TcpStream,
    /// From where; none by a Unix socket, whose peers have no address.
    pub address: Option<SocketAddr>,
    /// What that means.
    pub peer: Peer,
    /// What its listener asks of it.
    pub terms: Terms,
    /// Kept as long as the connection, and dropped with it.
    pub kept: T,
}

/// A socket on its way from one shard to another, where its client has a session.
#[derive(Debug)]
pub struct Handed<T> {
    /// Not registered anywhere any more.
    stream: TcpStream,
    front: Option<Box<Front>>,
    kept: T,
    arrival: Box<Arrival>,
}

/// Where sockets are handed to another shard.
#[derive(Debug)]
pub struct Home<T> {
    /// As many as there are connections, at most.
    pub lane: Sender<Handed<T>>,
    /// Ends the sleep of who takes from it.
    pub wake: Arc<Wake>,
}

/// Everything that one reactor is given.
pub struct Parts<T> {
    /// The shard it drives.
    pub shard: Shard,
    /// Which one that is.
    pub id: ShardId,
    /// How many shards there are.
    pub shards: u16,
    /// The common clock.
    pub clock: Clock,
    /// Ends this reactor's sleep.
    pub wake: Arc<Wake>,
    /// Lanes to and from owners.
    pub requests: Mailbox<ToOwner>,
    /// Lanes to and from edges.
    pub edges: Mailbox<ToEdge>,
    /// Sockets from the acceptor.
    pub intake: Receiver<Accepted<T>>,
    /// Sockets from other shards.
    pub handed: Receiver<Handed<T>>,
    /// Where such are sent, by shard.
    pub homes: Vec<Home<T>>,
    /// Orders from the server.
    pub control: Receiver<Control>,
    /// Requests from threads that are no shards; none where there are no such threads.
    pub outside: Option<Receiver<ToOwner>>,
    /// To the store, if there is one.
    pub outlet: Option<Outlet>,
}

/// See the module's page. `T` is kept with each socket and dropped with it; `L` runs beside the shard, if anything
/// does.
pub struct Reactor<T, L> {
    parts: Parts<T>,
    poll: Poll,
    alarm: Alarm,
    /// When the last turn began.
    turned: Mono,
    /// By slot of the shard's slab.
    sockets: Vec<Option<Socket<T>>>,
    fronts: Fronts,
    /// Sockets to be read, and those that a budget cut short.
    ready: VecDeque<Key>,
    buffer: Vec<u8>,
    /// What came through TLS, before the shard is given it.
    plain: Vec<u8>,
    /// Where records are made; none before the first.
    room: Option<Box<Room>>,
    draining: bool,
    lodger: Option<L>,
    /// When the lodger is to be asked, though it may not ring; none = only then.
    lodger_due: Option<Mono>,
    /// Other threads may have put something into a lane since it was looked into last.
    news: bool,
}

impl<T: Kept, L: Lodger> Reactor<T, L> {
    /// A reactor that has not begun.
    ///
    /// # Errors
    /// If the kernel gives no poll or no waker.
    pub fn new(parts: Parts<T>, lodger: Option<L>) -> io::Result<Reactor<T, L>> {
        let poll = Poll::new()?;
        parts.wake.arm(mio::Waker::new(poll.registry(), WAKE)?);
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let (sockets, ready, buffer) = (Vec::new(), VecDeque::new(), vec![0; READ_BYTES]);
        if let Some(lodger) = &lodger {
            lodger.move_in(poll.registry(), LODGER)?;
        }
        let (turned, draining) = (Mono(0), false);
        // What happened before it moved in does not ring.
        let lodger_due = lodger.as_ref().map(|_| turned);
        let (plain, room) = (Vec::new(), None);
        Ok(Reactor {
            parts,
            poll,
            alarm,
            turned,
            sockets,
            fronts: Fronts::default(),
            ready,
            buffer,
            plain,
            room,
            draining,
            lodger,
            lodger_due,
            news: false,
        })
    }

    /// Runs until it was told to drain for the last time and all connections are gone.
    ///
    /// # Errors
    /// If the kernel's poll fails.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            self.sleep(&mut events)?;
            let now = self.parts.clock.now();
            self.turned = now.mono;
            self.parts.shard.begin_turn(now);
            if self.news {
                self.take_orders();
                self.take_sockets();
                self.take_mail();
                self.take_outside();
            }
            self.weigh_mail();
            self.take_events(&events);
            self.ask_lodger()?;
            // After the events: who comes back gets the key of the socket that it replaces, whose events are not its.
            if self.news {
                self.take_handed();
            }
            self.move_sockets();
            self.read_ready();
            self.locate_clients();
            if self.parts.shard.wants_process() {
                self.parts.shard.handle_process(process::read());
            }
            self.parts.shard.handle_timers();
            self.parts.shard.work();
            self.move_sockets();
            self.flush();
            self.move_sockets();
            self.reap();
            self.send_mail();
            self.parts.shard.end_turn();
            if let Some(turned) = self.parts.shard.handle_turned(self.parts.clock.mono()) {
                report(self.parts.id, turned);
            }
            if self.draining && self.parts.shard.is_empty() {
                return Ok(());
            }
        }
    }

    fn sleep(&mut self, events: &mut Events) -> io::Result<()> {
        let due = if self.ready.is_empty() {
            Mono::earlier(self.parts.shard.poll_due(), self.lodger_due)
        } else {
            Some(self.turned)
        };
        let sleeps = due.is_none_or(|due| due > self.turned) && self.prepare_sleep();
        let timeout = if sleeps {
            due.and_then(|due| self.alarm.set(due, || self.parts.clock.mono()))
        } else {
            Some(Duration::ZERO)
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.news = self.parts.wake.awoke() || !sleeps;
        Ok(())
    }

    /// Announces sleep; false if something came meanwhile.
    fn prepare_sleep(&mut self) -> bool {
        let Parts { shard, wake, requests, edges, intake, handed, control, outside, outlet, .. } =
            &mut self.parts;
        wake.prepare_sleep(|| {
            let room = requests.regained_room() | edges.regained_room();
            // Mail that the shard does not take now is no reason to turn: what it waits for is.
            room || (requests.has_mail() && shard.takes_requests())
                || (edges.has_mail() && shard.takes_edge_mail())
                || !intake.is_empty()
                || !handed.is_empty()
                || !control.is_empty()
                || outside.as_ref().is_some_and(|lane| !lane.is_empty() && shard.takes_requests())
                || outlet.as_ref().is_some_and(Outlet::has_news)
        })
    }

    fn take_orders(&mut self) {
        while let Some(order) = take(&self.parts.control) {
            match order {
                Control::Drain { window, last } => {
                    self.draining |= last;
                    self.parts.shard.handle_drain(window, self.draining);
                }
                Control::Papers(papers) => self.parts.shard.handle_papers(papers),
            }
        }
    }

    fn take_sockets(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(Accepted { mut stream, address, peer, terms, kept }) = take(&self.parts.intake) else {
                return;
            };
            let front = match Front::new(&terms) {
                Ok(front) => front,
                Err(error) => {
                    tracing::warn!(%error, "cannot begin TLS");
                    continue;
                }
            };
            let key = self.parts.shard.handle_open(peer);
            if let Err(error) = self.poll.registry().register(&mut stream, token(key), Interest::READABLE) {
                tracing::warn!(%error, "cannot watch an accepted socket");
                self.parts.shard.handle_reset(key);
                continue;
            }
            self.place(key, Socket::new(key.generation, stream, front.is_some(), kept));
            self.fronts.put(key.slot, front);
            tracing::debug!(peer = ?address, shard = %self.parts.id, slot = key.slot, "connection opened");
        }
        // Those that are left are looked at before the next sleep.
    }

    /// Puts the socket of `key`, which is on the ready list from now on, where it is found.
    fn place(&mut self, key: Key, socket: Socket<T>) {
        let slot = key.slot as usize;
        if self.sockets.len() <= slot {
            self.sockets.resize_with(slot + 1, || None);
        }
        self.sockets[slot] = Some(socket);
        self.ready.push_back(key);
    }

    /// Takes over sockets whose clients have their sessions here.
    fn take_handed(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(Handed { mut stream, front, kept, arrival }) = take(&self.parts.handed) else {
                return;
            };
            if self.draining {
                continue;
            }
            let key = self.parts.shard.handle_arrival(*arrival);
            if let Err(error) = self.poll.registry().register(&mut stream, token(key), Interest::READABLE) {
                tracing::warn!(%error, "cannot watch a socket of another shard");
                self.parts.shard.handle_reset(key);
                continue;
            }
            self.place(key, Socket::new(key.generation, stream, front.is_some(), kept));
            self.fronts.put(key.slot, front);
            self.watch_unsent(key);
            self.move_sockets();
        }
    }

    /// Sockets change hands where sessions are resumed or lose their clients.
    #[inline]
    fn move_sockets(&mut self) {
        if self.parts.shard.has_moves() {
            self.move_all();
        }
    }

    #[cold]
    fn move_all(&mut self) {
        while let Some((from, to)) = self.parts.shard.poll_move() {
            self.move_socket(from, to);
        }
    }

    fn move_socket(&mut self, from: Key, to: Move) {
        let known = find(&mut self.sockets, from).is_some();
        let Some(mut socket) =
            self.sockets.get_mut(from.slot as usize).filter(|_| known).and_then(Option::take)
        else {
            return;
        };
        match to {
            Move::To(key) => {
                let front = self.fronts.take(from.slot);
                self.fronts.put(key.slot, front);
                socket.generation = key.generation;
                // It is looked at in any case, as what it was on the ready list for has another key now.
                (socket.readable, socket.queued) = (true, true);
                let watched = socket.watch_as(key, self.poll.registry());
                self.place(key, socket);
                if let Err(error) = watched {
                    tracing::warn!(%error, "cannot watch a socket that changes hands");
                    self.parts.shard.handle_reset(key);
                }
            }
            Move::Shard(shard, arrival) => {
                let front = self.fronts.take(from.slot);
                let (mut stream, kept) = socket.into_parts();
                if let Err(error) = self.poll.registry().deregister(&mut stream) {
                    tracing::warn!(%error, "cannot give a socket away");
                    return;
                }
                let home = &self.parts.homes[shard.index()];
                // A shard that has ended takes nothing, and the process ends.
                let _ = home.lane.send(Handed { stream, front, kept, arrival });
                home.wake.notify();
            }
        }
    }

    /// Lets the lodger do what is due, and takes over at once what it accepted.
    fn ask_lodger(&mut self) -> io::Result<()> {
        let Some(lodger) =
            self.lodger.as_mut().filter(|_| self.lodger_due.is_some_and(|due| due <= self.turned))
        else {
            return Ok(());
        };
        match lodger.step()? {
            Next::Within(time) => self.lodger_due = time.map(|time| self.turned + time),
            Next::Over => (self.lodger, self.lodger_due) = (None, None),
        }
        self.take_sockets();
        Ok(())
    }

    fn weigh_mail(&mut self) {
        let Parts { shard, requests, edges, .. } = &mut self.parts;
        shard.handle_mail_age(requests.age(self.turned).max(edges.age(self.turned)));
    }

    fn take_outside(&mut self) {
        let Parts { shard, outside, .. } = &mut self.parts;
        let Some(outside) = outside else { return };
        // At most what the lane holds: who fills it again meanwhile waits for the next turn.
        for _ in 0..outside.len() {
            if !shard.takes_requests() {
                break;
            }
            let Some(request) = take(outside) else { break };
            shard.handle_request(request);
        }
    }

    fn take_mail(&mut self) {
        let Parts { shard, requests, edges, outlet, .. } = &mut self.parts;
        for _ in 0..outlet.as_mut().map_or(0, Outlet::take_news) {
            shard.handle_stored();
        }
        for _ in 0..MAIL_PER_TURN {
            if !shard.takes_edge_mail() {
                break;
            }
            let Some((_, mail)) = edges.receive_any() else { break };
            shard.handle_edge_mail(mail);
        }
        for _ in 0..MAIL_PER_TURN {
            if !shard.takes_requests() {
                break;
            }
            let Some((_, request)) = requests.receive_any() else { break };
            shard.handle_request(request);
        }
    }

    fn take_events(&mut self, events: &Events) {
        for event in events {
            match event.token() {
                WAKE => continue,
                ALARM => {
                    self.alarm.rang();
                    continue;
                }
                LODGER => {
                    self.lodger_due = Some(self.turned);
                    continue;
                }
                _ => {}
            }
            let key = Key::from_bits(event.token().0 as u64);
            if event.is_writable() && self.flush_front(key) {
                self.parts.shard.handle_writable(key);
            }
            let ended = event.is_read_closed() || event.is_error();
            if let Some(socket) = find(&mut self.sockets, key)
                && (event.is_readable() || ended)
            {
                socket.readable = true;
                socket.ended |= ended;
                if !socket.queued {
                    socket.queued = true;
                    self.ready.push_back(key);
                }
            }
        }
        while let Some(key) = self.parts.shard.poll_resume() {
            if let Some(socket) = find(&mut self.sockets, key)
                && socket.readable
                && !socket.queued
            {
                socket.queued = true;
                self.ready.push_back(key);
            }
        }
    }

    /// Reads each ready socket once, as far as the turn's budget reaches. One that filled the buffer stays on the list,
    /// as no new edge will come; one whose input is held leaves it until the shard resumes it.
    fn read_ready(&mut self) {
        let mut budget = READ_BYTES_PER_TURN;
        for _ in 0..self.ready.len() {
            if budget == 0 {
                return;
            }
            let Some(key) = self.ready.pop_front() else { return };
            let takes = self.parts.shard.takes_input(key);
            let Some(socket) = find(&mut self.sockets, key) else { continue };
            socket.queued = false;
            if !takes {
                continue;
            }
            if socket.fronted {
                budget = budget.saturating_sub(self.read_through(key));
                continue;
            }
            let room = self.parts.shard.message_room(key);
            let placed = room.is_some();
            let got = socket.read(room.unwrap_or(&mut self.buffer));
            if placed {
                let count = if let Got::Bytes { count, .. } = got { count } else { 0 };
                self.parts.shard.handle_placed(key, count);
            }
            match got {
                Got::Bytes { count, drained } => {
                    budget = budget.saturating_sub(count);
                    socket.readable = !drained;
                    if !drained {
                        socket.queued = true;
                        self.ready.push_back(key);
                    }
                    if !placed {
                        self.parts.shard.handle_bytes(key, &mut self.buffer[..count]);
                    }
                    self.move_sockets();
                    if self.parts.shard.poll_reply(key) {
                        self.write(key);
                    }
                }
                Got::Nothing => socket.readable = false,
                Got::End => {
                    socket.readable = false;
                    self.parts.shard.handle_eof(key);
                    self.move_sockets();
                }
                Got::Broken => {
                    socket.readable = false;
                    self.parts.shard.handle_reset(key);
                    self.move_sockets();
                }
            }
        }
    }

    fn flush(&mut self) {
        while let Some(key) = self.parts.shard.poll_flush() {
            self.write(key);
        }
    }

    /// One write of what waits for `key`.
    fn write(&mut self, key: Key) {
        let Some(socket) = find(&mut self.sockets, key) else { return };
        let (written, offered) =
            if socket.fronted { self.write_through(key) } else { write(&self.parts.shard, key, socket) };
        let full = written == Written::Full || matches!(written, Written::Bytes(count) if count < offered);
        if full
            && let Some(socket) = find(&mut self.sockets, key)
            && let Err(error) = socket.watch_for_room(key, self.poll.registry())
        {
            tracing::warn!(%error, "cannot watch a socket that is full");
            self.parts.shard.handle_reset(key);
        }
        self.parts.shard.handle_written(key, written, offered);
    }

    fn reap(&mut self) {
        while let Some(key) = self.parts.shard.poll_offence() {
            if let Some(socket) = find(&mut self.sockets, key) {
                socket.kept().offend(self.turned);
            }
        }
        while let Some((key, close)) = self.parts.shard.poll_close() {
            // The shard has forgotten one that is dropped: by its slot, which nobody has yet.
            let Some(socket) = self.sockets.get_mut(key.slot as usize).and_then(Option::as_mut) else {
                continue;
            };
            if socket.fronted {
                self.say_goodbye(key);
            }
            match close {
                // Closing the descriptor takes it out of the poll as well.
                Close::Drop => {
                    self.fronts.take(key.slot);
                    self.sockets[key.slot as usize] = None;
                }
                Close::Shutdown => {
                    if let Some(socket) = find(&mut self.sockets, key) {
                        socket.shutdown();
                    }
                }
            }
        }
    }

    fn send_mail(&mut self) {
        let Parts { shard, id, shards, requests, edges, outlet, .. } = &mut self.parts;
        if let Some(outlet) = outlet
            && let Some(entries) = shard.poll_journal()
        {
            outlet.send(entries);
        }
        for peer in (0..*shards).map(ShardId).filter(|peer| peer != id) {
            hand_over(shard.edge_mail_for(peer), edges, peer);
            hand_over(shard.requests_for(peer), requests, peer);
        }
        // When the turn began: mail is as old as what it tells of.
        edges.stamp(self.turned);
        requests.stamp(self.turned);
        edges.flush_wakes();
        requests.flush_wakes();
    }
}

/// Overload is said once when it begins and once when it ends.
#[cold]
fn report(shard: ShardId, turned: Turned) {
    match turned {
        Turned::Over => tracing::warn!(%shard, "overloaded: the heaviest publishers are not read from"),
        Turned::Relieved => tracing::info!(%shard, "overloaded no more"),
    }
}

/// The next value, if there is one: mostly there is none, which this finds without the fence that a try passes.
fn take<V>(lane: &Receiver<V>) -> Option<V> {
    if lane.is_empty() { None } else { lane.try_recv().ok() }
}

/// The socket of a connection; a stale key finds nothing.
fn find<T>(sockets: &mut [Option<Socket<T>>], key: Key) -> Option<&mut Socket<T>> {
    sockets.get_mut(key.slot as usize)?.as_mut().filter(|socket| socket.generation == key.generation)
}

/// One write of what waits for `key`; returns how it went, and how many bytes were offered.
fn write<T>(shard: &Shard, key: Key, socket: &mut Socket<T>) -> (Written, usize) {
    // Most connections are owed one frame, and to lay out many costs more than to find that out.
    let mut few = [IoSlice::new(&[]); 2];
    let out = shard.outgoing(key, &mut few);
    if (out.used as usize) < few.len() {
        return (socket.write(&few[..out.used as usize], out.is_last), out.bytes);
    }
    let mut many = [IoSlice::new(&[]); SLICES_MAX];
    let out = shard.outgoing(key, &mut many);
    (socket.write(&many[..out.used as usize], false), out.bytes)
}

/// Moves mail into the lane until that is full; the rest stays in order.
fn hand_over<M>(mail: &mut VecDeque<M>, lanes: &mut Mailbox<M>, peer: ShardId) {
    while let Some(first) = mail.pop_front() {
        if let Err(refused) = lanes.send(peer, first) {
            mail.push_front(refused);
            return;
        }
    }
}
