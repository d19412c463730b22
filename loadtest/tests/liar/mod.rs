//! A small server that keeps to the protocol, except once, where it does what a test asks it to do.
//!
//! Blocking, a thread for each connection; slow, but easy to follow. Speaks the native words, those of Socket.IO (which
//! it also pings), and rooms by path.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What it does wrong, once, at [`AT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Leaves a message out.
    Drop,
    /// Sends a message twice.
    Double,
    /// Sends a message after the next one.
    Swap,
    /// Changes a message's last byte of filler.
    Damage,
    /// Changes a digit of the time in a message.
    Blur,
    /// Leaves out a message's number.
    Unnumber,
    /// Continues a message that never began.
    Continue,
    /// Begins a message inside another.
    Interrupt,
    /// Sends bytes for a text.
    Retype,
    /// Announces a gigabyte.
    Swell,
}

/// The message of the first connection at which it happens.
const AT: u32 = 5;

pub(crate) struct Liar {
    address: SocketAddr,
    pings: Arc<AtomicI64>,
}

#[derive(Default)]
struct Room {
    members: Vec<Arc<Mutex<Wire>>>,
    offset: u64,
}

/// The sending half of a connection.
struct Wire {
    stream: TcpStream,
    /// Messages so far, and what to do wrong; none for all but the first connection.
    count: u32,
    fault: Fault,
    held: Option<Vec<u8>>,
}

type Rooms = Arc<Mutex<std::collections::BTreeMap<String, Room>>>;

impl Liar {
    pub(crate) fn start(fault: Fault) -> Liar {
        Liar::serve(("127.0.0.1", 0), fault, 0)
    }

    /// At `place`; does wrong at connection number `at` alone.
    pub(crate) fn serve(place: (&str, u16), fault: Fault, at: usize) -> Liar {
        let listener = TcpListener::bind(place).expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let pings = Arc::new(AtomicI64::new(0));
        let all = Arc::clone(&pings);
        std::thread::spawn(move || {
            let rooms = Rooms::default();
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let fault = if number == at { fault } else { Fault::None };
                let (rooms, pings) = (Arc::clone(&rooms), Arc::clone(&all));
                std::thread::spawn(move || {
                    // The generator hangs up in the end; that is no error.
                    let _ = serve(stream, fault, &rooms, &pings);
                });
            }
        });
        Liar { address, pings }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Pings of Socket.IO that no pong has answered.
    pub(crate) fn unanswered_pings(&self) -> i64 {
        self.pings.load(Ordering::SeqCst)
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }
}

/// The dialects, by the path that was asked for.
enum Dialect {
    Echo,
    Native,
    SocketIo,
    /// The room that is the path.
    Path(String),
}

fn serve(mut stream: TcpStream, fault: Fault, rooms: &Rooms, pings: &AtomicI64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let dialect = match head.split(' ').nth(1).unwrap_or_default() {
        "/echo" => Dialect::Echo,
        "/socket.io/?EIO=4&transport=websocket" => Dialect::SocketIo,
        path => path.strip_prefix("/room/").map_or(Dialect::Native, |room| Dialect::Path(room.into())),
    };
    let wire = Wire { stream: stream.try_clone()?, count: 0, fault, held: None };
    let wire = Arc::new(Mutex::new(wire));
    {
        // Whoever is in by its path is a member as soon as it has read the answer, and hears nothing before that.
        let mut rooms = lock(rooms);
        // The generator always uses the key of RFC 6455 §1.3.
        stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )?;
        if let Dialect::Path(room) = &dialect {
            rooms.entry(room.clone()).or_default().members.push(Arc::clone(&wire));
        }
    }
    if let Dialect::SocketIo = dialect {
        lock(&wire).send(1, b"0{\"sid\":\"a\",\"pingInterval\":25000}")?;
    }
    loop {
        let (opcode, payload) = receive(&mut stream)?;
        let text = String::from_utf8_lossy(&payload);
        match (&dialect, opcode) {
            (_, 8) => return lock(&wire).stream.write_all(&[0x88, 0]),
            (Dialect::Echo, 1 | 2) => lock(&wire).deliver(opcode, &payload)?,
            (Dialect::Native, 1) => understand(&text, &wire, rooms)?,
            (Dialect::Path(room), 1) => publish(&lock(rooms).entry(room.clone()).or_default().members, &text),
            (Dialect::SocketIo, 1) => socket_io(&text, &wire, rooms, pings)?,
            _ => {}
        }
    }
}

fn publish(members: &[Arc<Mutex<Wire>>], text: &str) {
    for member in members {
        // Who has hung up gets nothing.
        let _ = lock(member).deliver(1, text.as_bytes());
    }
}

