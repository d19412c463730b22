//! An open WebSocket: frames in, messages on to the client or back as an echo; pings, pongs, the closing handshake.

use crate::base::id::Key;
use crate::metrics::table::{FRAMES_RECEIVED, LIMITS_HIT};
use crate::shard::conn::socket::{LINGER, Life, Role};
use crate::shard::conn::{Conn, Dirty, Hold, Phase};
use crate::shard::edge::ends;
use crate::shard::outbox::Spares;
use crate::shard::state::Shard;
use crate::wire::ws::close::{self, CloseCode};
use crate::wire::ws::frame::{self, CONTROL_BYTES_MAX, Opcode};
use crate::wire::ws::message::{Assembler, Bounds, FRONT, Step, Violation};

/// Messages from this length on have the longest header (RFC 6455 §5.2), so that what came can be sent back from the
/// buffer that it came into.
const WHOLE_BYTES_MIN: usize = 1 << 16;

impl Shard {
    /// Handles frames from the front of `input`; returns how many bytes are done with.
    pub(crate) fn consume_frames(&mut self, key: Key, input: &mut [u8]) -> usize {
        let Some((mut assembler, is_echo)) = self.take_assembler(key) else { return input.len() };
        let (mut used, mut frames, all) = (0, 0, input.len());
        loop {
            let bounds = Bounds { bytes: self.message_bytes_max(key), ..self.limits.bounds() };
            match assembler.step(&mut input[used..], bounds, &mut self.spares.buffers) {
                Err(violation) => {
                    self.count_violation(violation);
                    self.fail(key, violation.close_code(), violation.reason());
                    return all;
                }
                Ok((_, Step::More)) => {
                    used = all;
                    break;
                }
                Ok((count, step)) => {
                    used += count;
                    frames += 1;
                    if let Some((opcode, length)) = self.act(key, step, is_echo, used == all) {
                        match assembler.take_message() {
                            Some(message) => self.echo_whole(key, opcode, message),
                            None => self.on_message(key, opcode, &input[used - length..used]),
                        }
                    }
                }
            }
            if !self.conns.get(key).is_some_and(Conn::takes_frames) {
                break;
            }
        }
        self.tally.add(const { FRAMES_RECEIVED.cell() }, frames);
        self.give_assembler(key, assembler);
        used
    }

    /// So many bytes were read to where [`Shard::message_room`] said, which may be none.
    pub fn handle_placed(&mut self, key: Key, count: usize) {
        if count == 0 {
            // No sign of life, but what was given away is taken back.
            if let Some(socket) = self.conns.get_mut(key).and_then(Conn::socket) {
                let taken_back = socket.assembler.placed(0);
                debug_assert_eq!(taken_back, Ok(Step::More), "nothing is no violation");
            }
            return;
        }
        self.count_input(key, count);
        let Some((mut assembler, is_echo)) = self.take_assembler(key) else { return };
        match assembler.placed(count) {
            Err(violation) => return self.fail(key, violation.close_code(), violation.reason()),
            Ok(step) => {
                self.tally.add(const { FRAMES_RECEIVED.cell() }, u64::from(!matches!(step, Step::More)));
                let long = self.act(key, step, is_echo, true);
                if let Some((opcode, message)) =
                    long.and_then(|(opcode, _)| Some((opcode, assembler.take_message()?)))
                {
                    self.echo_whole(key, opcode, message);
                }
            }
        }
        assembler.release(&mut self.spares.buffers);
        self.give_assembler(key, assembler);
    }

    /// The receive state is on the stack while its bytes are handled, as handling needs the whole shard. With it,
    /// whether the connection is an echo.
    fn take_assembler(&mut self, key: Key) -> Option<(Assembler, bool)> {
        let now = self.now.mono;
        if self.conns.get_mut(key).and_then(Conn::socket)?.hear(now) {
            self.rearm(key);
        }
        let socket = self.conns.get_mut(key).and_then(Conn::socket)?;
        let assembler = std::mem::take(&mut socket.assembler);
        let is_echo = matches!(socket.role, Role::Echo);
        if !assembler.is_idle() {
            self.unfinished.message_bytes -= assembler.buffered_bytes();
        }
        Some((assembler, is_echo))
    }

