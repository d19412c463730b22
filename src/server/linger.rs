//! Connections that were refused: told why in HTTP, or that it failed in TLS, then kept until the peer has read it.
//!
//! An answer within TLS would take a handshake, with a signature, for each who is too many: so there it is an alert,
//! seven bytes that can be sent at once (RFC 8446 §6.2).
//!
//! Closing at once would destroy the answer: the peer's request, unread by us, makes the kernel send a
//! reset, and a reset throws away what the peer had not read yet. So we end our side, discard what comes, and
//! close when the peer does, or after [`LINGER_MAX`]. Bounded in sockets, bytes and time; reads no clock.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::base::clock::Mono;
use crate::config::plan::DESCRIPTORS_REFUSED;
use crate::server::refused::Refused;
use crate::shard::barred::RETRY_AFTER_S;
use crate::wire::http::answer::{After, Hint, Problem, Status, with_headers};

/// Refused sockets kept at once; in a flood the oldest go, as they had the longest time to read.
pub const LINGERING_MAX: usize = DESCRIPTORS_REFUSED as usize;
/// Alerts of a server that cannot go on for reasons of its own, and of one that does not want this peer: records of two
/// bytes that end the handshake (RFC 8446 §5.1, §6).
const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
/// How long one is kept.
pub const LINGER_MAX: Duration = Duration::from_secs(1);
/// Bytes discarded from one; a request head is smaller, and who sends more is not about to read.
const DISCARD_MAX: usize = 64 * 1024;

/// All refused sockets, oldest first.
#[derive(Debug)]
pub struct Lingering {
    /// Invariant: at most [`LINGERING_MAX`], deadlines and tokens rising.
    guests: VecDeque<Guest>,
    /// Tokens count up from here and come around only after 2^63 refusals or so.
    next_token: usize,
    /// Ready to be sent, in the order of [`Refused::ALL`].
    answers: [Vec<u8>; Refused::ALL.len()],
}

#[derive(Debug)]
struct Guest {
    stream: TcpStream,
    token: Token,
    deadline: Mono,
    discarded: usize,
}

impl Lingering {
    /// Nobody yet; sockets will be registered under tokens from `first_token` up. `headers`: lines that every answer
    /// gets, each with its line end.
    #[must_use]
    pub fn new(first_token: usize, headers: &[u8]) -> Lingering {
        Lingering {
            guests: VecDeque::with_capacity(LINGERING_MAX),
            next_token: first_token,
            answers: Refused::ALL.map(|why| answer(&problem(why), headers)),
        }
    }

    /// Tells the peer why, as far as that can be told before a TLS handshake, and keeps the socket for a while.
    pub fn refuse(&mut self, mut stream: TcpStream, why: Refused, tls: bool, now: Mono, registry: &Registry) {
        let answer = if tls { alert(why) } else { self.answer(why) };
        // A fresh socket's send buffer holds the whole answer; if not, or if the peer is gone, so be it.
        if !matches!(stream.write(answer), Ok(written) if written == answer.len()) {
            return;
        }
        let token = Token(self.next_token);
        if stream.shutdown(Shutdown::Write).is_err()
            || registry.register(&mut stream, token, Interest::READABLE).is_err()
        {
            return;
        }
        self.next_token += 1;
        if self.guests.len() == LINGERING_MAX
            && let Some(oldest) = self.guests.pop_front()
        {
            oldest.close(registry);
        }
        self.guests.push_back(Guest { stream, token, deadline: now + LINGER_MAX, discarded: 0 });
    }

    fn answer(&self, why: Refused) -> &[u8] {
        let found = Refused::ALL.iter().zip(&self.answers).find(|(one, _)| **one == why);
        found.map_or(&[], |(_, answer)| answer)
    }

    /// Discards what came on a socket; closes it at its end.
    pub fn readable(&mut self, token: Token, registry: &Registry) {
        let Some(index) = self.guests.iter().position(|guest| guest.token == token) else { return };
        if self.guests[index].discard_all()
            && let Some(guest) = self.guests.remove(index)
        {
            guest.close(registry);
        }
    }

    /// Closes all whose time is up.
    pub fn expire(&mut self, now: Mono, registry: &Registry) {
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            if let Some(guest) = self.guests.pop_front() {
                guest.close(registry);
            }
        }
    }

    /// When [`Lingering::expire`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        self.guests.front().map(|guest| guest.deadline)
    }
}

