//! What the peers on tokio have in common: one thread that accepts, and rooms whose members are queues.
//!
//! Knows no WebSocket; each peer brings its library. No numbers, no history, no limits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Room names, and for each member its number and queue. `T` is a text that is cheap to clone.
type Rooms<T> = Rc<RefCell<HashMap<String, Vec<(u64, UnboundedSender<T>)>>>>;

#[derive(Deserialize)]
struct Asked<'a> {
    r#type: &'a str,
    room: &'a str,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

/// A connection's part in the rooms; it leaves them when this is dropped.
pub struct Member<T> {
    number: u64,
    /// What sends to this member.
    pub sender: UnboundedSender<T>,
    rooms: Rooms<T>,
}

impl<T> Drop for Member<T> {
    fn drop(&mut self) {
        self.rooms.borrow_mut().retain(|_, members| {
            members.retain(|(member, _)| *member != self.number);
            !members.is_empty()
        });
    }
}

impl<T: Clone + From<String>> Member<T> {
    /// Does what a client's text asks for.
    pub fn understand(&self, text: &[u8]) {
        let Ok(asked) = serde_json::from_slice::<Asked<'_>>(text) else { return };
        let mut rooms = self.rooms.borrow_mut();
        let room = asked.room;
        match (asked.r#type, asked.message) {
            ("join_room", _) => {
                let members = rooms.entry(room.to_owned()).or_default();
                members.push((self.number, self.sender.clone()));
                let count = members.len();
                let answer = format!(r#"{{"type":"room_joined","room":"{room}","members_count":{count}}}"#);
                let _ = self.sender.send(answer.into());
            }
            ("chat_message", Some(message)) => {
                let Some(members) = rooms.get(room) else { return };
                let now = humantime::format_rfc3339_millis(SystemTime::now());
                let text: T = format!(
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
}

/// A connection's part in the rooms and its queue; none where the mode is `echo`.
pub type Part<T> = Option<(Member<T>, UnboundedReceiver<T>)>;

/// Serves `PORT echo|rooms` of the command line for ever, each connection by `serve`.
///
/// # Errors
/// Wrong usage, or the port is taken.
pub fn run<T: 'static, F: Future<Output = ()> + 'static>(
    serve: impl Fn(TcpStream, Part<T>) -> F + Copy + 'static,
) -> io::Result<()> {
    let mut words = std::env::args().skip(1);
    let (Some(port), Some(mode)) = (words.next().and_then(|port| port.parse::<u16>().ok()), words.next())
    else {
        return Err(io::Error::other("usage: PORT echo|rooms"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let rooms = Rooms::default();
        for number in 0_u64.. {
            let (socket, _) = listener.accept().await?;
            let _ = socket.set_nodelay(true);
            let part = (mode != "echo").then(|| {
                let (sender, inbox) = unbounded_channel();
                (Member { number, sender, rooms: Rc::clone(&rooms) }, inbox)
            });
            tokio::task::spawn_local(serve(socket, part));
        }
        Ok(())
    })
}
