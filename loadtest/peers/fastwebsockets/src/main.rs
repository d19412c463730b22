//! A peer for comparisons: echo and rooms on fastwebsockets, on one thread.
//!
//! Written to show the library at its best: the upgrade is made by hand (no HTTP library), texts are shared between
//! members, and a connection gathers all that is ready before it flushes. No numbers, no history, no limits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::SystemTime;

use base64::Engine as _;
use bytes::Bytes;
use fastwebsockets::{FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocket};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

type Rooms = Rc<RefCell<HashMap<String, Vec<(u64, UnboundedSender<Bytes>)>>>>;

#[derive(Deserialize)]
struct Asked<'a> {
    r#type: &'a str,
    room: &'a str,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

fn main() -> std::io::Result<()> {
    let mut words = std::env::args().skip(1);
    let (Some(port), Some(mode)) = (words.next().and_then(|port| port.parse::<u16>().ok()), words.next())
    else {
        return Err(std::io::Error::other("usage: peer-fastwebsockets PORT echo|rooms"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(port, mode == "echo"))
}

async fn serve(port: u16, is_echo: bool) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let rooms = Rooms::default();
    for number in 0_u64.. {
        let (mut socket, _) = listener.accept().await?;
        let rooms = Rc::clone(&rooms);
        tokio::task::spawn_local(async move {
            let _ = socket.set_nodelay(true);
            if upgrade(&mut socket).await.is_none() {
                return;
            }
            if is_echo {
                echo(socket).await;
            } else {
                member(number, socket, &rooms).await;
                rooms.borrow_mut().retain(|_, members| {
                    members.retain(|(member, _)| *member != number);
                    !members.is_empty()
                });
            }
        });
    }
    Ok(())
}

async fn upgrade(socket: &mut TcpStream) -> Option<()> {
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut head).await.ok()? == 0 || head.len() > 8192 {
            return None;
        }
    }
    let head = std::str::from_utf8(&head).ok()?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    })?;
    let digest =
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    socket.write_all(answer.as_bytes()).await.ok()
}

async fn echo(socket: TcpStream) {
    let mut socket = WebSocket::after_handshake(socket, Role::Server);
    socket.set_writev(false);
    socket.set_auto_close(true);
    socket.set_auto_pong(true);
    socket.set_max_message_size(64 << 20);
    let mut socket = FragmentCollector::new(socket);
    while let Ok(frame) = socket.read_frame().await {
        match frame.opcode {
            OpCode::Close => return,
            OpCode::Text | OpCode::Binary => {
                if socket.write_frame(frame).await.is_err() {
                    return;
                }
            }
            _ => {}
        }
    }
}

async fn member(number: u64, socket: TcpStream, rooms: &Rooms) {
    let mut socket = WebSocket::after_handshake(socket, Role::Server);
    socket.set_writev(false);
    let (reader, mut writer) = socket.split(|stream: TcpStream| {
        let (reader, writer) = stream.into_split();
        (reader, BufWriter::with_capacity(16 << 10, writer))
    });
    let (sender, mut inbox) = unbounded_channel::<Bytes>();
    let writing = tokio::task::spawn_local(async move {
        while let Some(text) = inbox.recv().await {
            let mut next = Some(text);
            while let Some(text) = next.take() {
                // Nothing is an empty text here: it stands for the end.
                let frame = if text.is_empty() {
                    Frame::close(1000, b"")
                } else {
                    Frame::text(Payload::Borrowed(&text))
                };
                if writer.write_frame(frame).await.is_err() {
                    return;
                }
                next = inbox.try_recv().ok();
            }
            if writer.flush().await.is_err() {
                return;
            }
        }
    });
    let mut reader = FragmentCollectorRead::new(reader);
    // Pongs and close answers, which nobody measures here.
    let mut obliged = |_: Frame<'_>| async { Ok::<(), Infallible>(()) };
    while let Ok(frame) = reader.read_frame(&mut obliged).await {
        match frame.opcode {
            OpCode::Text => understand(number, &frame.payload, &sender, rooms),
            OpCode::Close => break,
            _ => {}
        }
    }
    let _ = sender.send(Bytes::new());
    drop(sender);
    rooms.borrow_mut().values_mut().for_each(|members| members.retain(|(member, _)| *member != number));
    let _ = writing.await;
}

fn understand(number: u64, text: &[u8], sender: &UnboundedSender<Bytes>, rooms: &Rooms) {
    let Ok(asked) = serde_json::from_slice::<Asked<'_>>(text) else { return };
    let mut rooms = rooms.borrow_mut();
    match (asked.r#type, asked.message) {
        ("join_room", _) => {
            let members = rooms.entry(asked.room.to_owned()).or_default();
            members.push((number, sender.clone()));
            let count = members.len();
            let room = asked.room;
            let answer = format!(r#"{{"type":"room_joined","room":"{room}","members_count":{count}}}"#);
            let _ = sender.send(answer.into());
        }
        ("chat_message", Some(message)) => {
            let Some(members) = rooms.get(asked.room) else { return };
            let (room, now) = (asked.room, humantime::format_rfc3339_millis(SystemTime::now()));
            let text: Bytes = format!(
                r#"{{"type":"chat_message","room":"{room}","user_id":"u","message":{message},"timestamp":"{now}"}}"#
            )
            .into();
            for (_, member) in members {
                let _ = member.send(text.clone());
            }
        }
        _ => {}
    }
}
