//! A peer for comparisons: echo and rooms on tokio-tungstenite, on one thread.
//!
//! Written to show the library at its best: texts are shared between members, and a connection gathers all that is
//! ready before it flushes. No order between shards, no numbers, no history, no limits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::SystemTime;

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Room for what one read brings.
const READ_BYTES: usize = 8 << 10;

type Rooms = Rc<RefCell<HashMap<String, Vec<(u64, UnboundedSender<Utf8Bytes>)>>>>;

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
        return Err(std::io::Error::other("usage: peer-tungstenite PORT echo|rooms"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(port, mode == "echo"))
}

async fn serve(port: u16, is_echo: bool) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let rooms = Rooms::default();
    for number in 0_u64.. {
        let (socket, _) = listener.accept().await?;
        let rooms = Rc::clone(&rooms);
        tokio::task::spawn_local(async move {
            let _ = socket.set_nodelay(true);
            // The default of 128 KiB is cleared before every read, which would cost more than all the rest.
            let config =
                WebSocketConfig::default().read_buffer_size(READ_BYTES).max_message_size(Some(64 << 20));
            let config = config.max_frame_size(Some(64 << 20));
            let accepted = tokio_tungstenite::accept_async_with_config(socket, Some(config)).await;
            let Ok(socket) = accepted else { return };
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

async fn echo(mut socket: WebSocketStream<TcpStream>) {
    while let Some(Ok(message)) = socket.next().await {
        let mut next = Some(message);
        while let Some(message) = next.take() {
            if (message.is_text() || message.is_binary()) && socket.feed(message).await.is_err() {
                return;
            }
            next = socket.next().now_or_never().flatten().and_then(Result::ok);
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}

async fn member(number: u64, mut socket: WebSocketStream<TcpStream>, rooms: &Rooms) {
    let (sender, mut inbox) = unbounded_channel::<Utf8Bytes>();
    loop {
        tokio::select! {
            came = socket.next() => {
                let Some(Ok(message)) = came else { return };
                if let Message::Text(text) = message {
                    understand(number, &text, &sender, rooms);
                }
            }
            Some(text) = inbox.recv() => {
                let mut next = Some(text);
                while let Some(text) = next.take() {
                    if socket.feed(Message::Text(text)).await.is_err() {
                        return;
                    }
                    next = inbox.try_recv().ok();
                }
                if socket.flush().await.is_err() {
                    return;
                }
            }
        }
    }
}

fn understand(number: u64, text: &str, sender: &UnboundedSender<Utf8Bytes>, rooms: &Rooms) {
    let Ok(asked) = serde_json::from_str::<Asked<'_>>(text) else { return };
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
            let text: Utf8Bytes = format!(
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
