//! Shards, lanes and links on one thread and one clock: the driver, as `reactor` is one.
//!
//! Follows the order of a turn as `shard/mod.rs` gives it. A shard turns only when something would have ended its
//! sleep, so a wake that is lost stays lost. The whole process can be killed, and begins again with what the store
//! has, on as many shards as it likes. Decides nothing about what clients do.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use roomcast::base::clock::{Mono, Now, Wall};
use roomcast::base::hash::Keys;
use roomcast::base::id::{Key, Origin, ShardId};
use roomcast::base::peer::Peer;
use roomcast::base::shared::Shared;
use roomcast::hub::command::{Ask, By, Request};
use roomcast::hub::journal::Durability;
use roomcast::hub::name::{Topic, TopicKind, User};
use roomcast::hub::owner;
use roomcast::hub::stored::{Image, Restored};
use roomcast::metrics::shard::Gauges;
use roomcast::shard::arrival::Arrival;
use roomcast::shard::flush::{Outgoing, SLICES_MAX};
use roomcast::shard::ledger::Ledger;
use roomcast::shard::limits::Limits;
use roomcast::shard::placement;
use roomcast::shard::port::{Close, Move, Papers, ToEdge, ToOwner, Written};
use roomcast::shard::state::{Setting, Shard};

use crate::net::{Dice, Got, Link};
use crate::store::{Outlet, Store};

/// The wall clock when the simulation begins, in milliseconds.
pub(crate) const WALL: u64 = 1_700_000_000_000;
/// Over which clients are sent away.
const DRAIN_WINDOW: Duration = Duration::from_secs(3);
/// Turns in a row that do nothing which can be seen from outside although the shard wants them at once. Unfinished
/// fan-outs to blocked connections are work of that kind.
const QUIET_TURNS_MAX: u32 = 5000;

/// Mail under way from one shard to another, in order.
struct Lane<M> {
    mail: VecDeque<(u64, M)>,
    /// The sender was refused, and not told of room since.
    refused: bool,
    /// The sender is told of room.
    room: bool,
}

impl<M> Default for Lane<M> {
    fn default() -> Lane<M> {
        Lane { mail: VecDeque::new(), refused: false, room: false }
    }
}

impl<M> Lane<M> {
    /// Moves mail into the lane until that is full. How much.
    fn send(&mut self, from: &mut VecDeque<M>, capacity: usize, mut due: impl FnMut() -> u64) -> usize {
        let before = from.len();
        while self.mail.len() < capacity
            && let Some(first) = from.pop_front()
        {
            let last = self.mail.back().map_or(0, |(due, _)| *due);
            self.mail.push_back((due().max(last), first));
        }
        self.refused |= !from.is_empty();
        before - from.len()
    }

    fn receive(&mut self, now: u64, capacity: usize) -> Option<M> {
        self.mail.front().filter(|(due, _)| *due <= now)?;
        let (_, mail) = self.mail.pop_front()?;
        if self.refused && self.mail.len() <= capacity / 2 {
            (self.refused, self.room) = (false, true);
        }
        Some(mail)
    }

    fn has_mail(&self, now: u64) -> bool {
        self.mail.front().is_some_and(|(due, _)| *due <= now)
    }
}

/// A registered socket, as the reactor keeps it.
struct Socket {
    key: Key,
    link: usize,
    readable: bool,
    ended: bool,
    queued: bool,
}

/// A shard and its driver.
struct Node {
    shard: Shard,
    /// By slot.
    sockets: Vec<Option<Socket>>,
    ready: VecDeque<Key>,
    intake: Vec<usize>,
    /// Links from other shards, where their clients have their sessions.
    handed: Vec<(usize, Box<Arrival>)>,
    /// Requests of threads that are no shards.
    outside: VecDeque<ToOwner>,
    outlet: Outlet,
    buffer: Vec<u8>,
    /// It is told to drain in its next turn.
    drains: bool,
    /// It is given other keys in its next turn.
    papers: Option<Papers>,
    /// When the sleep ends by itself.
    until: u64,
    quiet_turns: u32,
}

impl Node {
    fn find(&mut self, key: Key) -> Option<&mut Socket> {
        self.sockets.get_mut(key.slot as usize)?.as_mut().filter(|socket| socket.key == key)
    }

