//! Client vocabulary of the whole-server tests: a server that is started and ended, clients that ask and wait.
//!
//! Nothing here waits for a time to pass: a read ends with what it waits for, and [`GUARD`] only turns a test that
//! would hang into one that fails.

pub(crate) mod editor;
pub(crate) mod raw;
pub(crate) mod secure;

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{ClientRequestBuilder, Error, Message, WebSocket};

/// Whatever takes longer than this has failed, also on a machine that does much else.
pub(crate) const GUARD: Duration = Duration::from_secs(20);
/// Read buffer of one client: tests have hundreds of them.
const READ_BUFFER_BYTES: usize = 8 << 10;

/// Asks again and again until the answer is yes; `what` says what has failed otherwise.
#[expect(clippy::disallowed_methods, reason = "the guard of a test that would hang")]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < GUARD, "never: {what}");
        thread::yield_now();
    }
}

/// The real program on a port of its own; killed when dropped.
pub(crate) struct Server {
    child: Child,
    stdout: Option<ChildStdout>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    ended: bool,
}

impl Server {
    /// Starts with two shards, unless `args` say otherwise, and waits until it listens.
    pub(crate) fn start(args: &[&str]) -> Server {
        Server::start_at("127.0.0.1:0", args)
    }

    /// Starts on a certain address.
    pub(crate) fn start_at(address: &str, args: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
        command.env_clear().args(["--listen", address, "--log-level", "error"]).args(args);
        // Most tests are about something else, and faster than any honest client.
        if !args.contains(&"--rate-limit") {
            command.args(["--rate-limit", "off"]);
        }
        if !args.contains(&"--shards") {
            command.args(["--shards", "2"]);
        }
        Server::of(command)
    }

    /// Starts what this command says, and waits until it listens.
    pub(crate) fn of(mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("UTF-8 on stdout");
        let url = line.trim().strip_prefix("chat page: http").and_then(|url| url.strip_suffix('/'));
        let address = url.and_then(|url| url.strip_prefix("s://").or(url.strip_prefix("://")));
        let address = address.and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        Server { child, stdout: Some(stdout.into_inner()), address, ended: false }
    }

    /// A native client that was welcomed; `target` is path and query, such as `/ws?user_id=ann`.
    pub(crate) fn client(&self, target: &str) -> Client {
        let mut client = self.dial(target, None);
        client.welcome = client.object();
        assert_eq!(client.welcome["type"], "welcome");
        client
    }

    /// A native client of this user.
    pub(crate) fn user(&self, user: &str) -> Client {
        self.client(&format!("/ws?user_id={user}"))
    }

    /// Native clients of users u0, u1, …: neighbours are on different shards.
    pub(crate) fn users(&self, count: usize) -> Vec<Client> {
        (0..count).map(|number| self.user(&format!("u{number}"))).collect()
    }

    /// A WebSocket to `target` of which nothing was read yet.
    pub(crate) fn dial(&self, target: &str, subprotocol: Option<&str>) -> Client {
        self.dial_with(target, subprotocol.as_slice(), &[])
    }

    /// As [`Server::dial`], with several subprotocols and more headers.
    pub(crate) fn dial_with(&self, target: &str, subprotocols: &[&str], headers: &[(&str, &str)]) -> Client {
        let uri = format!("ws://{}{target}", self.address).parse().expect("a good target");
        let mut request = ClientRequestBuilder::new(uri);
        for subprotocol in subprotocols {
            request = request.with_sub_protocol(*subprotocol);
        }
        for (name, value) in headers {
            request = request.with_header(*name, *value);
        }
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let dialled = tungstenite::client::client_with_config(request, self.connect(), Some(config));
        let (socket, response) = dialled.expect("the upgrade succeeds");
        let subprotocol = response.headers().get("sec-websocket-protocol");
        let subprotocol = subprotocol.map(|value| value.to_str().expect("ASCII").to_owned());
        Client { socket, welcome: Value::Null, subprotocol, unread: VecDeque::new(), asked: 0 }
    }

    /// A TCP connection.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the server accepts");
        guarded(&stream);
        stream
    }

    /// Sends these bytes and reads until the server ends the connection.
    pub(crate) fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("the request goes out");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer and an end");
        answer
    }

    /// The numbers of `/health`.
    pub(crate) fn health(&self) -> Value {
        let answer = self.exchange("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        serde_json::from_str(body).expect("JSON")
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        let mut stdout = self.stdout.take().expect("asked once");
        let (ended, wait) = mpsc::channel();
        thread::spawn(move || {
            // The pipe ends with the process.
            let _ = ended.send(io::copy(&mut stdout, &mut io::sink()));
        });
        wait.recv_timeout(GUARD).expect("the process ends").expect("the pipe can be read");
        self.ended = true;
        self.child.wait().expect("the process has a status")
    }

    /// Most memory that the process had in use so far, in KiB.
    pub(crate) fn resident_kib_most(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "a test that fails already can say no more by a panic")]
    fn drop(&mut self) {
        let early = if self.ended { None } else { self.child.try_wait().ok().flatten() };
        let _ = self.child.kill();
        let _ = self.child.wait();
        match early {
            Some(status) if thread::panicking() => eprintln!("the server ended by itself: {status}"),
            Some(status) => panic!("the server ended by itself: {status}"),
            None => {}
        }
    }
}

