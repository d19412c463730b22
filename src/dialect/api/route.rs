//! Method, path and query of a request become a call.
//!
//! Names are percent-decoded and else unchecked. A query's words that mean something have to make sense; others are
//! ignored.

use crate::dialect::route::Miss;
use crate::hub::name::TopicKind;
use crate::wire::http::answer::{Problem, Status};
use crate::wire::http::target::{Target, decode_segment};

/// Items of a list where no `limit` is given.
pub const LIMIT_DEFAULT: u32 = 100;
/// Publications of a history where no `limit` is given, as for `get_history`.
pub const HISTORY_DEFAULT: u32 = 20;
/// Most items of a list; greater limits are taken as this one.
pub const LIMIT_MAX: u32 = 1000;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Publish the body.
    Publish {
        /// Room, channel, feed, inbox or everyone.
        kind: TopicKind,
        /// The topic's name; nobody names everyone.
        name: String,
    },
    /// Publish all that the body lists.
    Batch,
    /// The largest rooms.
    Rooms {
        /// At most so many.
        limit: u32,
    },
    /// How a room stands.
    Room {
        /// Its name.
        room: String,
    },
    /// Who is in a room.
    RoomUsers {
        /// Its name.
        room: String,
        /// At most so many.
        limit: u32,
    },
    /// What was published in a room.
    RoomHistory {
        /// Its name.
        room: String,
        /// At most so many.
        limit: u32,
        /// Only what has a smaller offset.
        before: Option<u64>,
    },
    /// Clients that are connected.
    Connections {
        /// At most so many.
        limit: u32,
        /// Where the page before ended.
        after: Option<Cursor>,
    },
    /// Close a client's connection.
    CloseConnection {
        /// The client's id.
        id: String,
    },
    /// A user's connections.
    User {
        /// The user's id.
        user: String,
    },
    /// Close all connections of a user.
    CloseUser {
        /// The user's id.
        user: String,
    },
    /// All nodes of the cluster.
    Nodes,
    /// The node that a new client should choose.
    BestNode,
    /// Send all clients away.
    Drain,
}

impl Call {
    /// Whether it publishes what the request's body says; all others have no body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        matches!(self, Call::Publish { .. } | Call::Batch)
    }
}

/// A place in the list of all connections: opaque to clients, who only give it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The shard.
    pub shard: u16,
    /// The first place in it that was not looked at.
    pub slot: u32,
}

impl Cursor {
    fn parse(text: &str) -> Option<Cursor> {
        let (shard, slot) = text.split_once('.')?;
        Some(Cursor { shard: number(shard)?.try_into().ok()?, slot: number(slot)?.try_into().ok()? })
    }
}