    fn give_assembler(&mut self, key: Key, assembler: Assembler) {
        if let Some(socket) = self.conns.get_mut(key).and_then(Conn::socket) {
            if assembler.is_idle() {
                socket.assembler = assembler;
            } else {
                let bytes = assembler.buffered_bytes();
                socket.assembler = assembler;
                self.keep_message(bytes);
            }
        }
    }

    /// Handles what has come whole, but for a long message of an echo: it is its opcode and length, as the message may
    /// become the answer without being copied. `is_end` is whether nothing has come behind it.
    fn act(&mut self, key: Key, step: Step<'_>, is_echo: bool, is_end: bool) -> Option<(Opcode, usize)> {
        match step {
            Step::More => {}
            Step::Text(text) if is_echo && text.len() >= WHOLE_BYTES_MIN => {
                return Some((Opcode::Text, text.len()));
            }
            Step::Binary(bytes) if is_echo && bytes.len() >= WHOLE_BYTES_MIN => {
                return Some((Opcode::Binary, bytes.len()));
            }
            Step::Text(text) => self.on_message(key, Opcode::Text, text),
            Step::Binary(bytes) => self.on_message(key, Opcode::Binary, bytes),
            Step::Ping(payload) => self.on_ping(key, payload),
            Step::Pong(_) => {}
            Step::Close(close) => self.on_close(key, close.code, is_end),
        }
        None
    }

    #[cold]
    #[inline(never)]
    fn count_violation(&mut self, violation: Violation) {
        match violation {
            Violation::TooBig => self.tally.count(const { LIMITS_HIT.of("message_size") }),
            Violation::TooManyFragments => self.tally.count(const { LIMITS_HIT.of("fragments") }),
            _ => {}
        }
    }

    fn on_message(&mut self, key: Key, opcode: Opcode, payload: &[u8]) {
        let now = self.now.mono;
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Phase::Socket(socket) = &mut conn.phase else { return };
        if socket.is_closing() {
            return; // RFC 6455 §5.5.1: after our close frame, what still comes is of no interest
        }
        socket.last_message = now;
        match &socket.role {
            Role::Echo => {
                write_frame(conn, &mut self.spares, opcode, payload);
                conn.brake(&self.limits);
                self.turn.mark(conn, key.slot, Dirty::Soon);
            }
            Role::Client(_) => self.on_client_message(key, opcode, payload),
        }
    }

    /// A long message for an echo, in a buffer of its own with room for a header: it becomes the answer as it is.
    fn echo_whole(&mut self, key: Key, opcode: Opcode, mut message: Vec<u8>) {
        let now = self.now.mono;
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(socket) = conn.socket().filter(|socket| !socket.is_closing()) else { return };
        socket.last_message = now;
        let (header, length) = frame::write(true, opcode, message.len() - FRONT);
        debug_assert_eq!(length, FRONT, "a frame of this length has the longest header");
        message[..FRONT].copy_from_slice(&header);
        conn.outbox.push_whole(&mut self.spares, message);
        conn.brake(&self.limits);
        self.turn.mark(conn, key.slot, Dirty::Soon);
    }

    fn on_ping(&mut self, key: Key, payload: &[u8]) {
        let open = self.conns.get_mut(key).and_then(Conn::socket).is_some_and(|s| !s.is_closing());
        if open {
            self.send_control(key, Opcode::Pong, payload);
        }
    }

    /// The peer's close frame: answered with the same code, unless it answers ours.
    ///
    /// RFC 6455 §5.5.1 lets a peer send nothing after it. So there is nothing to linger for, unless the peer did not
    /// keep to that (`is_end` is false): then what it sent too much must not turn our end into a reset.
    fn on_close(&mut self, key: Key, code: Option<CloseCode>, is_end: bool) {
        let Some(socket) = self.conns.get_mut(key).and_then(Conn::socket) else { return };
        let answers = !socket.is_closing();
        if answers {
            self.tally.count(ends::of_client(code));
        }
        // Who says that it is done does not come back; all other codes, as that of a page that is left, may be a loss.
        let key = if matches!(code, None | Some(CloseCode::NORMAL)) { key } else { self.detach(key) };
        if answers {
            let (payload, length) = code.map_or(([0; CONTROL_BYTES_MAX], 0), |code| close::write(code, ""));
            self.send_control(key, Opcode::Close, &payload[..length]);
        }
        self.end(key);
        if is_end {
            self.mark_ended(key);
        }
    }

