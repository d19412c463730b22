//! The application behind the server: requests for the API in a row on one connection, and what they must be answered.
//!
//! Its publications are clients' publications to the model: seen by all members, in one place. One that is sent again
//! under its key has that place only if it was done once, whatever shard saw which try.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::model::{Published, Truth};
use crate::net::Dice;

/// More than there are clients.
const NOBODY: usize = 1 << 32;

/// What the next answer must be.
#[derive(Debug)]
enum Expected {
    /// Of publications to rooms.
    Posted { room: String, n: usize },
    /// Of several, alone in their order.
    Batch(Vec<(String, usize)>),
    /// A history of this room.
    History { room: String },
    /// How a room stands.
    Standing { room: String },
    /// All rooms.
    Rooms,
    /// Anything good.
    Any,
    /// That a client was closed, or is gone.
    Closed,
}

/// One connection of the application.
#[derive(Default)]
pub(crate) struct App {
    expected: VecDeque<Expected>,
    /// The last request that can be sent again, and what it must be answered.
    again: Option<(Vec<u8>, String, usize)>,
    keys: u64,
    /// The last answers about rooms, since [`App::forget`]: connections and users by room.
    pub(crate) standing: Vec<(String, u64, u64)>,
    /// The rooms with members and how many there are.
    pub(crate) rooms: Option<(u64, Vec<(String, u64)>)>,
}

