//! Sessions: a client keeps its place while its socket is gone, and gets what it missed when it is back.
//!
//! The socket moves to the session, not the session to the socket. A session's id says which shard it is on; a request
//! that names one of another shard is sent there with its socket. So the connection, which owners know as a member,
//! stays the same one: nothing is joined again, and nothing is missed or comes twice by construction.
//!
//! ```text
//! attached ── detach: the socket goes to a connection of its own, to be closed ──► away
//!     ▲                                                                             │
//!     └── attach: the newcomer's socket comes, what was missed is told again ◄──────┤
//!                                              end_session: time or memory is up ◄──┘
//! ```

use crate::base::hash::Keys;
use crate::base::id::{Key, ShardId};
use crate::dialect::native::encode;
use crate::shard::arrival::{Arrival, Introduction};
use crate::shard::conn::session::{Kept, SESSIONS_BYTES_MAX, Session};
use crate::shard::conn::socket::{Role, Socket};
use crate::shard::conn::{Conn, Dirty, Hold, Phase};
use crate::shard::limits::Limits;
use crate::shard::outbox::{Outbox, Pushed, Spares};
use crate::shard::port::Move;
use crate::shard::state::Shard;
use crate::wire::ws::close::CloseCode;
use crate::wire::ws::frame;

/// Letters of identifiers: lower case and digits without those that look alike.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Letters of a session id that say which one: 64 bits.
const SERIAL_LETTERS: usize = 13;
/// Letters of a session id that make it a secret: 125 bits.
const SECRET_LETTERS: usize = 25;
/// Sessions given up in one call, so that a turn stays short.
const ENDED_PER_CALL_MAX: usize = 64;
/// Bits of a serial below those that say which shard.
pub(super) const SERIAL_BITS: u32 = 48;

/// The first `count` digits of a number in base 32, the least first.
pub(super) fn letters(mut digest: u128, count: usize) -> String {
    let mut text = String::with_capacity(count);
    for _ in 0..count {
        text.push(char::from(LETTERS[(digest % 32) as usize]));
        digest /= 32;
    }
    text
}

/// The inverse of [`letters`]; none if there are others among them, or too many.
pub(super) fn digits(text: &str) -> Option<u128> {
    text.bytes().rev().try_fold(0_u128, |sum, letter| {
        let digit = LETTERS.iter().position(|known| *known == letter)?;
        Some(sum.checked_mul(32)? + digit as u128)
    })
}

/// What a client shows to come back.
pub(super) fn session_id(keys: Keys, serial: u64) -> String {
    letters(serial.into(), SERIAL_LETTERS) + &letters(keys.digest("session", serial), SECRET_LETTERS)
}

/// The serial of a session id that this process gave out; none for any other text.
fn session_serial(keys: Keys, id: &str) -> Option<u64> {
    let (serial, secret) = id.split_at_checked(SERIAL_LETTERS)?;
    let serial = u64::try_from(digits(serial)?).ok()?;
    if secret.len() != SECRET_LETTERS {
        return None;
    }
    // As numbers: comparing them takes the same time whatever differs.
    let known = keys.digest("session", serial) % (1 << (5 * SECRET_LETTERS));
    (digits(secret)? == known).then_some(serial)
}

