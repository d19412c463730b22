//! Answers of the API, as JSON appended to a buffer.
//!
//! Writes bodies only; a refusal's status is named beside it. Publications stand in histories as members once got
//! them.

use crate::dialect::api::route::Cursor;
use crate::dialect::native::encode::{list, number, publications, text, users};
use crate::dialect::refusal;
use crate::hub::event::{Refusal, Stamp, Told};
use crate::hub::name::{Topic, TopicKind};
use crate::wire::http::answer::Status;

/// A client's connection, as a list has it.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// Its id, as `welcome` told the client.
    pub id: &'a str,
    /// Its user; the id for who has not said.
    pub user_id: &'a str,
    /// The name to show.
    pub username: Option<&'a str>,
    /// Rooms, channels and others that it is in.
    pub topics: u64,
}

/// A node of the cluster, and how busy it is.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// Its name.
    pub node: &'a str,
    /// Open connections of any kind.
    pub connections: u64,
    /// Rooms with members.
    pub rooms: u64,
}

/// An owner's answer about `topic`.
pub fn told(out: &mut Vec<u8>, topic: &Topic, told: &Told) -> Status {
    match told {
        Told::Posted(stamp) => posted(out, topic, stamp),
        Told::MarkTaken => {
            let text = "This Idempotency-Key was used for another message";
            error(out, "idempotency_key_reused", text, None);
            return Status::UnprocessableContent;
        }
        Told::Standing { members_count, user_count, offset, epoch } => {
            text(out, "{\"room\":", topic.name());
            counts(out, *members_count, *user_count);
            position(out, *offset, epoch.as_deref());
            out.push(b'}');
        }
        Told::Users { members_count, user_count, roll } => {
            text(out, "{\"room\":", topic.name());
            counts(out, *members_count, *user_count);
            users(out, &roll.users, &roll.moderators);
            out.push(b'}');
        }
        Told::History { messages, offset, epoch } => {
            text(out, "{\"room\":", topic.name());
            position(out, *offset, epoch.as_deref());
            publications(out, topic, messages);
            out.push(b'}');
        }
    }
    Status::Ok
}

/// What became of a publication. `everyone` has neither a numbering nor an owner who counts connections.
fn posted(out: &mut Vec<u8>, topic: &Topic, stamp: &Stamp) {
    let word = topic.kind().word();
    if topic.kind() == TopicKind::Everyone {
        text(out, "{\"topic\":", word);
    } else if topic.kind() == TopicKind::Inbox {
        text(out, "{\"topic\":", &format!("{word}:{}", topic.name()));
        number(out, ",\"seq\":", stamp.offset);
    } else {
        text(out, "{\"topic\":", &format!("{word}:{}", topic.name()));
        if stamp.offset > 0 {
            position(out, stamp.offset, Some(&stamp.epoch));
        }
        number(out, ",\"delivered\":", u64::from(stamp.delivered));
    }
    out.push(b'}');
}

fn counts(out: &mut Vec<u8>, members_count: u32, user_count: u32) {
    number(out, ",\"members_count\":", u64::from(members_count));
    number(out, ",\"user_count\":", u64::from(user_count));
}

fn position(out: &mut Vec<u8>, offset: u64, epoch: Option<&str>) {
    number(out, ",\"offset\":", offset);
    if let Some(epoch) = epoch {
        text(out, ",\"epoch\":", epoch);
    }
}

/// The answers to a batch, in order, each an object that was written already.
pub fn results(out: &mut Vec<u8>, results: &[Vec<u8>]) {
    out.extend_from_slice(b"{\"results\":[");
    list(out, results, |out, result| out.extend_from_slice(result));
    out.extend_from_slice(b"]}");
}

/// The largest rooms, of `total` that have members.
pub fn rooms(out: &mut Vec<u8>, total: u64, rooms: &[(Topic, u32)]) {
    number(out, "{\"total_rooms\":", total);
    out.extend_from_slice(b",\"rooms\":[");
    list(out, rooms, |out, (topic, members_count)| {
        text(out, "{\"room\":", topic.name());
        number(out, ",\"members_count\":", u64::from(*members_count));
        out.push(b'}');
    });
    out.extend_from_slice(b"]}");
}