/// A request, its body plain or in chunks.
fn request(method: &str, path: &str, key: Option<u64>, body: Option<&Value>, dice: &mut Dice) -> Vec<u8> {
    let path = path.replace(' ', "%20").replace('\u{1f389}', "%F0%9F%8E%89");
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    if let Some(key) = key {
        head += &format!("Idempotency-Key: {key}\r\n");
    }
    let Some(body) = body else { return (head + "\r\n").into_bytes() };
    let body = body.to_string();
    head += "Content-Type: application/json\r\n";
    if !dice.once_in(3) {
        return format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
    }
    let mut out = (head + "Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.as_bytes().chunks(1 + dice.below(50)) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("no {field} in {value}"))
}

impl App {
    /// A request of some kind about this room. `me` is the client's index, of which keys are made.
    pub(crate) fn ask(
        &mut self,
        me: usize,
        room: &str,
        truth: &mut Truth,
        step: usize,
        dice: &mut Dice,
    ) -> Vec<u8> {
        let publish = |truth: &mut Truth| {
            let published =
                Published { client: me, room: Some(room.into()), echo: true, tagged: false, step };
            truth.published.push(published);
            truth.published.len() - 1
        };
        match dice.below(10) {
            0..=3 => {
                let n = publish(truth);
                self.keys += 1;
                let key = dice.once_in(2).then_some(me as u64 * 1_000_000 + self.keys);
                if key.is_some() {
                    // Its second try may come first, on another connection: it has no order with the others.
                    truth.published[n].client = NOBODY + n;
                }
                let body = json!({"message": {"n": n}, "user_id": "app"});
                let bytes = request("POST", &format!("/api/rooms/{room}/messages"), key, Some(&body), dice);
                self.again = key.map(|_| (bytes.clone(), room.to_owned(), n));
                self.expected.push_back(Expected::Posted { room: room.into(), n });
                bytes
            }
            4 => match self.again() {
                Some(bytes) => bytes,
                None => self.read("/api/connections?limit=3", Expected::Any, dice),
            },
            5 => {
                let items: Vec<(String, usize)> =
                    (0..dice.below(4)).map(|_| (room.to_owned(), publish(truth))).collect();
                let item = |(room, n): &(String, usize)| json!({"topic": format!("room:{room}"), "message": {"n": n}});
                let body = Value::from(items.iter().map(item).collect::<Vec<_>>());
                self.expected.push_back(Expected::Batch(items));
                request("POST", "/api/batch", None, Some(&body), dice)
            }
            6 => self.read(
                &format!("/api/rooms/{room}/history?limit=5"),
                Expected::History { room: room.into() },
                dice,
            ),
            7 => self.read(&format!("/api/rooms/{room}/users"), Expected::Any, dice),
            8 => self.read("/api/rooms?limit=2", Expected::Any, dice),
            _ => self.read("/health", Expected::Any, dice),
        }
    }

    /// The last publication with a key, once more.
    fn again(&mut self) -> Option<Vec<u8>> {
        let (bytes, room, n) = self.again.clone()?;
        self.expected.push_back(Expected::Posted { room, n });
        Some(bytes)
    }

    /// The server that knew of its keys is gone: a second try would be a second publication.
    pub(crate) fn forget_tries(&mut self) {
        self.again = None;
    }

    /// What another connection sends again, to be sent on this one.
    pub(crate) fn again_for(&mut self, other: &mut App) -> Option<Vec<u8>> {
        let bytes = self.again()?;
        other.expected.extend(self.expected.pop_back());
        Some(bytes)
    }

    fn read(&mut self, path: &str, expected: Expected, dice: &mut Dice) -> Vec<u8> {
        self.expected.push_back(expected);
        request("GET", path, None, None, dice)
    }

    /// Asks for the end of a client.
    pub(crate) fn kick(&mut self, id: &str, dice: &mut Dice) -> Vec<u8> {
        self.expected.push_back(Expected::Closed);
        request("DELETE", &format!("/api/connections/{id}"), None, None, dice)
    }

    /// Asks how everything stands, now that it stands still.
    pub(crate) fn question(&mut self, rooms: &[&str], dice: &mut Dice) -> Vec<u8> {
        (self.standing, self.rooms) = (Vec::new(), None);
        let mut bytes = self.read("/api/rooms?limit=1000", Expected::Rooms, dice);
        for room in rooms {
            let expected = Expected::Standing { room: (*room).to_owned() };
            bytes.extend(self.read(&format!("/api/rooms/{room}"), expected, dice));
        }
        bytes
    }

    /// Whether answers are missing.
    pub(crate) fn waits(&self) -> bool {
        !self.expected.is_empty()
    }

    /// An answer, in its turn.
    pub(crate) fn hear(&mut self, status: u16, body: &Value, truth: &mut Truth) {
        let expected = self.expected.pop_front().unwrap_or_else(|| panic!("nobody asked {body}"));
        if matches!(expected, Expected::Closed) {
            assert!(matches!(status, 200 | 404), "{status}: {body}");
            return;
        }
        // Sixty-four questions under way are a shard's most.
        if status == 503 && body["error"]["code"] == "unavailable" {
            assert!(matches!(expected, Expected::Any | Expected::Rooms), "{expected:?}: {body}");
            return;
        }
        assert_eq!(status, 200, "{expected:?}: {body}");
        match expected {
            Expected::Posted { room, n } => posted(&room, n, body, truth),
            Expected::Batch(items) => {
                let results = body["results"].as_array().expect("results");
                assert_eq!(results.len(), items.len());
                items.iter().zip(results).for_each(|((room, n), result)| posted(room, *n, result, truth));
            }
            Expected::History { room } => {
                let messages = body["messages"].as_array().expect("messages").iter();
                // Of bytes there is only a word, which does not say what they were.
                for one in messages.filter(|one| one["type"] != "binary") {
                    let n = usize::try_from(number(&one["message"], "n")).expect("indices are small");
                    let epoch = body["epoch"].as_str().expect("what was published has an epoch");
                    truth.observe(&(room.clone(), epoch.to_owned()), number(one, "offset"), n);
                }
            }
            Expected::Standing { room } => {
                self.standing.push((room, number(body, "members_count"), number(body, "user_count")));
            }
            Expected::Rooms => {
                let rooms = body["rooms"].as_array().expect("rooms").iter();
                let rooms = rooms.map(|room| {
                    (room["room"].as_str().expect("a name").to_owned(), number(room, "members_count"))
                });
                self.rooms = Some((number(body, "total_rooms"), rooms.collect()));
            }
            Expected::Any | Expected::Closed => {}
        }
    }
}

fn posted(room: &str, n: usize, body: &Value, truth: &mut Truth) {
    let epoch = body["epoch"].as_str().unwrap_or_else(|| panic!("no epoch in {body}"));
    truth.observe(&(room.to_owned(), epoch.to_owned()), number(body, "offset"), n);
}
