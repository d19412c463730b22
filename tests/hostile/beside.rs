//! The innocent: two members of a room who talk all the time, and a newcomer afterwards.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::peer::{BINARY, FIN, Peer, frame};
use crate::server::Server;

/// Between two things that the innocent say.
const PACE: Duration = Duration::from_millis(5);
/// Longest that an innocent message may take, on a machine that is busy with other tests.
const NOTICED: Duration = Duration::from_secs(10);

/// Two members on different shards, one of whom talks.
pub(crate) struct Beside {
    stop: Sender<()>,
    talk: JoinHandle<()>,
}

impl Beside {
    #[track_caller]
    pub(crate) fn start(server: &Server) -> Beside {
        let mut ann = Peer::member(server, "/ws/beside?user_id=ann");
        ann.object("room_joined");
        let mut bob = Peer::member(server, "/ws/beside?user_id=bob");
        bob.object("room_joined");
        ann.object("user_joined");
        let (stop, stopped) = channel();
        Beside { stop, talk: thread::spawn(move || talk(&mut ann, &mut bob, &stopped)) }
    }

    /// Ends the talk; fails if anything was lost, doubled, out of order or late.
    #[track_caller]
    pub(crate) fn stop(self) {
        drop(self.stop);
        self.talk.join().expect("nothing was noticed");
    }
}

#[expect(clippy::disallowed_methods, reason = "measures how long a message takes")]
fn talk(ann: &mut Peer, bob: &mut Peer, stopped: &Receiver<()>) {
    let mut number = 0;
    while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) || number == 0 {
        number += 1;
        let said = Instant::now();
        ann.say(&format!(r#"{{"type":"chat_message","room":"beside","message":{number}}}"#));
        for member in [&mut *ann, &mut *bob] {
            // Strangers may broadcast; that is not part of the talk.
            let heard = member.object_among("chat_message");
            assert_eq!((&heard["message"], &heard["offset"]), (&number.into(), &number.into()), "{heard}");
        }
        assert!(said.elapsed() < NOTICED, "message {number} took {:?}", said.elapsed());
    }
}

/// Somebody who comes now is served: an echo, a room, a page.
#[track_caller]
pub(crate) fn newcomer_is_served(server: &Server) {
    let mut echo = Peer::open(server, "/echo");
    echo.send(frame(FIN | BINARY, b"are you there?"));
    echo.expect_echo(BINARY, b"are you there?");
    let mut member = Peer::member(server, "/ws");
    member.say(r#"{"type":"join_room","room":"newcomers","id":1}"#);
    assert_eq!(member.object("room_joined")["id"], 1);
    member.say(r#"{"type":"chat_message","room":"newcomers","message":"hello","id":2}"#);
    assert_eq!(member.object("chat_message")["message"], "hello");
    let mut page = Peer::connect(server);
    page.send("GET /health HTTP/1.1\r\nHost: example.org\r\n\r\n");
    assert_eq!(page.answer().map(|answer| answer.status), Some(200));
}

/// The shape of every test: a server with these flags, an attack on it, and nobody notices.
#[track_caller]
pub(crate) fn withstands(flags: &[&str], attack: impl FnOnce(&Server)) {
    let server = Server::start(flags);
    let beside = Beside::start(&server);
    attack(&server);
    newcomer_is_served(&server);
    beside.stop();
    server.forgets_everybody();
    server.comes_to_rest();
    server.end_content();
}