/// A page of connections, of `total`; `next` is where the next one begins.
pub fn connections(out: &mut Vec<u8>, total: u64, connections: &[Connection<'_>], next: Option<Cursor>) {
    number(out, "{\"total_connections\":", total);
    listed(out, connections);
    if let Some(Cursor { shard, slot }) = next {
        text(out, ",\"next\":", &format!("{shard}.{slot}"));
    }
    out.push(b'}');
}

/// Who somebody is connected as; `total` connections, of which the first are listed.
pub fn user(out: &mut Vec<u8>, user_id: &str, total: u64, connections: &[Connection<'_>]) {
    text(out, "{\"user_id\":", user_id);
    number(out, ",\"total_connections\":", total);
    listed(out, connections);
    out.push(b'}');
}

fn listed(out: &mut Vec<u8>, connections: &[Connection<'_>]) {
    out.extend_from_slice(b",\"connections\":[");
    list(out, connections, |out, connection| {
        text(out, "{\"client_id\":", connection.id);
        text(out, ",\"user_id\":", connection.user_id);
        if let Some(username) = connection.username {
            text(out, ",\"username\":", username);
        }
        number(out, ",\"topics\":", connection.topics);
        out.push(b'}');
    });
    out.push(b']');
}

/// How many connections were told to close.
pub fn closed(out: &mut Vec<u8>, count: u64) {
    number(out, "{\"closed\":", count);
    out.push(b'}');
}

/// How many clients are being sent away.
pub fn draining(out: &mut Vec<u8>, count: u64) {
    number(out, "{\"draining\":", count);
    out.push(b'}');
}

/// All nodes.
pub fn nodes(out: &mut Vec<u8>, nodes: &[Node<'_>]) {
    out.extend_from_slice(b"{\"nodes\":[");
    list(out, nodes, node);
    out.extend_from_slice(b"]}");
}

/// One node. A node that answers is healthy.
pub fn node(out: &mut Vec<u8>, node: &Node<'_>) {
    text(out, "{\"node\":", node.node);
    number(out, ",\"connections\":", node.connections);
    number(out, ",\"rooms\":", node.rooms);
    out.extend_from_slice(b",\"healthy\":true}");
}

/// Why something was not done, with its status.
pub fn refused(out: &mut Vec<u8>, refusal: &Refusal) -> Status {
    let words = refusal::words(refusal);
    error(out, words.code, &words.text, words.retry_after_ms);
    match refusal {
        Refusal::RateLimited { .. } => Status::TooManyRequests,
        Refusal::Unavailable => Status::ServiceUnavailable,
        Refusal::Forbidden | Refusal::NotMember(_) | Refusal::RoomFull | Refusal::TooManyRooms { .. } => {
            Status::Forbidden
        }
        _ => Status::BadRequest,
    }
}

/// `{"error":{"code":…,"message":…}}`, the body of every refusal.
pub fn error(out: &mut Vec<u8>, code: &str, message: &str, retry_after_ms: Option<u64>) {
    text(out, "{\"error\":{\"code\":", code);
    text(out, ",\"message\":", message);
    if let Some(retry_after_ms) = retry_after_ms {
        number(out, ",\"retry_after_ms\":", retry_after_ms);
    }
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use super::*;
    use crate::base::clock::Wall;
    use crate::base::hash::Keys;
    use crate::base::shared::Shared;
    use crate::hub::event::{Body, Publication, Roll};
    use crate::hub::name::User;

    fn topic(kind: TopicKind, name: &str) -> Topic {
        Topic::new(kind, name, Keys::new([1; 16]))
    }

    fn json(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        serde_json::from_slice::<serde_json::Value>(&out).expect("JSON");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn stamps() {
        let stamp = |offset| Told::Posted(Stamp { offset, epoch: "k3v9".into(), delivered: 2 });
        let told = |kind, name, stamp: &Told| {
            json(|out| assert_eq!(told(out, &topic(kind, name), stamp), Status::Ok))
        };
        assert_eq!(
            told(TopicKind::Room, "a\"b", &stamp(7)),
            r#"{"topic":"room:a\"b","offset":7,"epoch":"k3v9","delivered":2}"#
        );
        assert_eq!(told(TopicKind::Inbox, "ann", &stamp(3)), r#"{"topic":"user:ann","seq":3}"#);
        assert_eq!(told(TopicKind::Everyone, "", &stamp(0)), r#"{"topic":"everyone"}"#);
    }

    #[test]
    fn rooms_as_they_stand() {
        let told =
            |answer| json(|out| assert_eq!(told(out, &topic(TopicKind::Room, "r"), &answer), Status::Ok));
        let user = Arc::new(User { id: "ann".into(), name: Some("Ann".into()) });
        let publication = Arc::new(Publication {
            offset: 4,
            time: Wall(0),
            user: Arc::clone(&user),
            payload: Shared::copy_of(b"{ }"),
            body: Body::Value,
            frame: OnceLock::new(),
        });
        let epoch = Some("e".into());
        assert_eq!(
            told(Told::Standing { members_count: 2, user_count: 1, offset: 4, epoch: epoch.clone() }),
            r#"{"room":"r","members_count":2,"user_count":1,"offset":4,"epoch":"e"}"#
        );
        assert_eq!(
            told(Told::Standing { members_count: 0, user_count: 0, offset: 0, epoch: None }),
            r#"{"room":"r","members_count":0,"user_count":0,"offset":0}"#
        );
        let roll = Roll { users: vec![user], moderators: vec![0] };
        assert_eq!(
            told(Told::Users { members_count: 2, user_count: 1, roll }),
            concat!(
                r#"{"room":"r","members_count":2,"user_count":1,"#,
                r#""users":[{"user_id":"ann","username":"Ann","role":"moderator"}]}"#
            )
        );
        assert_eq!(
            told(Told::History { messages: vec![publication], offset: 4, epoch }),
            concat!(
                r#"{"room":"r","offset":4,"epoch":"e","messages":[{"type":"chat_message","room":"r","#,
                r#""user_id":"ann","username":"Ann","message":{ },"timestamp":"1970-01-01T00:00:00.000Z","offset":4}]}"#
            )
        );
    }

    #[test]
    fn lists() {
        let found = [(topic(TopicKind::Room, "a"), 3), (topic(TopicKind::Room, "b"), 1)];
        assert_eq!(
            json(|out| rooms(out, 9, &found)),
            r#"{"total_rooms":9,"rooms":[{"room":"a","members_count":3},{"room":"b","members_count":1}]}"#
        );
        let ann = Connection { id: "c1", user_id: "ann", username: Some("Ann"), topics: 2 };
        let none = Connection { id: "c2", user_id: "c2", username: None, topics: 0 };
        assert_eq!(
            json(|out| connections(out, 2, &[ann, none], Some(Cursor { shard: 1, slot: 20 }))),
            concat!(
                r#"{"total_connections":2,"connections":["#,
                r#"{"client_id":"c1","user_id":"ann","username":"Ann","topics":2},"#,
                r#"{"client_id":"c2","user_id":"c2","topics":0}],"next":"1.20"}"#
            )
        );
        assert_eq!(json(|out| connections(out, 0, &[], None)), r#"{"total_connections":0,"connections":[]}"#);
        let here = Node { node: "edge-1", connections: 5, rooms: 2 };
        assert_eq!(
            json(|out| nodes(out, &[here])),
            r#"{"nodes":[{"node":"edge-1","connections":5,"rooms":2,"healthy":true}]}"#
        );
        assert_eq!(json(|out| closed(out, 3)), r#"{"closed":3}"#);
        assert_eq!(json(|out| results(out, &[b"{}".to_vec(), b"[]".to_vec()])), r#"{"results":[{},[]]}"#);
    }

    #[test]
    fn refusals_have_a_status() {
        let status = |refusal: &Refusal| {
            let mut status = Status::Ok;
            let text = json(|out| status = refused(out, refusal));
            (status.number(), text)
        };
        assert_eq!(
            status(&Refusal::InvalidJson),
            (400, r#"{"error":{"code":"invalid_json","message":"Invalid JSON format"}}"#.into())
        );
        assert_eq!(status(&Refusal::Forbidden).0, 403);
        assert_eq!(status(&Refusal::Unavailable).0, 503);
        let (number, text) = status(&Refusal::RateLimited { retry_after_ms: 5 });
        assert!(number == 429 && text.contains(r#""retry_after_ms":5}}"#), "{text}");
        let mut out = Vec::new();
        let room = topic(TopicKind::Room, "r");
        assert_eq!(told(&mut out, &room, &Told::MarkTaken), Status::UnprocessableContent);
    }
}