/// One path of the API.
pub struct Row {
    /// Its only method; what is read has `HEAD`, too.
    pub method: &'static str,
    /// The path; what stands in braces is any segment that is not empty.
    pub path: &'static str,
    call: fn(String, &Target<'_>) -> Result<Call, Problem>,
}

/// Every path.
pub const PATHS: [Row; 17] = [
    Row {
        method: "POST",
        path: "/api/rooms/{room}/messages",
        call: |name, _| publish(TopicKind::Room, name),
    },
    Row {
        method: "POST",
        path: "/api/channels/{channel}/messages",
        call: |name, _| publish(TopicKind::Channel, name),
    },
    Row { method: "POST", path: "/api/feeds/{feed}/updates", call: |name, _| publish(TopicKind::Feed, name) },
    Row {
        method: "POST",
        path: "/api/users/{user}/messages",
        call: |name, _| publish(TopicKind::Inbox, name),
    },
    Row { method: "POST", path: "/api/broadcast", call: |_, _| publish(TopicKind::Everyone, String::new()) },
    Row { method: "POST", path: "/api/batch", call: |_, _| Ok(Call::Batch) },
    Row {
        method: "GET",
        path: "/api/rooms",
        call: |_, target| Ok(Call::Rooms { limit: limit(target, LIMIT_DEFAULT)? }),
    },
    Row { method: "GET", path: "/api/rooms/{room}", call: |room, _| Ok(Call::Room { room }) },
    Row {
        method: "GET",
        path: "/api/rooms/{room}/users",
        call: |room, target| Ok(Call::RoomUsers { room, limit: limit(target, LIMIT_DEFAULT)? }),
    },
    Row { method: "GET", path: "/api/rooms/{room}/history", call: room_history },
    Row { method: "GET", path: "/api/connections", call: connections },
    Row { method: "DELETE", path: "/api/connections/{id}", call: |id, _| Ok(Call::CloseConnection { id }) },
    Row { method: "GET", path: "/api/users/{user}", call: |user, _| Ok(Call::User { user }) },
    Row {
        method: "DELETE",
        path: "/api/users/{user}/connections",
        call: |user, _| Ok(Call::CloseUser { user }),
    },
    Row { method: "GET", path: "/api/nodes", call: |_, _| Ok(Call::Nodes) },
    Row { method: "GET", path: "/api/nodes/best", call: |_, _| Ok(Call::BestNode) },
    Row { method: "POST", path: "/api/drain", call: |_, _| Ok(Call::Drain) },
];

/// Whether a path is one of the API's, known or not.
#[must_use]
pub fn is_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// What a request asks for.
///
/// # Errors
/// What to answer: no such path, another method, or a name or query that makes no sense.
pub fn route(method: &str, target: &Target<'_>) -> Result<Call, Problem> {
    let found = PATHS.iter().find_map(|row| Some((row, matched(row.path, target.path())?)));
    let (row, segment) = found.ok_or(Problem::from(Miss::NotFound))?;
    if method != row.method && !(method == "HEAD" && row.method == "GET") {
        let allow = if row.method == "GET" { "GET, HEAD" } else { row.method };
        return Err(Miss::MethodNotAllowed { allow }.into());
    }
    (row.call)(decode_segment(segment)?.into_owned(), target)
}

/// The segment that stands where the pattern has braces; empty where it has none.
fn matched<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let (mut patterns, mut segments, mut found) = (pattern.split('/'), path.split('/'), "");
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return Some(found),
            (Some(wanted), Some(segment)) if wanted.starts_with('{') && !segment.is_empty() => {
                found = segment
            }
            (wanted, segment) if wanted == segment => {}
            _ => return None,
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "all calls are made alike")]
fn publish(kind: TopicKind, name: String) -> Result<Call, Problem> {
    Ok(Call::Publish { kind, name })
}

fn room_history(room: String, target: &Target<'_>) -> Result<Call, Problem> {
    let before = match target.query_first("before")? {
        Some(text) => Some(number(&text).ok_or(invalid("before must be an integer, not negative."))?),
        None => None,
    };
    Ok(Call::RoomHistory { room, limit: limit(target, HISTORY_DEFAULT)?, before })
}

fn connections(_: String, target: &Target<'_>) -> Result<Call, Problem> {
    let after = match target.query_first("after")? {
        Some(text) => Some(Cursor::parse(&text).ok_or(invalid("after must be what next was."))?),
        None => None,
    };
    Ok(Call::Connections { limit: limit(target, LIMIT_DEFAULT)?, after })
}

fn limit(target: &Target<'_>, default: u32) -> Result<u32, Problem> {
    let Some(text) = target.query_first("limit")? else { return Ok(default) };
    let limit = number(&text).ok_or(invalid("limit must be an integer, not negative."))?;
    Ok(u32::try_from(limit).unwrap_or(LIMIT_MAX).min(LIMIT_MAX))
}

