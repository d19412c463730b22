//! What a server wants to hear and how it says it: the few words that differ from server to server.
//!
//! Read from the `[words]` of a peer's description; the defaults are the native protocol.

use serde::{Deserialize, Serialize};

/// One step of what is said before a connection counts as open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Greeting {
    /// How the server's text begins.
    pub hear: String,
    /// What is said then; empty = nothing.
    #[serde(default)]
    pub say: String,
}

/// Texts with `{room}` and `{payload}` to be filled in, and texts to be found in answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Words {
    /// Path of the echo endpoint.
    pub echo_path: String,
    /// Path where rooms are spoken. With `{room}` in it, each room has a path of its own.
    pub rooms_path: String,
    /// What is exchanged after the handshake, one text after the other, before anything else.
    pub greeting: Vec<Greeting>,
    /// A text by which the server asks whether we are there, beside WebSocket's own pings; empty = none.
    pub ping: String,
    /// The answer to `ping`.
    pub pong: String,
    /// An echo of `{payload}`, as it is sent and as it comes back.
    pub echo: String,
    /// Joins `{room}`; empty = who has connected to the room's path has joined.
    pub join: String,
    /// Joins `{room}` and asks for what was published after `{offset}` of `{epoch}`; empty = cannot be asked.
    pub rejoin: String,
    /// Leaves `{room}`; empty = cannot be left.
    pub leave: String,
    /// Publishes `{payload}` to `{room}`. The payload needs no escaping.
    pub publish: String,
    /// Found in the answer to a join, and in no delivery; empty = joins are not answered.
    pub joined: String,
    /// Found in the answer to a leave; empty = leaves are not answered.
    pub left: String,
    /// What stands before the number of a delivery; empty = deliveries are not numbered.
    pub offset: String,
}

impl Default for Words {
    fn default() -> Words {
        Words {
            echo_path: "/echo".into(),
            rooms_path: "/ws".into(),
            greeting: Vec::new(),
            ping: String::new(),
            pong: String::new(),
            echo: "{payload}".into(),
            join: r#"{"type":"join_room","room":"{room}"}"#.into(),
            rejoin: r#"{"type":"join_room","room":"{room}","since":{"offset":{offset},"epoch":"{epoch}"}}"#
                .into(),
            leave: r#"{"type":"leave_room","room":"{room}"}"#.into(),
            publish: r#"{"type":"chat_message","room":"{room}","message":"{payload}"}"#.into(),
            joined: r#"{"type":"room_joined""#.into(),
            left: r#"{"type":"room_left""#.into(),
            offset: r#","offset":"#.into(),
        }
    }
}

impl Words {
    /// Whether these words can be used.
    ///
    /// # Errors
    /// A place to be filled in is missing; the text names it.
    pub fn check(&self) -> Result<(), String> {
        let lacks_room = |text: &str| !text.contains("{room}");
        if self.join.is_empty() && lacks_room(&self.rooms_path) {
            return Err("words: without a `join`, `rooms_path` needs a {room}".into());
        }
        if !self.join.is_empty() && lacks_room(&self.join) {
            return Err("words: `join` has no {room}".into());
        }
        for (name, text) in [("echo", &self.echo), ("publish", &self.publish)] {
            match text.matches("{payload}").count() {
                1 => {}
                0 => return Err(format!("words: `{name}` has no {{payload}}")),
                _ => return Err(format!("words: `{name}` has more than one {{payload}}")),
            }
        }
        Ok(())
    }

    /// What stands before and after an echo's payload.
    #[must_use]
    pub fn echo_parts(&self) -> (&str, &str) {
        self.echo.split_once("{payload}").unwrap_or(("", ""))
    }

    /// The message that joins `room`, if it takes one.
    #[must_use]
    pub fn join_of(&self, room: &str) -> Option<String> {
        (!self.join.is_empty()).then(|| self.join.replace("{room}", room))
    }

    /// The message that leaves `room`, if there is one.
    #[must_use]
    pub fn leave_of(&self, room: &str) -> Option<String> {
        (!self.leave.is_empty()).then(|| self.leave.replace("{room}", room))
    }

    /// The message that joins `room` again where `offset` of `epoch` was seen last.
    #[must_use]
    pub fn rejoin_of(&self, room: &str, offset: u64, epoch: &str) -> String {
        self.rejoin.replace("{room}", room).replace("{offset}", &offset.to_string()).replace("{epoch}", epoch)
    }

    /// A publication of `payload`, and where in it the payload begins.
    #[must_use]
    pub fn publish_of(&self, room: &str, payload: &[u8]) -> (Vec<u8>, usize) {
        let filled = self.publish.replace("{room}", room);
        let (before, after) = filled.split_once("{payload}").unwrap_or((&filled, ""));
        ([before.as_bytes(), payload, after.as_bytes()].concat(), before.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in() {
        let words = Words::default();
        assert_eq!(words.check(), Ok(()));
        assert_eq!(words.join_of("a").as_deref(), Some(r#"{"type":"join_room","room":"a"}"#));
        assert_eq!(words.echo_parts(), ("", ""));
        let (message, at) = words.publish_of("a", b"xyz");
        assert_eq!(message, br#"{"type":"chat_message","room":"a","message":"xyz"}"#);
        assert_eq!(&message[at..at + 3], b"xyz");
        assert!(words.rejoin_of("a", 7, "e").contains(r#""since":{"offset":7,"epoch":"e"}"#));
    }

    #[test]
    fn missing_places_are_named() {
        let check = |words: Words| words.check().unwrap_err();
        let good = Words::default;
        assert_eq!(check(Words { publish: "x".into(), ..good() }), "words: `publish` has no {payload}");
        assert_eq!(
            check(Words { echo: "{payload}{payload}".into(), ..good() }),
            "words: `echo` has more than one {payload}"
        );
        assert_eq!(check(Words { join: "x".into(), ..good() }), "words: `join` has no {room}");
        assert!(check(Words { join: String::new(), ..good() }).contains("`rooms_path` needs a {room}"));
        let by_path = Words { join: String::new(), rooms_path: "/r/{room}".into(), ..good() };
        assert_eq!((by_path.check(), by_path.join_of("a")), (Ok(()), None));
    }
}
