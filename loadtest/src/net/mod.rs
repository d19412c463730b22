//! The connections of one thread: opens them, reads frames in place, writes once for each connection and turn.
//!
//! Knows no scenario: a [`Play`] is told what happens and says what to send. One `recv` for each readable event
//! (a short read means that the socket is drained), one buffer for all connections; only an unfinished frame's
//! rest is kept by its connection.

mod stream;
mod link;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use crate::clock::{Clock, MILLI, Nanos, SECOND};
use crate::control::Phase;
use crate::frame::{self, Front};
use crate::target;
use crate::tls::Secure;
use crate::words::Greeting;

use link::{GENERATION_MASK, Link, State, from_token, start, token};
use stream::Stream;

/// Bytes that one `recv` can bring; a fast server may be far ahead.
const BUFFER_BYTES: usize = 512 << 10;
/// Events taken at once.
const EVENTS: usize = 1024;
/// A thread looks at the phase at least so often.
const SLEEP_MAX: Nanos = 50 * MILLI;
/// Empty buffers that are kept, and the largest one worth keeping.
const POOLED: usize = 1024;
const POOLED_BYTES_MAX: usize = 4 << 20;
/// Attempts at a port before a source address counts as having none.
const PORT_ATTEMPTS: usize = 4;
/// Receive buffer of a connection that is not read.
const PAUSED_RECEIVE_BYTES: usize = 4 << 10;
/// The same once it is read again; the kernel takes less where it allows less. With a small one what waits would come
/// as seldom as the server's kernel asks whether there is room, and that is after half a minute at last.
const RESUMED_RECEIVE_BYTES: usize = 1 << 20;

const WAKE: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It never came to be: no connection, or no WebSocket.
    Failed(String),
    /// A close frame was exchanged; the server's code, or 1005 for none.
    Closed(u16),
    /// The other side hung up without one, or broke the protocol.
    Lost(String),
    /// We dropped it.
    Dropped,
}

/// A scenario, as one thread plays it.
pub trait Play: Send {
    /// What a thread brings home.
    type Harvest: Send;

    /// A phase has begun.
    fn enter(&mut self, phase: Phase, net: &mut Net);
    /// The WebSocket is open.
    fn opened(&mut self, at: usize, net: &mut Net);
    /// A message has come, as of `net.now`.
    fn message(&mut self, at: usize, payload: &[u8], net: &mut Net);
    /// The connection is gone.
    fn closed(&mut self, at: usize, end: &End, net: &mut Net);
    /// All events of a turn were told; here messages that are due are sent. Returns when to come again.
    fn turn(&mut self, net: &mut Net) -> Option<Nanos>;
    /// Whether this thread is done with the phase.
    fn settled(&self, phase: Phase) -> bool;
    /// Messages sent and received so far.
    fn counts(&self) -> (u64, u64);
    /// The run is over.
    fn harvest(self, net: &Net) -> Self::Harvest;
}

/// Counts of what happened below the messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// `recv` calls.
    pub reads: u64,
    /// `send` calls.
    pub writes: u64,
    /// Most bytes that waited at once for sockets that took no more.
    pub queued_bytes_max: usize,
}

/// What all connections of a run have in common.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Where to connect.
    pub address: SocketAddr,
    /// From where; empty = the kernel chooses.
    pub sources: Vec<IpAddr>,
    /// The requests that open a WebSocket: one, or one for each room.
    pub requests: Vec<Vec<u8>>,
    /// With TLS.
    pub secure: Option<Secure>,
    /// What is exchanged before a connection counts as open.
    pub greeting: Vec<Greeting>,
    /// The server's own ping and its answer; none if it is empty.
    pub ping: (String, String),
    /// Opcode of every message that a scenario is told of: binary where that is sent, else text.
    pub opcode: u8,
    /// Bytes of the longest message that can come. More is refused before there is a buffer for it.
    pub message_bytes_max: usize,
    /// Masks all frames of the run. Never zero, so that a server has to unmask.
    pub key: [u8; 4],
}