/// Reads the head of an HTTP answer, and not a byte of what follows.
pub(crate) fn head(stream: &mut impl Read) -> String {
    let (mut head, mut byte) = (String::new(), [0]);
    while !head.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        head.push(char::from(byte[0]));
    }
    head
}

fn guarded(stream: &TcpStream) {
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(GUARD)).expect("a socket");
    stream.set_write_timeout(Some(GUARD)).expect("a socket");
}

/// What a client reads next.
#[derive(Debug)]
pub(crate) enum Got {
    /// A message.
    Object(Value),
    /// The server's close frame; 1005 if it has no code.
    Closed(u16),
    /// The connection is gone, for this reason.
    Ended(Error),
}

/// A native client by somebody else's WebSocket implementation. It answers pings while it reads.
pub(crate) struct Client {
    socket: WebSocket<TcpStream>,
    /// The first message.
    pub(crate) welcome: Value,
    /// The subprotocol that the server chose.
    pub(crate) subprotocol: Option<String>,
    /// Messages that came while an answer was awaited.
    unread: VecDeque<Value>,
    asked: u64,
}

impl Client {
    /// Sends an object.
    pub(crate) fn send(&mut self, object: &Value) {
        self.send_text(object.to_string());
    }

    /// Sends a text message.
    pub(crate) fn send_text(&mut self, text: String) {
        self.socket.send(Message::text(text)).expect("the message goes out");
    }

    /// Sends a chat message.
    pub(crate) fn say(&mut self, room: &str, message: impl Into<Value>) {
        let message: Value = message.into();
        self.send(&json!({"type": "chat_message", "room": room, "message": message}));
    }

    /// What comes next, whatever it is.
    pub(crate) fn next(&mut self) -> Got {
        if let Some(object) = self.unread.pop_front() {
            return Got::Object(object);
        }
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    return Got::Object(serde_json::from_str(&text).expect("a JSON object"));
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(frame)) => {
                    return Got::Closed(frame.map_or(1005, |frame| frame.code.into()));
                }
                Ok(other) => panic!("unexpected: {other:?}"),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("nothing came for {GUARD:?}");
                }
                Err(error) => return Got::Ended(error),
            }
        }
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn object(&mut self) -> Value {
        match self.next() {
            Got::Object(object) => object,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// The next message, which has to be of this type.
    #[track_caller]
    pub(crate) fn expect(&mut self, kind: &str) -> Value {
        let object = self.object();
        assert_eq!(object["type"], kind, "{object}");
        object
    }

    /// The next message of this type; those before it are thrown away.
    #[track_caller]
    pub(crate) fn find(&mut self, kind: &str) -> Value {
        loop {
            let object = self.object();
            if object["type"] == kind {
                return object;
            }
        }
    }

    /// Sends an object with an id and waits for the answer that carries it; what comes before stays to be read.
    #[track_caller]
    pub(crate) fn ask(&mut self, mut object: Value) -> Value {
        self.asked += 1;
        let id = json!(format!("ask-{}", self.asked));
        object["id"] = id.clone();
        self.send(&object);
        let mut before = std::mem::take(&mut self.unread);
        loop {
            let object = self.object();
            if object["id"] == id {
                self.unread = before;
                return object;
            }
            before.push_back(object);
        }
    }

    /// Joins a room and returns the snapshot.
    #[track_caller]
    pub(crate) fn join(&mut self, room: &str) -> Value {
        let joined = self.ask(json!({"type": "join_room", "room": room}));
        assert_eq!(joined["type"], "room_joined", "{joined}");
        joined
    }

    /// Leaves a room.
    #[track_caller]
    pub(crate) fn leave(&mut self, room: &str) {
        let left = self.ask(json!({"type": "leave_room", "room": room}));
        assert_eq!(left["type"], "room_left", "{left}");
    }

    /// Everything that came up to the answer to a ping sent now.
    #[track_caller]
    pub(crate) fn settle(&mut self) -> Vec<Value> {
        self.ask(json!({"type": "ping"}));
        self.unread.drain(..).collect()
    }

    /// Everything that came up to an answer of the room's owner: all that was sent to the room before is in it.
    #[track_caller]
    pub(crate) fn catch_up(&mut self, room: &str) -> Vec<Value> {
        self.ask(json!({"type": "get_users", "room": room}));
        self.unread.drain(..).collect()
    }

    /// Reads until the server closes, answers, reads to the end, and returns the code.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> u16 {
        let code = loop {
            match self.next() {
                Got::Object(_) => {}
                Got::Closed(code) => break code,
                Got::Ended(error) => panic!("ended without a close frame: {error}"),
            }
        };
        while !matches!(self.next(), Got::Ended(_)) {}
        code
    }

    /// Closes from this side and waits for the end.
    pub(crate) fn close(mut self) {
        self.socket.close(None).expect("the close frame goes out");
        while !matches!(self.next(), Got::Ended(_)) {}
    }

    /// The connection below.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.socket.get_ref()
    }
}

/// Offset of a chat message.
#[track_caller]
pub(crate) fn offset(object: &Value) -> u64 {
    object["offset"].as_u64().unwrap_or_else(|| panic!("no offset: {object}"))
}