    fn place(&mut self, socket: Socket) {
        let slot = socket.key.slot as usize;
        if self.sockets.len() <= slot {
            self.sockets.resize_with(slot + 1, || None);
        }
        assert!(self.sockets[slot].is_none(), "a slot is used again only after it was freed");
        self.sockets[slot] = Some(socket);
    }

    fn enqueue(&mut self, key: Key) {
        if let Some(socket) = self.find(key)
            && !socket.queued
        {
            socket.queued = true;
            self.ready.push_back(key);
        }
    }
}

pub(crate) struct World {
    limits: Limits,
    /// Keys of tokens, where tokens are asked for.
    papers: Option<Papers>,
    store: Store,
    store_delay_us: usize,
    /// How many processes were killed before this one.
    pub(crate) process: u64,
    /// When this one began.
    began_us: u64,
    keys: Keys,
    nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
    /// By sender, then receiver.
    requests: Vec<Vec<Lane<ToOwner>>>,
    edges: Vec<Vec<Lane<ToEdge>>>,
    lane_capacity: usize,
    mail_delay_us: usize,
    /// One link in so many carries TLS.
    secure_once_in: usize,
    pub(crate) now_us: u64,
}

/// One write of what waits for `key`.
fn write(node: &mut Node, links: &mut [Link], key: Key, dice: &mut Dice) {
    let link = node.find(key).expect("a shard writes to sockets that it was given").link;
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let Outgoing { used, bytes: offered, is_last } = node.shard.outgoing(key, &mut slices);
    assert!(offered > 0, "asked to write nothing");
    let written = links[link].write(&slices[..used as usize], is_last, dice);
    node.shard.handle_written(key, written, offered);
}

/// As the reactor does it: bytes came on a link that carries TLS.
fn receive_secure(node: &mut Node, links: &mut [Link], key: Key, count: usize, dice: &mut Dice) {
    let Node { shard, sockets, ready, buffer, .. } = node;
    let socket = sockets[key.slot as usize].as_mut().expect("it was read from");
    let link = &mut links[socket.link];
    let secure = link.secure.as_mut().expect("the caller looked");
    let mut plain = Vec::new();
    let came = secure.front.receive(&mut buffer[..count], &mut plain).expect("clients speak good TLS");
    if secure.front.has_ended() && !socket.queued {
        (socket.readable, socket.queued) = (true, true);
        ready.push_back(key);
    }
    let unsent = secure.front.has_unsent();
    let flushed = link.flush(dice);
    if flushed == Written::Bytes(0) && unsent || came.opened {
        shard.handle_writable(key);
    }
    if !plain.is_empty() {
        shard.handle_bytes(key, &mut plain);
    }
    if flushed == Written::Broken {
        shard.handle_reset(key);
    }
}

impl World {
    pub(crate) fn new(shards: u16, limits: &Limits, dice: &mut Dice) -> World {
        let mut world = World {
            limits: limits.clone(),
            papers: None,
            store: Store::default(),
            store_delay_us: *dice.pick(&[1, 200, 20_000, 20_000]),
            process: 0,
            began_us: 0,
            keys: Keys::new([0; 16]),
            nodes: Vec::new(),
            links: Vec::new(),
            requests: Vec::new(),
            edges: Vec::new(),
            lane_capacity: *dice.pick(&[1, 2, 8, 64]),
            mail_delay_us: *dice.pick(&[1, 100, 5_000]),
            secure_once_in: *dice.pick(&[1, 5, 20]),
            now_us: 1_000_000,
        };
        world.begin(shards, dice);
        world
    }