/// The connections of one thread.
#[derive(Debug)]
pub struct Net {
    poll: Poll,
    events: Events,
    timer: OwnedFd,
    clock: Clock,
    dial: Dial,
    /// Which request each connection sends; the first where there is none.
    routes: Vec<u32>,
    links: Vec<Link>,
    /// When the timer will fire.
    armed: Nanos,
    buffer: Vec<u8>,
    pool: Vec<Vec<u8>>,
    dirty: Vec<u32>,
    behind: Vec<u32>,
    /// When the events that are being told were read.
    pub now: Nanos,
    /// Connections that are open now.
    pub open: usize,
    /// Connections that are on their way to be open.
    pub opening: usize,
    /// Bytes that wait for sockets that take no more.
    pub queued_bytes: usize,
    /// For the self-audit.
    pub work: Work,
}

impl Net {
    /// `places` connections, none of them open.
    ///
    /// # Errors
    /// The kernel gives no epoll or no timer.
    pub fn new(places: usize, dial: Dial, clock: Clock) -> io::Result<(Net, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let timer = rustix::time::timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let net = Net {
            poll,
            events: Events::with_capacity(EVENTS),
            timer,
            clock,
            dial,
            routes: Vec::new(),
            armed: 0,
            links: (0..places).map(|_| Link::new()).collect(),
            buffer: vec![0; BUFFER_BYTES],
            pool: Vec::new(),
            dirty: Vec::new(),
            behind: Vec::new(),
            now: clock.now(),
            open: 0,
            opening: 0,
            queued_bytes: 0,
            work: Work::default(),
        };
        Ok((net, waker))
    }

    /// The mask of this run's frames.
    #[must_use]
    pub fn key(&self) -> [u8; 4] {
        self.dial.key
    }

    /// Connection `at` is to ask for `room`, where the server has a path for each.
    pub fn route(&mut self, at: usize, room: u32) {
        if self.dial.requests.len() > 1 {
            self.routes.resize(self.links.len(), 0);
            self.routes[at] = room;
        }
    }

    /// Reads the clock.
    #[must_use]
    pub fn clock_now(&self) -> Nanos {
        self.clock.now()
    }

    /// Begins to connect; [`Play::opened`] or [`Play::closed`] will tell.
    ///
    /// # Errors
    /// Not even that was possible: no descriptor, no port.
    pub fn connect(&mut self, at: usize) -> Result<(), String> {
        debug_assert_eq!(self.links[at].state, State::Gone, "a place holds one connection");
        let socket = self.dial(at).map_err(|error| error.to_string())?;
        let socket = TcpStream::from_std(socket);
        let mut stream = Stream::new(socket, self.dial.secure.as_ref()).map_err(|error| error.to_string())?;
        let link = &mut self.links[at];
        let token = token(at, link.generation);
        self.poll
            .registry()
            .register(&mut stream.socket, token, Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| error.to_string())?;
        *link = Link { generation: link.generation, state: State::Connecting, ..Link::new() };
        link.stream = Some(stream);
        self.opening += 1;
        Ok(())
    }