impl Shard {
    /// A socket comes from another shard, for a client whose session is here. Its key, as after
    /// [`Shard::handle_open`]; [`Shard::poll_move`] may tell another one at once.
    pub fn handle_arrival(&mut self, arrival: Arrival) -> Key {
        let Arrival { introduction, peer, unsent, mut input } = arrival;
        let key = self.handle_open(peer);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.outbox.push_begun(&mut self.spares, &unsent);
        }
        self.touch(key);
        self.come(key, introduction);
        let key_of_input = self.follow(key, &[]).unwrap_or(key);
        self.rearm(key_of_input);
        self.consume(key_of_input, &mut input);
        self.came_late(key_of_input);
        key
    }

    /// Whether any socket changes hands.
    #[inline]
    #[must_use]
    pub fn has_moves(&self) -> bool {
        !self.turn.moves.is_empty()
    }

    /// The next socket that changes hands. To be asked after every call that was told of bytes, ends, timers or
    /// writes, before the next one: until then the socket's bytes would be taken for those of another client.
    pub fn poll_move(&mut self) -> Option<(Key, Move)> {
        self.turn.moves.pop_front()
    }

    /// A client has been upgraded: it goes on with its session, here or on another shard, or begins anew.
    pub(crate) fn come(&mut self, key: Key, introduction: Introduction) {
        let wants = introduction.last_seq.is_some() && self.limits.resume_window.is_some();
        let named = introduction.session.as_deref().filter(|_| wants);
        let Some(serial) = named.and_then(|id| session_serial(self.keys, id)) else {
            return self.open_client(key, introduction);
        };
        let home = u16::try_from(serial >> SERIAL_BITS).map_or(self.id, ShardId);
        if home != self.id {
            return self.send_home(key, home, introduction);
        }
        match self.resumable(serial, &introduction) {
            Some(home) => self.attach(home, key, introduction),
            None => self.open_client(key, introduction),
        }
    }

    /// Hands a socket over to the shard that its client's session is on.
    fn send_home(&mut self, key: Key, home: ShardId, introduction: Introduction) {
        debug_assert!(home.0 < self.shards, "we gave the id out");
        let Some(conn) = self.conns.get_mut(key) else { return };
        let mut unsent = Vec::new();
        conn.outbox.take_all(&mut self.spares, &mut unsent);
        let arrival = Arrival { introduction, peer: conn.peer, unsent, input: Vec::new() };
        self.leave_phase(key);
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.phase = Phase::Over;
        self.turn.vacated.push(key);
        self.turn.moves.push_back((key, Move::Shard(home, Box::new(arrival))));
    }

    /// Where the input of `key` belongs that has followed the request, if its client has gone elsewhere. What goes to
    /// another shard is taken along.
    pub(crate) fn follow(&mut self, key: Key, input: &[u8]) -> Option<Key> {
        match self.turn.moves.back_mut() {
            Some((from, Move::To(to))) if *from == key => Some(*to),
            Some((from, Move::Shard(_, arrival))) if *from == key => {
                arrival.input.extend_from_slice(input);
                None
            }
            _ => None,
        }
    }

    /// The connection of a session, if it is still there and the newcomer can be its client.
    fn resumable(&self, serial: u64, introduction: &Introduction) -> Option<Key> {
        let key = self.conns.key_of(*self.sessions.slots.get(&serial)?)?;
        let client = self.conns.get(key)?.any_client()?;
        let session = client.more.as_ref()?.session.as_ref()?;
        session.accepts(introduction.last_seq?).ok()?;
        let same = match (&introduction.user_id, &client.user) {
            (None, _) => true,
            (Some(id), Some(user)) => user.id == *id,
            (Some(id), None) => self.client_id(key) == **id,
        };
        (same && self.may_take_over(key, introduction.pass.as_deref())).then_some(key)
    }

    /// The socket of `key` becomes that of the session at `home`. One that it still has is closed: clients notice a
    /// loss before servers do.
    fn attach(&mut self, home: Key, key: Key, introduction: Introduction) {
        let old = self.detach(home);
        if old != home {
            if let Some(conn) = self.conns.get_mut(old) {
                conn.outbox.abandon(&mut self.spares);
            }
            self.close(old, CloseCode::DISCONNECTED, "the session goes on elsewhere");
        }
        self.leave_phase(key);
        let Some(newcomer) = self.conns.get_mut(key) else { return };
        let (outbox, peer) = (std::mem::take(&mut newcomer.outbox), newcomer.peer);
        newcomer.phase = Phase::Over;
        self.turn.vacated.push(key);
        self.turn.moves.push_back((key, Move::To(home)));
        let (now, serials) = (self.now.mono, introduction.last_seq.unwrap_or(0));
        let heartbeat_due = self.heartbeat_due(introduction.heartbeat);
        let Some(conn) = self.conns.get_mut(home) else { return };
        let Phase::Away { mut client, until } = std::mem::replace(&mut conn.phase, Phase::Over) else {
            return;
        };
        self.sessions.away.remove(&(until, home.slot));
        client.heartbeat_due = heartbeat_due;
        let mut before = None;
        if let (Some(mut pass), Some(more)) = (introduction.pass, &mut client.more) {
            // The key of the session is the same, and so are the signatures that were taken.
            if let Some(last) = more.pass.take() {
                (pass.seen, before) = (last.seen, Some(last.grants));
            }
            more.pass = Some(pass);
        }
        conn.phase = Phase::Socket(Socket::new(Role::Client(client), now));
        (conn.outbox, conn.peer) = (outbox, peer);
        self.clients_open += 1;
        self.greet(home, Some(true));
        self.tell_success(home);
        self.replay(home, serials);
        self.touch(home);
        self.rearm(home);
        if let Some(before) = before {
            self.appoint(home, &before);
        }
        self.enter_rooms(home, introduction.rooms);
    }

    /// Tells a client again what it has missed after `last_seq`.
    fn replay(&mut self, key: Key, last_seq: u64) {
        let Shard { conns, spares, scratch, sessions, .. } = self;
        let Some(Conn { phase, outbox, .. }) = conns.get_mut(key) else { return };
        let Phase::Socket(Socket { role: Role::Client(client), .. }) = phase else { return };
        let Some(session) = client.session() else { return };
        let lost = session.resume(last_seq, &mut sessions.bytes);
        if let Some(lost) = lost {
            let frame = frame::text(scratch, |out| encode::session::session_lost(out, lost));
            outbox.push_frame(spares, frame);
        }
        for (seq, message) in session.kept() {
            let frame = numbered(scratch, message, seq);
            outbox.push_frame(spares, frame);
        }
        if lost.is_some() {
            // Direct messages may be among what is lost, and those are not lost.
            self.open_inbox(key);
        }
    }

    /// The socket of `key` has ended or will: a client with a session is away from now on, and keeps the key. The key
    /// under which the socket goes on to its end.
    pub(crate) fn detach(&mut self, key: Key) -> Key {
        let until = match self.limits.resume_window {
            Some(window) => self.now.mono + window,
            None => return key,
        };
        let Some(conn) = self.conns.get_mut(key).filter(|conn| conn.numbered) else { return key };
        let Phase::Socket(socket) = &mut conn.phase else { return key };
        let client = match std::mem::replace(&mut socket.role, Role::Echo) {
            Role::Client(client) => client,
            role => {
                socket.role = role;
                return key;
            }
        };
        let mut left = Conn::new(conn.peer, until);
        left.phase = std::mem::replace(&mut conn.phase, Phase::Away { client, until });
        left.outbox = std::mem::take(&mut conn.outbox);
        left.rest = conn.rest.take();
        left.hold = conn.hold;
        conn.hold.clear(Hold::OUTBOX);
        self.clients_open -= 1;
        self.sessions.away.insert((until, key.slot));
        let has_rest = left.rest.is_some();
        let left = self.conns.insert(left);
        if has_rest {
            // It may be about to go on, under the other key.
            self.turn.resumed.push_back(left);
        }
        // What waits in the outbox goes out with the close frame, or not at all.
        self.turn.moves.push_back((key, Move::To(left)));
        left
    }

    /// Gives up sessions whose time is over, and the oldest while they are too many or keep too much.
    pub(crate) fn expire_sessions(&mut self) {
        let share = (self.limits.away_max as usize).div_ceil(usize::from(self.shards));
        for _ in 0..ENDED_PER_CALL_MAX {
            let Some((until, slot)) = self.sessions.away.first().copied() else { return };
            let full = self.sessions.away.len() > share || self.sessions.bytes > SESSIONS_BYTES_MAX;
            if until > self.now.mono && !full {
                return;
            }
            if let Some(key) = self.conns.key_of(slot) {
                self.end_session(key);
            }
        }
    }

    /// Gives up a client that is away.
    pub(crate) fn end_session(&mut self, key: Key) {
        self.retire(key);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.phase = Phase::Over;
            self.turn.vacated.push(key);
        }
    }

    /// A new client's session begins, if it asked for one: what follows its `welcome` is numbered.
    pub(crate) fn begin_session(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(client) = conn.client() else { return };
        if client.session().is_none() {
            return;
        }
        let serial = client.serial;
        conn.numbered = true;
        self.sessions.slots.insert(serial, key.slot);
    }

    /// The client does not come back.
    pub(crate) fn forget_session(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.numbered = false;
        let until = match conn.phase {
            Phase::Away { until, .. } => Some(until),
            _ => None,
        };
        let Some(client) = conn.client() else { return };
        let serial = client.serial;
        if let Some(mut session) = client.more.take().and_then(|more| more.session) {
            session.clear(&mut self.sessions.bytes);
        }
        self.sessions.slots.remove(&serial);
        if let Some(until) = until {
            self.sessions.away.remove(&(until, key.slot));
        }
    }

    /// As [`Shard::send`], for a client with a session.
    pub(crate) fn send_numbered(&mut self, key: Key, write: impl FnOnce(&mut Vec<u8>)) {
        let Shard { conns, spares, scratch, turn, limits, sessions, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return };
        let message = Kept::Own(Box::from(frame::text(scratch, write)));
        deliver(conn, message, scratch, spares, &mut sessions.bytes, limits);
        turn.mark(conn, key.slot, Dirty::Soon);
        conn.brake(limits);
    }
}

