//! What deadlines bring about: pings, heartbeats, and the end of those who stay silent.

use crate::base::id::Key;
use crate::dialect::native::encode;
use crate::metrics::table::LIMITS_HIT;
use crate::shard::conn::deadline::Deadline;
use crate::shard::conn::socket::Life;
use crate::shard::conn::{Conn, Phase};
use crate::shard::state::{Shard, Timer, tick_at};
use crate::wire::http::answer::{After, Problem, Status};
use crate::wire::ws::close::CloseCode;
use crate::wire::ws::frame::Opcode;

impl Shard {
    pub(crate) fn on_timer(&mut self, slot: u32) {
        let Some(key) = self.conns.key_of(slot) else { return };
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.timer = None;
        if let Some((due, deadline)) = conn.next_deadline(&self.limits)
            && due <= self.now.mono
        {
            self.on_deadline(key, deadline);
        }
        self.rearm(key);
    }

    fn on_deadline(&mut self, key: Key, deadline: Deadline) {
        let now = self.now;
        match deadline {
            Deadline::Head => self.on_head_deadline(key),
            Deadline::Answer => self.on_answer_deadline(key),
            Deadline::CloseHandshake | Deadline::Linger => self.doom(key),
            Deadline::Idle => self.on_idle(key),
            Deadline::Auth => self.close(key, CloseCode::AUTH_TIMEOUT, "no token came in time"),
            Deadline::Token => self.on_token_due(key),
            Deadline::Ping => self.on_ping_due(key, 0),
            Deadline::Pong => {
                let Some(socket) = self.conns.get_mut(key).and_then(Conn::socket) else { return };
                let Life::Pinged { missed, .. } = socket.life else { return };
                if missed + 1 < self.limits.missed_pongs_max {
                    return self.on_ping_due(key, missed + 1);
                }
                self.fail(key, CloseCode::HEARTBEAT_TIMEOUT, "heartbeat timeout");
            }
            Deadline::Heartbeat => {
                let Some(interval) = self.limits.ping_interval else { return };
                if let Some(client) = self.conns.get_mut(key).and_then(Conn::client) {
                    client.heartbeat_due = now.mono + interval;
                }
                self.send(key, |out| encode::heartbeat(out, now.wall));
            }
        }
    }

    fn on_idle(&mut self, key: Key) {
        let now = self.now.mono;
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.hold.is_ours() {
            // We do not listen: its silence says nothing.
            conn.socket().into_iter().for_each(|socket| socket.last_message = now);
            return;
        }
        self.close(key, CloseCode::IDLE_TIMEOUT, "idle timeout");
    }

    fn on_head_deadline(&mut self, key: Key) {
        match self.conns.get(key).map(|conn| &conn.phase) {
            // A request was begun: say why it ends. Without one, silence meets silence.
            Some(Phase::Head { reader: Some(_), .. } | Phase::Body { .. }) => {
                self.tally.count(const { LIMITS_HIT.of("head_time") });
                let problem = Problem::new(Status::RequestTimeout, "The request did not come in time.");
                self.answer_problem(key, problem, false, After::Close);
            }
            _ => self.doom(key),
        }
    }

    /// Sends a ping after `missed` in a row that stayed unanswered.
    fn on_ping_due(&mut self, key: Key, missed: u32) {
        let now = self.now.mono;
        let Some(conn) = self.conns.get_mut(key) else { return };
        let deaf = conn.hold.is_ours();
        let Some(socket) = conn.socket() else { return };
        if deaf {
            socket.hear(now); // we do not listen: its silence says nothing
            return;
        }
        socket.life = Life::Pinged { at: now, missed };
        self.send_control(key, Opcode::Ping, b"");
    }

    /// Makes sure that the wheel fires no later than the connection's next deadline. An entry that fires too early
    /// looks and is armed again: activity never touches the wheel.
    pub(crate) fn rearm(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some((due, _)) = conn.next_deadline(&self.limits) else { return };
        let due = tick_at(due);
        match conn.timer {
            Some(timer) if self.wheel.deadline(timer) <= due => {}
            Some(timer) => self.wheel.reschedule(timer, due),
            None => conn.timer = Some(self.wheel.insert(due, Timer::Conn(key.slot))),
        }
    }
}