    fn dial(&mut self, at: usize) -> io::Result<std::net::TcpStream> {
        let generation = self.links[at].generation as usize;
        let mut last = None;
        for attempt in 0..PORT_ATTEMPTS.max(self.dial.sources.len()) {
            let source = match self.dial.sources.len() {
                0 => None,
                count => Some(self.dial.sources[(at + generation + attempt) % count]),
            };
            match start(self.dial.address, source) {
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => last = Some(error),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
    }

    /// Lets `write` append frames to what connection `at` is to send; nothing if it is not open.
    #[inline]
    pub fn send(&mut self, at: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let is_open = self.links[at].state == State::Open;
        if is_open {
            self.push(at, write);
        }
        is_open
    }

    #[inline]
    fn push(&mut self, at: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let link = &mut self.links[at];
        if link.out.capacity() == 0 {
            link.out = self.pool.pop().unwrap_or_default();
        }
        let before = link.out.len();
        write(&mut link.out);
        self.queued_bytes += link.out.len() - before;
        if !link.is_dirty {
            link.is_dirty = true;
            self.dirty.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
    }

    /// Says goodbye; [`Play::closed`] will tell when the server has.
    pub fn close(&mut self, at: usize) {
        let key = self.dial.key;
        let close = 1000_u16.to_be_bytes();
        if self.send(at, |out| {
            frame::append(out, frame::CLOSE, &close, key);
        }) {
            self.links[at].state = State::Closing;
            self.open -= 1;
        }
    }

    /// Cuts the connection; nobody will tell. With a reset where `hard`, so that no port rests in TIME_WAIT.
    pub fn cut(&mut self, at: usize, hard: bool) {
        if hard && let Some(stream) = &self.links[at].stream {
            let _ = socket2::SockRef::from(&stream.socket).set_linger(Some(std::time::Duration::ZERO));
        }
        self.forget(at);
    }

    /// Stops or resumes reading from `at`. The kernel, too, is to take little in while nobody reads.
    pub fn pause(&mut self, at: usize, paused: bool) {
        self.links[at].paused = paused;
        let bytes = if paused { PAUSED_RECEIVE_BYTES } else { RESUMED_RECEIVE_BYTES };
        if let Some(stream) = &self.links[at].stream {
            let _ = socket2::SockRef::from(&stream.socket).set_recv_buffer_size(bytes);
        }
        if !paused && self.links[at].stream.is_some() {
            self.fall_behind(at);
        }
    }

    fn fall_behind(&mut self, at: usize) {
        if !self.links[at].is_behind {
            self.links[at].is_behind = true;
            self.behind.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
    }

    /// Sleeps until something happens or `due` has come, tells `play` of all that happened, writes what is owed.
    ///
    /// # Errors
    /// Waiting itself failed.
    pub fn turn<P: Play>(&mut self, play: &mut P, due: Option<Nanos>) -> io::Result<()> {
        let timeout = self.arm(due)?;
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.now = self.clock.now();
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            if event.token() == WAKE || event.token() == TIMER {
                continue;
            }
            let (at, generation) = from_token(event.token());
            if self.links.get(at).is_none_or(|link| link.generation != generation || link.stream.is_none()) {
                continue;
            }
            if event.is_writable() {
                self.writable(at, play);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.now = self.clock.now();
                self.readable(at, event.is_read_closed() || event.is_error(), play);
            }
            self.flush_one(at, play);
        }
        self.events = events;
        for at in std::mem::take(&mut self.behind) {
            let at = at as usize;
            self.links[at].is_behind = false;
            if self.links[at].stream.is_some() {
                self.readable(at, true, play);
            }
        }
        Ok(())
    }

    /// Writes what all connections owe.
    pub fn flush<P: Play>(&mut self, play: &mut P) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for at in dirty.drain(..) {
            self.flush_one(at as usize, play);
        }
        // What playing the end of a connection made dirty meanwhile.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
    }

    /// The timeout to poll with; the timer is armed where milliseconds are too coarse.
    fn arm(&mut self, due: Option<Nanos>) -> io::Result<Option<std::time::Duration>> {
        if !self.behind.is_empty() || !self.dirty.is_empty() {
            return Ok(Some(std::time::Duration::ZERO));
        }
        let sleep = std::time::Duration::from_nanos(SLEEP_MAX);
        let Some(due) = due else { return Ok(Some(sleep)) };
        let now = self.clock.now();
        if due <= now {
            return Ok(Some(std::time::Duration::ZERO));
        }
        // Most turns do not change what is due next.
        if due - now < SLEEP_MAX && self.armed != due {
            self.armed = due;
            let after = due - now;
            let it_value = Timespec {
                tv_sec: i64::try_from(after / SECOND).unwrap_or(0),
                tv_nsec: i64::try_from(after % SECOND).unwrap_or(0),
            };
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            rustix::time::timerfd_settime(
                &self.timer,
                TimerfdTimerFlags::empty(),
                &Itimerspec { it_interval, it_value },
            )?;
        }
        Ok(Some(sleep))
    }

    fn writable<P: Play>(&mut self, at: usize, play: &mut P) {
        let link = &mut self.links[at];
        link.writable = true;
        if link.state == State::Connecting {
            // Whether there is a connection, the first send will tell.
            link.state = State::Head;
            link.out = self.pool.pop().unwrap_or_default();
            let request = &self.dial.requests[self.routes.get(at).map_or(0, |route| *route as usize)];
            link.out.extend_from_slice(request);
            self.queued_bytes += request.len();
        }
        self.flush_one(at, play);
    }

    fn flush_one<P: Play>(&mut self, at: usize, play: &mut P) {
        let link = &mut self.links[at];
        link.is_dirty = false;
        let Some(stream) = &mut link.stream else { return };
        if !link.writable || (link.out.is_empty() && !stream.owes()) {
            return;
        }
        loop {
            self.work.writes += 1;
            match stream.write(&link.out[link.sent..]) {
                Ok(n) => {
                    link.sent += n;
                    self.queued_bytes -= n;
                    if link.sent == link.out.len() {
                        return self.recycle(at);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    link.writable = false;
                    self.work.queued_bytes_max = self.work.queued_bytes_max.max(self.queued_bytes);
                    return;
                }
                // What the server said last may still be there to be read, and says more than this error.
                Err(_) if link.state != State::Head => {
                    link.writable = false;
                    return self.fall_behind(at);
                }
                Err(error) => return self.end(at, End::Failed(error.to_string()), play),
            }
        }
    }

    /// Gives the empty buffer of `at` to whoever needs one next.
    fn recycle(&mut self, at: usize) {
        let link = &mut self.links[at];
        link.sent = 0;
        let mut out = std::mem::take(&mut link.out);
        if self.pool.len() < POOLED && out.capacity() <= POOLED_BYTES_MAX {
            out.clear();
            self.pool.push(out);
        }
    }

    fn readable<P: Play>(&mut self, at: usize, to_the_end: bool, play: &mut P) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let end = loop {
            match self.read_once(at, &mut buffer, play) {
                Ok(true) => {}
                Ok(false) if to_the_end && self.links[at].stream.is_some() && !self.links[at].paused => {}
                Ok(false) => break None,
                Err(end) => break end,
            }
        };
        self.buffer = buffer;
        if let Some(end) = end {
            self.end(at, end, play);
        }
    }

    /// Reads once. Whether the socket may hold more; an error ends reading, and the connection if it says how.
    fn read_once<P: Play>(
        &mut self,
        at: usize,
        buffer: &mut [u8],
        play: &mut P,
    ) -> Result<bool, Option<End>> {
        let link = &mut self.links[at];
        let (State::Head | State::Greeting | State::Open | State::Closing, false) = (link.state, link.paused)
        else {
            return Err(None);
        };
        let Some(stream) = &mut link.stream else { return Err(None) };
        self.work.reads += 1;
        // A frame that is long is gathered where it will be read, a short one's rest joins what comes after it.
        let is_long = link.need > buffer.len() / 2;
        let (got, room) = if is_long {
            let room = link.need - link.filled;
            (stream.read(&mut link.rest[link.filled..link.need]), room)
        } else {
            buffer[..link.filled].copy_from_slice(&link.rest[..link.filled]);
            (stream.read(&mut buffer[link.filled..]), buffer.len() - link.filled)
        };
        let got = match got {
            Ok(0) => return Err(Some(link.hung_up())),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(None),
            Err(error) => return Err(Some(link.hung_up_with(&error))),
        };
        let filled = link.filled + got;
        if is_long && filled < link.need {
            link.filled = filled;
            return Ok(got == room);
        }
        let long = if is_long { std::mem::take(&mut link.rest) } else { Vec::new() };
        let bytes = if is_long { &long[..filled] } else { &buffer[..filled] };
        (link.filled, link.need) = (0, 0);
        let generation = link.generation;
        let used = self.feed(at, bytes, play).map_err(|why| {
            let failed = matches!(self.links[at].state, State::Head | State::Greeting);
            Some(if failed { End::Failed(why) } else { End::Lost(why) })
        })?;
        let link = &mut self.links[at];
        if link.generation == generation && link.stream.is_some() {
            if is_long {
                link.rest = long;
                debug_assert_eq!(used, filled, "exactly one frame was asked for");
            } else {
                link.keep(&buffer[used..filled], buffer.len());
            }
        }
        Ok(got == room)
    }

    /// Plays what is complete in `bytes`; how many that were.
    fn feed<P: Play>(&mut self, at: usize, bytes: &[u8], play: &mut P) -> Result<usize, String> {
        let generation = self.links[at].generation;
        let mut used = 0;
        if self.links[at].state == State::Head {
            let Some(head) = target::answer(bytes)? else { return Ok(0) };
            used = head;
            self.links[at].state = State::Greeting;
            self.greeted(at, play);
        }
        while self.links[at].generation == generation && self.links[at].close_code.is_none() {
            match frame::front(&bytes[used..], self.dial.message_bytes_max)? {
                Front::Need(need) => {
                    self.links[at].need = need;
                    break;
                }
                Front::Frame { fin, opcode, head, len } => {
                    let payload = &bytes[used + head..used + head + len];
                    used += head + len;
                    self.dispatch(at, fin, opcode, payload, play)?;
                }
            }
        }
        Ok(used)
    }

    /// The connection is open, unless there is more to be said before.
    fn greeted<P: Play>(&mut self, at: usize, play: &mut P) {
        if self.links[at].greeted < self.dial.greeting.len() {
            return;
        }
        self.links[at].state = State::Open;
        self.opening -= 1;
        self.open += 1;
        play.opened(at, self);
    }

    /// A text has come before the connection counts as open.
    fn greet<P: Play>(&mut self, at: usize, text: &[u8], play: &mut P) -> Result<(), String> {
        let step = &self.dial.greeting[self.links[at].greeted];
        if !text.starts_with(step.hear.as_bytes()) {
            return Err(format!("`{}` was to come, not `{}`", step.hear, String::from_utf8_lossy(text)));
        }
        if !step.say.is_empty() {
            let said = frame::masked(step.say.as_bytes(), self.dial.key);
            self.push(at, |out| out.extend_from_slice(&said));
        }
        self.links[at].greeted += 1;
        self.greeted(at, play);
        Ok(())
    }

    /// A whole message has come.
    #[inline]
    fn message<P: Play>(
        &mut self,
        at: usize,
        opcode: u8,
        payload: &[u8],
        play: &mut P,
    ) -> Result<(), String> {
        if self.links[at].state == State::Greeting {
            return self.greet(at, payload, play);
        }
        if !self.dial.ping.0.is_empty() && payload == self.dial.ping.0.as_bytes() {
            let pong = frame::masked(self.dial.ping.1.as_bytes(), self.dial.key);
            self.send(at, |out| out.extend_from_slice(&pong));
            return Ok(());
        }
        if opcode != self.dial.opcode {
            return Err("a text for bytes, or bytes for a text".into());
        }
        play.message(at, payload, self);
        Ok(())
    }

    #[inline]
    fn dispatch<P: Play>(
        &mut self,
        at: usize,
        fin: bool,
        opcode: u8,
        payload: &[u8],
        play: &mut P,
    ) -> Result<(), String> {
        match opcode {
            frame::TEXT | frame::BINARY | frame::CONTINUATION => {
                let begun = self.links[at].fragmented;
                match (opcode, begun) {
                    (frame::CONTINUATION, None) => return Err("a continuation of nothing".into()),
                    (frame::TEXT | frame::BINARY, Some(_)) => {
                        return Err("a new message amid the fragments of another".into());
                    }
                    _ => {}
                }
                if fin && begun.is_none() {
                    return self.message(at, opcode, payload, play);
                }
                let link = &mut self.links[at];
                if link.fragments.len() + payload.len() > self.dial.message_bytes_max {
                    return Err("a message that is longer than any answer can be".into());
                }
                link.fragments.extend_from_slice(payload);
                let first = *link.fragmented.get_or_insert(opcode);
                if fin {
                    let whole = std::mem::take(&mut link.fragments);
                    link.fragmented = None;
                    self.message(at, first, &whole, play)?;
                }
            }
            frame::PING => {
                let key = self.dial.key;
                self.send(at, |out| {
                    frame::append(out, frame::PONG, payload, key);
                });
            }
            frame::CLOSE => {
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                // Answers, unless this is the answer.
                self.close(at);
                self.links[at].close_code = Some(code);
            }
            _ => {}
        }
        Ok(())
    }

    /// The connection is over; `play` is told.
    fn end<P: Play>(&mut self, at: usize, end: End, play: &mut P) {
        if self.links[at].stream.is_some() {
            self.forget(at);
            play.closed(at, &end, self);
        }
    }

    fn forget(&mut self, at: usize) {
        let link = &mut self.links[at];
        match link.state {
            State::Connecting | State::Head | State::Greeting => self.opening -= 1,
            State::Open => self.open -= 1,
            State::Gone | State::Closing => {}
        }
        self.queued_bytes -= link.out.len() - link.sent;
        let generation = link.generation.wrapping_add(1) & GENERATION_MASK;
        *link = Link { generation, is_dirty: link.is_dirty, is_behind: link.is_behind, ..Link::new() };
    }
}