/// The frame of a message as the client gets it: with its number, if it is text.
fn numbered<'a>(scratch: &'a mut Vec<u8>, message: &'a Kept, seq: u64) -> &'a [u8] {
    match frame::text_payload(message.frame()) {
        Some(json) => frame::text(scratch, |out| encode::session::numbered(out, json, seq)),
        None => message.frame(),
    }
}

/// Numbers a message for a client with a session, keeps it, and queues it if the client is there.
pub(crate) fn deliver(
    conn: &mut Conn,
    message: Kept,
    scratch: &mut Vec<u8>,
    spares: &mut Spares,
    bytes: &mut usize,
    limits: &Limits,
) -> Pushed {
    let Some((session, outbox)) = session_in(conn) else { return Pushed::Queued };
    let mut pushed = Pushed::Queued;
    if let Some(outbox) = outbox {
        let seq = session.next_seq();
        let frame = numbered(scratch, &message, seq);
        if matches!(message, Kept::Shared(_)) && outbox.is_full_for(frame.len(), limits) {
            pushed = Pushed::Overrun;
        } else {
            outbox.push_frame(spares, frame);
        }
    }
    session.keep(message, bytes);
    pushed
}

/// Numbers a message and keeps it, for a client that has been found not to read: what fits behind one that did not
/// would hide it.
pub(crate) fn keep(conn: &mut Conn, message: Kept, bytes: &mut usize) {
    if let Some((session, _)) = session_in(conn) {
        session.keep(message, bytes);
    }
}

