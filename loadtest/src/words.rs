//! What a server wants to hear and how it says it: the few words that differ from server to server.
//!
//! Read from the `[words]` of a peer's description; the defaults are the native protocol.

use serde::{Deserialize, Serialize};

/// Texts with `{room}` and `{payload}` to be filled in, and texts to be found in answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Words {
    /// Path of the echo endpoint.
    pub echo_path: String,
    /// Path where rooms are spoken.
    pub rooms_path: String,
    /// Joins `{room}`.
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
        let all = [("join", &self.join, "{room}"), ("publish", &self.publish, "{payload}")];
        match all.iter().find(|(_, text, place)| !text.contains(place)) {
            Some((name, _, place)) => Err(format!("words: `{name}` has no {place}")),
            None if self.publish.matches("{payload}").count() > 1 => {
                Err("words: `publish` has more than one {payload}".into())
            }
            None => Ok(()),
        }
    }

    /// The message that joins `room`.
    #[must_use]
    pub fn join_of(&self, room: &str) -> String {
        self.join.replace("{room}", room)
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
        assert_eq!(words.join_of("a"), r#"{"type":"join_room","room":"a"}"#);
        let (message, at) = words.publish_of("a", b"xyz");
        assert_eq!(message, br#"{"type":"chat_message","room":"a","message":"xyz"}"#);
        assert_eq!(&message[at..at + 3], b"xyz");
        assert!(words.rejoin_of("a", 7, "e").contains(r#""since":{"offset":7,"epoch":"e"}"#));
    }

    #[test]
    fn missing_places_are_named() {
        let words = Words { publish: "x".into(), ..Words::default() };
        assert_eq!(words.check(), Err("words: `publish` has no {payload}".into()));
        let words = Words { join: "x".into(), ..Words::default() };
        assert_eq!(words.check(), Err("words: `join` has no {room}".into()));
    }
}