/// Digits only, of a number that fits or is as good as the largest that does.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn invalid(text: &'static str) -> Problem {
    Problem { code: "invalid_field", ..Problem::new(Status::BadRequest, text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(method: &str, raw: &str) -> Result<Call, u16> {
        route(method, &Target::parse(raw).expect("a good target")).map_err(|problem| problem.status.number())
    }

    #[test]
    fn every_path_has_its_call() {
        let publish = |kind, name: &str| Ok(Call::Publish { kind, name: name.into() });
        let room = || String::from("a b/c");
        assert_eq!(routed("POST", "/api/rooms/a%20b%2Fc/messages"), publish(TopicKind::Room, "a b/c"));
        assert_eq!(routed("POST", "/api/channels/n/messages"), publish(TopicKind::Channel, "n"));
        assert_eq!(routed("POST", "/api/feeds/n/updates"), publish(TopicKind::Feed, "n"));
        assert_eq!(routed("POST", "/api/users/n/messages"), publish(TopicKind::Inbox, "n"));
        assert_eq!(routed("POST", "/api/broadcast"), publish(TopicKind::Everyone, ""));
        assert_eq!(routed("POST", "/api/batch"), Ok(Call::Batch));
        assert_eq!(routed("GET", "/api/rooms"), Ok(Call::Rooms { limit: 100 }));
        assert_eq!(routed("HEAD", "/api/rooms?limit=5"), Ok(Call::Rooms { limit: 5 }));
        assert_eq!(routed("GET", "/api/rooms/a%20b%2Fc"), Ok(Call::Room { room: room() }));
        let users = Call::RoomUsers { room: room(), limit: 1000 };
        assert_eq!(routed("GET", "/api/rooms/a%20b%2Fc/users?limit=99999999999999"), Ok(users));
        let history = |limit, before| Ok(Call::RoomHistory { room: room(), limit, before });
        assert_eq!(routed("GET", "/api/rooms/a%20b%2Fc/history"), history(20, None));
        assert_eq!(routed("GET", "/api/rooms/a%20b%2Fc/history?limit=7&before=9"), history(7, Some(9)));
        let after = Some(Cursor { shard: 2, slot: 70_000 });
        assert_eq!(
            routed("GET", "/api/connections?after=2.70000"),
            Ok(Call::Connections { limit: 100, after })
        );
        assert_eq!(routed("DELETE", "/api/connections/x"), Ok(Call::CloseConnection { id: "x".into() }));
        assert_eq!(routed("GET", "/api/users/x"), Ok(Call::User { user: "x".into() }));
        assert_eq!(routed("DELETE", "/api/users/x/connections"), Ok(Call::CloseUser { user: "x".into() }));
        assert_eq!(routed("GET", "/api/nodes"), Ok(Call::Nodes));
        assert_eq!(routed("GET", "/api/nodes/best"), Ok(Call::BestNode));
        for row in &PATHS {
            assert!(is_api(row.path) && routed(row.method, row.path).is_ok(), "{}", row.path);
        }
    }

    #[test]
    fn what_is_no_path_is_not_found() {
        for raw in [
            "/api",
            "/api/",
            "/api/room",
            "/api/rooms/",
            "/api/rooms//users",
            "/api/rooms/a/b",
            "/api/rooms/a/users/",
            "/API/rooms",
            "//api/rooms",
            "/api/%72ooms",
            "/api/broadcast/",
            "/api/nodes/worst",
            "/api/users",
        ] {
            assert_eq!(routed("GET", raw), Err(404), "{raw}");
        }
        assert!(is_api("/api") && is_api("/api/") && !is_api("/apiary") && !is_api("/x/api/"));
    }

    #[test]
    fn other_methods_are_told_the_right_ones() {
        for (method, raw, allow) in [
            ("GET", "/api/batch", "POST"),
            ("HEAD", "/api/batch", "POST"),
            ("POST", "/api/rooms", "GET, HEAD"),
            ("HEAD", "/api/connections/x", "DELETE"),
            ("get", "/api/rooms", "GET, HEAD"),
        ] {
            let problem =
                route(method, &Target::parse(raw).expect("a good target")).expect_err("a wrong method");
            assert_eq!(problem, Miss::MethodNotAllowed { allow }.into(), "{method} {raw}");
        }
    }

    #[test]
    fn names_and_queries_have_to_make_sense() {
        for raw in [
            "/api/rooms/%ff",
            "/api/rooms/%zz",
            "/api/rooms?limit=-1",
            "/api/rooms?limit=x",
            "/api/rooms?limit=",
            "/api/rooms?limit=%ff",
            "/api/rooms/a/history?before=+1",
            "/api/connections?after=1",
            "/api/connections?after=65536.0",
            "/api/connections?after=0.4294967296",
            "/api/connections?after=1.x",
        ] {
            assert_eq!(routed("GET", raw), Err(400), "{raw}");
        }
    }
}