/// The session that a connection has, and where to queue for its client if that is there.
fn session_in(conn: &mut Conn) -> Option<(&mut Session, Option<&mut Outbox>)> {
    match &mut conn.phase {
        Phase::Socket(Socket { role: Role::Client(client), .. }) => {
            Some((client.session()?, Some(&mut conn.outbox)))
        }
        Phase::Away { client, .. } => Some((client.session()?, None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_session_and_no_other_text_does() {
        let keys = Keys::new([9; 16]);
        for serial in [0, 1, 7 << SERIAL_BITS | 3, u64::MAX] {
            let id = session_id(keys, serial);
            assert_eq!(id.len(), SERIAL_LETTERS + SECRET_LETTERS);
            assert_eq!(session_serial(keys, &id), Some(serial));
            assert_eq!(session_serial(Keys::new([8; 16]), &id), None, "another process gave it out");
            for at in 0..id.len() {
                let mut other = id.clone().into_bytes();
                other[at] = if other[at] == b'b' { b'c' } else { b'b' };
                assert_eq!(session_serial(keys, std::str::from_utf8(&other).unwrap()), None, "letter {at}");
            }
            assert_eq!(session_serial(keys, &id[1..]), None);
            assert_eq!(session_serial(keys, &format!("{id}a")), None);
        }
        for text in ["", "x", "\u{1f389}", &"1".repeat(38), &"9".repeat(38), &"\u{e9}".repeat(19)] {
            assert_eq!(session_serial(keys, text), None, "{text}");
        }
    }
}