impl Guest {
    /// Reads until nothing is left; true if the socket is done for.
    fn discard_all(&mut self) -> bool {
        let mut trash = [0; 4096];
        while self.discarded < DISCARD_MAX {
            match self.stream.read(&mut trash) {
                Ok(0) => return true,
                Ok(count) => self.discarded += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn close(mut self, registry: &Registry) {
        // Closing ends the registration as well where this fails.
        let _ = registry.deregister(&mut self.stream);
    }
}

/// What is told: what concerns all is a 503, what concerns an address a 429.
fn problem(why: Refused) -> Problem {
    let text = match why {
        Refused::Address(barred) => return barred.problem(),
        Refused::TooManyConnections => "Too many connections; come back in a moment.",
        Refused::Memory => "The server is full; come back in a moment.",
        Refused::Draining => "The server is going down; come back in a moment.",
    };
    Problem::new(Status::ServiceUnavailable, text).with(Hint::RetryAfter(RETRY_AFTER_S))
}

fn answer(problem: &Problem, headers: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    with_headers(&mut answer, headers, |answer| problem.write(answer, false, After::Close));
    answer
}

fn alert(why: Refused) -> &'static [u8] {
    if matches!(why, Refused::Address(_)) { &ACCESS_DENIED } else { &INTERNAL_ERROR }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::shard::barred::Barred;

    /// A connected pair: the refused side, and the peer.
    fn pair(listener: &TcpListener) -> (TcpStream, std::net::TcpStream) {
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        (TcpStream::from_std(ours), peer)
    }

    #[test]
    fn answers_are_complete_http_with_json_in_it() {
        let lingering = Lingering::new(0, b"X-Mine: 1\r\nX-Other: 2\r\n");
        let table = [
            (lingering.answer(Refused::TooManyConnections), "HTTP/1.1 503 ", "unavailable"),
            (lingering.answer(Refused::Address(Barred::Banned)), "HTTP/1.1 429 ", "rate_limited"),
        ];
        for (answer, status, code) in table {
            let text = std::str::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(status), "{head}");
            assert!(head.ends_with(&format!("\r\nContent-Length: {}", body.len())), "{head}");
            assert!(head.contains("Retry-After: 5\r\n"), "{head}");
            assert!(head.contains("\r\nX-Mine: 1\r\nX-Other: 2\r\n"), "{head}");
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(json["error"]["code"], code);
            assert!(json["error"]["message"].is_string());
        }
    }

    #[test]
    fn the_answer_survives_a_request_that_comes_late() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut poll = mio::Poll::new().unwrap();
        let (ours, mut peer) = pair(&listener);
        let mut lingering = Lingering::new(7, b"");
        lingering.refuse(ours, Refused::TooManyConnections, false, Mono(0), poll.registry());
        peer.write_all(&[b'x'; 3000]).unwrap();
        let mut events = mio::Events::with_capacity(4);
        let mut got = Vec::new();
        poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        for event in &events {
            lingering.readable(event.token(), poll.registry());
        }
        peer.read_to_end(&mut got).expect("no reset");
        assert!(got.starts_with(b"HTTP/1.1 503 ") && got.ends_with(b"}}"));
        assert_eq!(lingering.guests.len(), 1);
        drop(peer);
        while !lingering.guests.is_empty() {
            poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
            assert!(!events.is_empty(), "the end of the peer closes our side");
            for event in &events {
                lingering.readable(event.token(), poll.registry());
            }
        }
    }

    #[test]
    fn bounded_in_number_and_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let poll = mio::Poll::new().unwrap();
        let mut lingering = Lingering::new(0, b"");
        let mut peers = Vec::new();
        for number in 0..LINGERING_MAX as u64 + 3 {
            let (ours, peer) = pair(&listener);
            lingering.refuse(ours, Refused::Memory, true, Mono(number), poll.registry());
            peers.push(peer);
        }
        assert_eq!(lingering.guests.len(), LINGERING_MAX);
        assert_eq!(lingering.next_deadline(), Some(Mono(3) + LINGER_MAX), "the oldest went");
        lingering.expire(Mono(4) + LINGER_MAX, poll.registry());
        assert_eq!(lingering.guests.len(), LINGERING_MAX - 2);
        lingering.expire(Mono(100) + LINGER_MAX, poll.registry());
        assert_eq!((lingering.guests.len(), lingering.next_deadline()), (0, None));
    }
}