/// Socket.IO over Engine.IO: a digit for each layer, then an array of an event and what belongs to it.
fn socket_io(text: &str, wire: &Arc<Mutex<Wire>>, rooms: &Rooms, pings: &AtomicI64) -> std::io::Result<()> {
    let words: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
    match (text, words.as_slice()) {
        ("40", _) => {
            lock(wire).send(1, b"40{\"sid\":\"b\"}")?;
            pings.fetch_add(1, Ordering::SeqCst);
            lock(wire).send(1, b"2")
        }
        ("3", _) => {
            pings.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
        (_, ["echo", _]) => lock(wire).deliver(1, text.as_bytes()),
        (_, ["join", room]) => {
            lock(rooms).entry((*room).to_owned()).or_default().members.push(Arc::clone(wire));
            lock(wire).send(1, format!("42[\"joined\",\"{room}\"]").as_bytes())
        }
        (_, ["say", room, payload]) => {
            let said = format!("42[\"said\",{{\"room\":\"{room}\",\"message\":\"{payload}\"}}]");
            publish(&lock(rooms).entry((*room).to_owned()).or_default().members, &said);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn receive(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut two = [0; 2];
    stream.read_exact(&mut two)?;
    let len = match two[1] & 127 {
        126 => {
            let mut bytes = [0; 2];
            stream.read_exact(&mut bytes)?;
            u64::from(u16::from_be_bytes(bytes))
        }
        127 => {
            let mut bytes = [0; 8];
            stream.read_exact(&mut bytes)?;
            u64::from_be_bytes(bytes)
        }
        short => u64::from(short),
    };
    let mut key = [0; 4];
    stream.read_exact(&mut key)?;
    let mut payload = vec![0; usize::try_from(len).expect("a test's message fits memory")];
    stream.read_exact(&mut payload)?;
    payload.iter_mut().enumerate().for_each(|(i, byte)| *byte ^= key[i % 4]);
    Ok((two[0] & 15, payload))
}

impl Wire {
    fn send(&mut self, opcode: u8, payload: &[u8]) -> std::io::Result<()> {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            len @ 0..126 => frame.push(u8::try_from(len).expect("below 126")),
            len @ 126..=0xffff => {
                frame.push(126);
                frame.extend(u16::try_from(len).expect("below 65536").to_be_bytes());
            }
            len => {
                frame.push(127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        self.stream.write_all(&frame)
    }

    /// Sends a message as it should, except for the one.
    fn deliver(&mut self, opcode: u8, payload: &[u8]) -> std::io::Result<()> {
        self.count += 1;
        if self.count != AT {
            self.send(opcode, payload)?;
            return self.held.take().map_or(Ok(()), |held| self.send(opcode, &held));
        }
        match self.fault {
            Fault::None => self.send(opcode, payload),
            Fault::Drop => Ok(()),
            Fault::Double => {
                self.send(opcode, payload)?;
                self.send(opcode, payload)
            }
            Fault::Swap => {
                self.held = Some(payload.to_vec());
                Ok(())
            }
            Fault::Unnumber => {
                let text = String::from_utf8_lossy(payload);
                let (bare, _) = text.rsplit_once(",\"offset\":").expect("a number");
                self.send(opcode, format!("{bare}}}").as_bytes())
            }
            Fault::Blur => {
                let mut blurred = payload.to_vec();
                // The last but one digit before the marker's end.
                let end = blurred.iter().rposition(|byte| *byte == b'~').expect("a marker") - 3;
                blurred[end] = if blurred[end] == b'0' { b'1' } else { b'0' };
                self.send(opcode, &blurred)
            }
            Fault::Continue => self.send(0, payload),
            Fault::Interrupt => {
                self.stream.write_all(&[opcode, 1, b'x'])?;
                self.send(opcode, payload)
            }
            Fault::Retype => self.send(3 - opcode, payload),
            Fault::Swell => self.stream.write_all(&[0x80 | opcode, 127, 0, 0, 0, 0, 0x40, 0, 0, 0, b'x']),
            Fault::Damage => {
                let mut damaged = payload.to_vec();
                // Filler is letters: somewhere in the run of them after the marker.
                let end = damaged.iter().rposition(|byte| *byte == b'~').expect("a marker") + 3;
                damaged[end] ^= 1;
                self.send(opcode, &damaged)
            }
        }
    }
}

fn understand(text: &str, wire: &Arc<Mutex<Wire>>, rooms: &Rooms) -> std::io::Result<()> {
    let field = |name: &str| {
        let start = text.find(&format!("\"{name}\":\"")).map(|at| at + name.len() + 4)?;
        Some(text[start..start + text[start..].find('"')?].to_owned())
    };
    let (Some(kind), Some(room)) = (field("type"), field("room")) else { return Ok(()) };
    // Held while it is delivered, so that all members see one order.
    let mut rooms = lock(rooms);
    let entry = rooms.entry(room.clone()).or_default();
    if kind == "join_room" {
        entry.members.push(Arc::clone(wire));
        let answer = format!("{{\"type\":\"room_joined\",\"room\":\"{room}\",\"offset\":{}}}", entry.offset);
        return lock(wire).send(1, answer.as_bytes());
    }
    entry.offset += 1;
    let message = field("message").unwrap_or_default();
    let text = format!(
        "{{\"type\":\"chat_message\",\"room\":\"{room}\",\"user_id\":\"u\",\"message\":\"{message}\",\
         \"timestamp\":\"t\",\"offset\":{}}}",
        entry.offset
    );
    publish(&entry.members, &text);
    Ok(())
}