    /// Queues a control frame; `payload` is at most 125 bytes.
    pub(crate) fn send_control(&mut self, key: Key, opcode: Opcode, payload: &[u8]) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        write_frame(conn, &mut self.spares, opcode, payload);
        conn.brake(&self.limits);
        self.turn.mark(conn, key.slot, Dirty::Soon);
    }

    /// Begins the closing handshake from our side; the peer has `close_timeout` to answer.
    pub(crate) fn close(&mut self, key: Key, code: CloseCode, reason: &str) {
        let now = self.now.mono;
        let Some(socket) = self.conns.get_mut(key).and_then(Conn::socket) else { return };
        if socket.is_closing() {
            return;
        }
        self.tally.count(ends::of_server(code));
        let key = if keeps_session(code) { self.detach(key) } else { key };
        self.retire(key);
        if let Some(socket) = self.conns.get_mut(key).and_then(Conn::socket) {
            socket.life = Life::Closing(now);
        }
        let (payload, length) = close::write(code, reason);
        self.send_control(key, Opcode::Close, &payload[..length]);
        self.let_go(key);
        self.rearm(key);
    }

    /// Fails the connection (RFC 6455 §7.1.7): the frame boundaries are lost or the peer broke the rules, so
    /// nothing more is read; our close frame says why.
    pub(crate) fn fail(&mut self, key: Key, code: CloseCode, reason: &str) {
        let Some(socket) = self.conns.get_mut(key).and_then(Conn::socket) else { return };
        let speaks = !socket.is_closing();
        let key = self.detach(key);
        if speaks {
            self.tally.count(ends::of_server(code));
            let (payload, length) = close::write(code, reason);
            self.send_control(key, Opcode::Close, &payload[..length]);
        }
        self.end(key);
    }

    /// Gives up a client that does not read: forgets what waits for it, says why, and ends.
    pub(crate) fn give_up(&mut self, key: Key, code: CloseCode, reason: &str) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.socket().is_none_or(|socket| socket.is_closing()) {
            return; // it was told, and that must not be forgotten again
        }
        conn.outbox.abandon(&mut self.spares);
        self.close(key, code, reason);
    }

    /// All is said: flush, then linger.
    pub(crate) fn end(&mut self, key: Key) {
        self.retire(key);
        let until = self.now.mono + self.limits.close_timeout.max(LINGER);
        let Some(conn) = self.conns.get_mut(key) else { return };
        if matches!(conn.phase, Phase::Closing { .. } | Phase::Over) {
            return;
        }
        self.leave_phase(key);
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.phase = Phase::Closing { until, shut: false, ended: false };
        self.take_held(key);
        self.turn.closing.push(key);
        self.let_go(key);
        self.rearm(key);
    }

    /// After our last word nothing is held any more: what comes is thrown away, but the peer's close frame and its end
    /// are to be heard.
    fn let_go(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if !conn.hold.none() {
            conn.hold = Hold::default();
            self.turn.resumed.push_back(key);
        }
    }
}

/// Whether a client that we close with this code may come back to its session: it was silent or slow, but not
/// sent away.
fn keeps_session(code: CloseCode) -> bool {
    matches!(code, CloseCode::IDLE_TIMEOUT | CloseCode::SLOW_CONSUMER)
}

/// Queues a whole message or a control frame.
fn write_frame(conn: &mut Conn, spares: &mut Spares, opcode: Opcode, payload: &[u8]) {
    let (header, length) = frame::write(true, opcode, payload.len());
    conn.outbox.push_own(spares, length + payload.len(), |out| {
        out.reserve(length + payload.len());
        out.extend_from_slice(&header[..length]);
        out.extend_from_slice(payload);
    });
}
