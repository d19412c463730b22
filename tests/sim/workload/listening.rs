//! What clients hear: answers, frames, and how connections end.

use serde_json::Value;

use super::{GRACE_US, Kind, Sim};
use crate::net::{self, BINARY, CLOSE, End, PING, PONG, TEXT};

impl Sim {
    /// A client looks at what it has received.
    pub(super) fn listen(&mut self, i: usize) {
        self.truth.now_us = self.world.now_us;
        let client = &mut self.clients[i];
        if let Some(pass) = &mut client.viewer.pass {
            pass.now_ms = self.world.now_us / 1000;
        }
        let link = &mut self.world.links[client.link];
        if client.over || (link.received.is_empty() && link.ended.is_none()) {
            return;
        }
        client.reader.feed(&std::mem::take(&mut link.received));
        if client.kind == Kind::App {
            while let Some((status, body)) = client.reader.answer_with_body() {
                if status == 408 {
                    break; // it had nothing to ask for a while
                }
                let body = serde_json::from_slice(&body).expect("the server writes JSON");
                client.app.hear(status, &body, &mut self.truth);
            }
        } else if !client.upgraded {
            while let Some(status) = client.reader.answer() {
                client.answers += 1;
                client.upgraded = status == 101;
                match client.kind {
                    Kind::Native | Kind::Echo if status == 101 => break,
                    Kind::Http { .. } if status == 408 && client.held_until_us.is_some() => {}
                    Kind::Http { .. } => assert_eq!(status, 200, "client {i}"),
                    Kind::Half => assert_eq!(status, 408, "client {i}"),
                    _ => {
                        let pass = client.viewer.pass.as_ref().filter(|_| client.kind == Kind::Echo);
                        let refused = status == 401 && pass.is_some_and(|pass| pass.judge_close(4001, false));
                        let excused = client.held_until_us.is_some() || self.truth.drained || refused;
                        assert!(excused, "client {i} was refused with {status}");
                    }
                }
            }
        }
        while self.clients[i].upgraded
            && let Some((opcode, payload)) = self.clients[i].reader.frame()
        {
            self.hear(i, opcode, &payload);
        }
        if let Some(end) = self.world.links[self.clients[i].link].ended {
            self.lose(i, end);
        }
    }

    pub(super) fn hear(&mut self, i: usize, opcode: u8, payload: &[u8]) {
        let step = self.step;
        for byte in payload.iter().chain([&opcode]) {
            self.digest = self.digest.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte) ^ (i as u64) << 8;
        }
        let client = &mut self.clients[i];
        if self.trace {
            println!(
                "{step} @{} client {i} hears {opcode}: {}",
                self.world.now_us,
                String::from_utf8_lossy(payload)
            );
        }
        // What is said before the welcome says nothing about the session.
        if opcode == TEXT || client.viewer.welcomed.is_some() {
            client.seen_us = self.world.now_us;
        }
        assert_eq!(client.close_heard, None, "client {i} hears {opcode} after the close frame");
        match opcode {
            TEXT if client.kind == Kind::Echo => {
                assert!(!client.echoes.is_empty() && client.echoes.remove(0) == payload, "client {i}: echo");
            }
            TEXT => {
                let said: Value = serde_json::from_slice(payload).expect("the server writes JSON");
                if client.viewer.is_over_with(&said) {
                    // Its session is gone: it begins anew, and what it saw before is judged as far as that went.
                    let ended = client.kicked || !client.viewer.must_resume;
                    assert!(ended, "client {i}: its session is gone");
                    let anew = client.viewer.anew();
                    let past = std::mem::replace(&mut client.viewer, anew);
                    self.past.push(past);
                }
                if let Some(pass) = client.viewer.pass.as_ref().filter(|_| client.held_until_us.is_none()) {
                    pass.judge_age();
                }
                if !client.subscriber.hear(&said, &mut self.channels, step) {
                    client.viewer.hear(&said, &mut self.truth, step);
                }
                if said["type"] == "auth_success"
                    && let Some(pass) = &client.viewer.pass
                {
                    client.subscriber.renewed(pass.grants());
                }
                if said["type"] == "document_state" {
                    self.truth.kept.compare(&said, client.viewer.process, self.world.now_us);
                }
                if said["type"] == "welcome" {
                    (client.process, client.doubts) = (client.viewer.process, false);
                    client.id = said["client_id"].as_str().map(str::to_owned);
                }
                self.tempt(&said);
                if said["type"] == "heartbeat" && self.dice.once_in(2) && !self.clients[i].close_sent {
                    let pong = net::message(b"{\"type\":\"pong\"}", &mut self.dice);
                    self.send(i, &pong);
                }
            }
            BINARY => client.viewer.hear_binary(payload, &mut self.truth),
            // RFC 6455 §5.5.1: nothing after the close frame.
            PING if client.close_sent => {}
            PING => {
                let pong = net::frame(PONG, true, payload, &mut self.dice);
                self.send(i, &pong);
            }
            PONG => {}
            _ => self.hear_close(i, payload),
        }
    }

    pub(super) fn hear_close(&mut self, i: usize, payload: &[u8]) {
        let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        let client = &mut self.clients[i];
        client.close_heard = Some(code);
        let held = client.held_until_us.is_some();
        let justified = match code {
            1000 => client.close_sent,
            1001 => self.truth.drained,
            1008 => {
                (client.named.is_some() || client.viewer.pass.is_some())
                    && self.limits.connections_per_user_max.is_some()
            }
            4003 => self.limits.idle_timeout.is_some(),
            // An earlier connection, given up before it was open, may have been heard last.
            4008 => client.kicked || client.viewer.session.is_some(),
            // A kernel that buffers little makes everybody slow.
            4004 => true,
            4006 => held,
            4001 | 4002 | 4007 => {
                let strict = !held && client.viewer.last_seq.is_none();
                client.viewer.pass.as_ref().is_some_and(|pass| pass.judge_close(code, strict))
            }
            _ => client.outlaw,
        };
        assert!(justified || client.outlaw, "client {i} was closed with {code}");
        if !client.close_sent {
            let answer = net::frame(CLOSE, true, payload, &mut self.dice);
            self.send(i, &answer);
            self.clients[i].close_sent = true;
        }
        self.world.links[self.clients[i].link].end(End::Fin);
    }

    /// A connection has ended.
    pub(super) fn lose(&mut self, i: usize, end: End) {
        let client = &mut self.clients[i];
        let link = &mut self.world.links[client.link];
        if self.trace {
            println!("{} client {i} has lost its connection: {end:?} at {}", self.step, self.world.now_us);
        }
        client.over = true;
        if matches!(client.close_heard, Some(1000 | 1001 | 1005 | 1008 | 4007)) {
            client.viewer.session = None; // it does not come back
        }
        // Who ended its own side without a close frame, or held the bytes up, has no claim to last words.
        let held =
            client.held_until_us.is_some_and(|until| until.saturating_add(GRACE_US) > self.world.now_us);
        let claim = client.upgraded && !held && !client.gave_up;
        assert!(!claim || client.close_heard.is_some(), "client {i} was dropped without a word: {end:?}");
        assert!(!claim || client.reader.left() == 0, "client {i}: half a frame");
        link.end(End::Fin);
    }
}