    /// A process begins, with what the store has.
    fn begin(&mut self, shards: u16, dice: &mut Dice) {
        self.keys = Keys::new((u128::from(dice.bits()) << 64 | u128::from(dice.bits())).to_le_bytes());
        self.began_us = self.now_us;
        let setting = Setting {
            shards,
            keys: self.keys,
            limits: self.limits.clone(),
            node: "sim".into(),
            gauges: (0..shards).map(|_| Gauges::default()).collect::<Arc<[_]>>(),
            process: Arc::default(),
            ledger: Arc::new(Ledger::new(self.keys)),
        };
        let (holds, keys) = (self.limits.durability == Durability::Sync, self.keys);
        let mut named = 0;
        let fresh_epoch = || {
            named += 1;
            owner::epoch(keys, ShardId(u16::MAX), named)
        };
        let Image { topics, inbox_floor } = self.store.begin(holds, keys, fresh_epoch);
        let now = self.now();
        let node = |id| Node {
            shard: Shard::new(ShardId(id), &setting, dice.bits(), now),
            sockets: Vec::new(),
            ready: VecDeque::new(),
            intake: Vec::new(),
            handed: Vec::new(),
            outside: VecDeque::new(),
            outlet: Outlet::default(),
            buffer: vec![0; *dice.pick(&[7, 100, 1000, 1 << 16])],
            drains: false,
            papers: self.papers.clone(),
            // What it has found to be old is to be stored.
            until: 0,
            quiet_turns: 0,
        };
        self.nodes = (0..shards).map(node).collect();
        self.nodes.iter_mut().for_each(|node| node.shard.restore_inbox_floor(inbox_floor));
        for Restored { topic, content } in topics {
            let owner = placement::owner(topic.hash(), shards);
            self.nodes[owner.index()].shard.restore(Restored { topic, content });
        }
        let count = usize::from(shards);
        self.requests = (0..count).map(|_| (0..count).map(|_| Lane::default()).collect()).collect();
        self.edges = (0..count).map(|_| (0..count).map(|_| Lane::default()).collect()).collect();
    }

    /// The process is killed, and another begins at once. Of what was on its way to the store, some has arrived.
    pub(crate) fn kill(&mut self, dice: &mut Dice) {
        for node in &mut self.nodes {
            let more = if dice.once_in(2) { dice.below(2 * self.store_delay_us) } else { 0 };
            let until = self.now_us + more as u64;
            node.outlet.commit(&mut self.store, until, 1, dice);
        }
        self.links.iter_mut().for_each(Link::kill);
        self.process += 1;
        let shards = *dice.pick(&[1, 2, 2, 3, 4]);
        self.begin(shards, dice);
    }

    fn now(&self) -> Now {
        // Each process counts from its own beginning.
        let mono = self.now_us - self.began_us + 1_000_000;
        Now { mono: Mono(mono), wall: Wall(WALL + self.now_us / 1000) }
    }

    /// What is due at the store is stored.
    fn commit(&mut self, dice: &mut Dice) {
        for node in &mut self.nodes {
            node.outlet.commit(&mut self.store, self.now_us, self.store_delay_us, dice);
        }
    }

    /// A client connects to some shard.
    pub(crate) fn connect(&mut self, dice: &mut Dice) -> usize {
        let falling_max = *dice.pick(&[64, 500, 4000, 40_000]);
        let secure = dice.once_in(self.secure_once_in);
        self.links.push(if secure { Link::new_secure(falling_max) } else { Link::new(falling_max) });
        let node = dice.below(self.nodes.len());
        self.nodes[node].intake.push(self.links.len() - 1);
        self.links.len() - 1
    }

    /// A source sets a feed.
    pub(crate) fn post(&mut self, feed: &str, value: u64) {
        let topic = Topic::new(TopicKind::Feed, feed, self.keys);
        let owner = placement::owner(topic.hash(), u16::try_from(self.nodes.len()).expect("few shards"));
        let by = By::Server(Arc::new(User { id: "source".into(), name: None }));
        let payload = Shared::copy_of(value.to_string().as_bytes());
        let ask = Ask::Publish { payload, by, echo: false };
        let request = Request { topic, origin: Origin::nobody(owner), tag: None, ask };
        self.nodes[owner.index()].outside.push_back(request);
    }

    /// Keys are exchanged, as at SIGHUP: each shard has the new ones before it looks at anything else.
    pub(crate) fn give_papers(&mut self, papers: &Papers) {
        self.papers = Some(Arc::clone(papers));
        self.nodes.iter_mut().for_each(|node| node.papers = Some(Arc::clone(papers)));
    }

    pub(crate) fn drain(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.drains = true);
    }

    pub(crate) fn check(&self) {
        self.nodes.iter().for_each(|node| node.shard.check());
    }

    pub(crate) fn check_rest(&self) {
        self.nodes.iter().for_each(|node| node.shard.check_rest());
    }

    pub(crate) fn check_empty(&self) {
        for node in &self.nodes {
            node.shard.check_empty();
            assert!(node.sockets.iter().all(Option::is_none), "sockets");
        }
    }

    /// Lets every shard turn, in some order, that has a reason to. True if one had.
    pub(crate) fn turn_all(&mut self, dice: &mut Dice) -> bool {
        self.commit(dice);
        let first = dice.below(self.nodes.len());
        let count = self.nodes.len();
        let mut any = false;
        for i in 0..count {
            any |= self.turn((first + i) % count, dice);
        }
        any
    }

    /// Lets some shard turn, if it has a reason to. True if it had.
    pub(crate) fn turn_one(&mut self, dice: &mut Dice) -> bool {
        self.commit(dice);
        let node = dice.below(self.nodes.len());
        self.turn(node, dice)
    }

    /// When something will happen by itself: a shard wakes, or mail arrives.
    pub(crate) fn next_us(&self) -> Option<u64> {
        let sleeps = self.nodes.iter().map(|node| node.until);
        let mail = self.requests.iter().flatten().filter_map(|lane| lane.mail.front().map(|(due, _)| *due));
        let edge = self.edges.iter().flatten().filter_map(|lane| lane.mail.front().map(|(due, _)| *due));
        // Mail that has arrived waits for its receiver, not for time.
        let coming = mail.chain(edge).filter(|due| *due > 0);
        let stored = self.nodes.iter().filter_map(|node| node.outlet.next_us());
        sleeps.chain(coming).chain(stored).filter(|until| *until < u64::MAX).min()
    }

    /// Whether something is under way that only time brings: mail, or deliveries that wait for their window's end.
    pub(crate) fn is_under_way(&self) -> bool {
        self.nodes.iter().any(|node| node.shard.poll_window().is_some() || node.outlet.next_us().is_some())
            || self.requests.iter().flatten().any(|lane| !lane.mail.is_empty())
            || self.edges.iter().flatten().any(|lane| !lane.mail.is_empty())
    }

    /// What `prepare_sleep` and the kernel's poll look at.
    fn has_reason(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let (now, count) = (self.now_us, self.nodes.len());
        let edge = |socket: &Socket| {
            let link = &self.links[socket.link];
            link.readable || link.writable
        };
        node.until <= now
            || node.drains
            || node.papers.is_some()
            || node.outlet.has_news(now)
            || !node.ready.is_empty()
            || !node.intake.is_empty()
            || !node.handed.is_empty()
            || (!node.outside.is_empty() && node.shard.takes_requests())
            || node.sockets.iter().flatten().any(edge)
            || (0..count).any(|peer| self.requests[n][peer].room || self.edges[n][peer].room)
            || (node.shard.takes_requests() && (0..count).any(|peer| self.requests[peer][n].has_mail(now)))
            || (node.shard.takes_edge_mail() && (0..count).any(|peer| self.edges[peer][n].has_mail(now)))
    }

    fn turn(&mut self, n: usize, dice: &mut Dice) -> bool {
        if !self.has_reason(n) {
            return false;
        }
        let now = self.now();
        self.nodes[n].shard.begin_turn(now);
        if std::mem::take(&mut self.nodes[n].drains) {
            self.nodes[n].shard.handle_drain(DRAIN_WINDOW, true);
        }
        if let Some(papers) = self.nodes[n].papers.take() {
            self.nodes[n].shard.handle_papers(papers);
        }
        let mut seen = self.take_sockets(n);
        seen += self.take_mail(n, dice);
        seen += self.take_edges(n, dice);
        seen += self.take_handed(n);
        seen += self.move_sockets(n);
        seen += self.read_ready(n, dice);
        self.nodes[n].shard.handle_timers();
        self.nodes[n].shard.work();
        seen += self.move_sockets(n);
        seen += self.flush(n, dice);
        seen += self.move_sockets(n);
        seen += self.reap(n, dice);
        seen += self.send_mail(n, dice);
        self.nodes[n].shard.end_turn();
        self.sleep(n, seen > 0);
        true
    }

    fn take_sockets(&mut self, n: usize) -> usize {
        let node = &mut self.nodes[n];
        let intake = std::mem::take(&mut node.intake);
        for &link in &intake {
            let key = node.shard.handle_open(Peer::Loopback);
            node.place(Socket { key, link, readable: false, ended: false, queued: false });
        }
        intake.len()
    }

    /// Takes over links whose clients have their sessions here; the poll tells anew what it told another shard.
    fn take_handed(&mut self, n: usize) -> usize {
        let handed = std::mem::take(&mut self.nodes[n].handed);
        let count = handed.len();
        for (link, arrival) in handed {
            let node = &mut self.nodes[n];
            let key = node.shard.handle_arrival(*arrival);
            node.place(Socket { key, link, readable: false, ended: false, queued: false });
            self.links[link].watch_anew();
            self.move_sockets(n);
        }
        count
    }

    /// Sockets change hands.
    fn move_sockets(&mut self, n: usize) -> usize {
        let mut seen = 0;
        while let Some((from, to)) = self.nodes[n].shard.poll_move() {
            seen += 1;
            let slot = self.nodes[n].sockets.get_mut(from.slot as usize);
            let socket = slot.and_then(Option::take).filter(|socket| socket.key == from);
            let socket = socket.expect("a shard moves sockets that it was given");
            self.links[socket.link].watch_anew();
            match to {
                Move::To(key) => self.nodes[n].place(Socket { key, queued: false, ..socket }),
                Move::Shard(shard, arrival) => {
                    self.nodes[shard.index()].handed.push((socket.link, arrival));
                }
            }
        }
        seen
    }

    fn take_mail(&mut self, n: usize, dice: &mut Dice) -> usize {
        let World { nodes, requests, edges, lane_capacity, now_us, .. } = self;
        let (Node { shard, outside, outlet, .. }, count) = (&mut nodes[n], requests.len());
        let mut taken = 0;
        while outlet.take_news(*now_us) {
            shard.handle_stored();
            taken += 1;
        }
        let first = dice.below(count);
        for peer in (0..count).map(|i| (first + i) % count) {
            edges[n][peer].room = false;
            requests[n][peer].room = false;
            while shard.takes_edge_mail()
                && let Some(mail) = edges[peer][n].receive(*now_us, *lane_capacity)
            {
                shard.handle_edge_mail(mail);
                taken += 1;
            }
        }
        for peer in (0..count).map(|i| (first + i) % count) {
            while shard.takes_requests()
                && let Some(request) = requests[peer][n].receive(*now_us, *lane_capacity)
            {
                shard.handle_request(request);
                taken += 1;
            }
        }
        while shard.takes_requests()
            && let Some(request) = outside.pop_front()
        {
            shard.handle_request(request);
            taken += 1;
        }
        taken
    }

    fn take_edges(&mut self, n: usize, dice: &mut Dice) -> usize {
        let World { nodes, links, .. } = self;
        let node = &mut nodes[n];
        let mut seen = 0;
        for slot in 0..node.sockets.len() {
            let Some(socket) = &mut node.sockets[slot] else { continue };
            let link = &mut links[socket.link];
            let key = socket.key;
            let (readable, writable) = (link.readable, link.writable);
            (link.readable, link.writable) = (false, false);
            socket.ended |= readable && link.has_peer_ended();
            socket.readable |= readable;
            if writable {
                match link.flush(dice) {
                    Written::Bytes(_) => node.shard.handle_writable(key),
                    Written::Full => {}
                    Written::Broken => node.shard.handle_reset(key),
                }
                seen += 1;
            }
            if readable {
                node.enqueue(key);
                seen += 1;
            }
        }
        while let Some(key) = node.shard.poll_resume() {
            seen += 1;
            if node.find(key).is_some_and(|socket| socket.readable) {
                node.enqueue(key);
            }
        }
        seen
    }

    fn read_ready(&mut self, n: usize, dice: &mut Dice) -> usize {
        let mut seen = 0;
        for _ in 0..self.nodes[n].ready.len() {
            seen += self.move_sockets(n);
            let World { nodes, links, .. } = self;
            let node = &mut nodes[n];
            let Some(key) = node.ready.pop_front() else { break };
            let takes = node.shard.takes_input(key);
            let socket = node.sockets.get_mut(key.slot as usize).and_then(Option::as_mut);
            let Some(socket) = socket.filter(|socket| socket.key == key) else {
                continue;
            };
            socket.queued = false;
            if !takes {
                continue;
            }
            seen += 1;
            let secure = links[socket.link].secure.as_ref();
            let is_secure = secure.is_some();
            if secure.is_some_and(|secure| secure.front.is_handshaking()) && !node.shard.takes_handshake() {
                socket.queued = true;
                node.ready.push_back(key);
                continue;
            }
            let room = if is_secure { None } else { node.shard.message_room(key) };
            let placed = room.is_some();
            let room = room.unwrap_or(&mut node.buffer);
            let (got, offered) = (links[socket.link].read(room), room.len());
            if placed {
                node.shard.handle_placed(key, if let Got::Bytes(count) = got { count } else { 0 });
            }
            match got {
                Got::Bytes(count) => {
                    let drained = count < offered && !socket.ended;
                    socket.readable = !drained;
                    if !drained {
                        socket.queued = true;
                        node.ready.push_back(key);
                    }
                    if is_secure {
                        receive_secure(node, links, key, count, dice);
                    } else if !placed {
                        node.shard.handle_bytes(key, &mut node.buffer[..count]);
                    }
                    // As after a move the key may be of no socket, nothing is owed to it then.
                    if node.shard.poll_reply(key) {
                        write(node, links, key, dice);
                    }
                }
                Got::Nothing => socket.readable = false,
                Got::End => {
                    socket.readable = false;
                    node.shard.handle_eof(key);
                }
                Got::Broken => {
                    socket.readable = false;
                    node.shard.handle_reset(key);
                }
            }
        }
        seen
    }

    fn flush(&mut self, n: usize, dice: &mut Dice) -> usize {
        let World { nodes, links, .. } = self;
        let mut seen = 0;
        while let Some(key) = nodes[n].shard.poll_flush() {
            seen += 1;
            write(&mut nodes[n], links, key, dice);
        }
        seen
    }

    fn reap(&mut self, n: usize, dice: &mut Dice) -> usize {
        let World { nodes, links, .. } = self;
        let Node { shard, sockets, .. } = &mut nodes[n];
        let mut seen = 0;
        while let Some((key, close)) = shard.poll_close() {
            seen += 1;
            let socket = sockets[key.slot as usize].as_ref().filter(|socket| socket.key == key);
            let link = socket.expect("a shard closes sockets that it was given").link;
            match close {
                Close::Shutdown => links[link].shutdown(dice),
                Close::Drop => {
                    links[link].drop_server();
                    sockets[key.slot as usize] = None;
                }
            }
        }
        seen
    }

    fn send_mail(&mut self, n: usize, dice: &mut Dice) -> usize {
        let World { nodes, requests, edges, lane_capacity, mail_delay_us, store_delay_us, now_us, .. } = self;
        let Node { shard, outlet, .. } = &mut nodes[n];
        let mut sent = 0;
        if let Some(batch) = shard.poll_journal() {
            outlet.send(batch, *now_us + dice.below(*store_delay_us) as u64);
            sent += 1;
        }
        let mut due = || *now_us + dice.below(*mail_delay_us) as u64;
        for peer in (0..requests.len()).filter(|peer| *peer != n) {
            let to = ShardId(u16::try_from(peer).expect("few shards"));
            sent += edges[n][peer].send(shard.edge_mail_for(to), *lane_capacity, &mut due);
            sent += requests[n][peer].send(shard.requests_for(to), *lane_capacity, &mut due);
        }
        sent
    }

    fn sleep(&mut self, n: usize, seen: bool) {
        let mono = self.now().mono;
        let node = &mut self.nodes[n];
        node.until = node.shard.poll_due().map_or(u64::MAX, |due| self.now_us + due.0.saturating_sub(mono.0));
        let spins = !seen && node.shard.is_due();
        node.quiet_turns = if spins { node.quiet_turns + 1 } else { 0 };
        assert!(node.quiet_turns < QUIET_TURNS_MAX, "shard {n} spins");
    }
}
