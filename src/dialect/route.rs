//! The small router: (method, path) becomes the name of an endpoint.
//!
//! It only names things: it opens nothing, knows no pages by heart and asks nobody for permission. Paths are
//! compared as sent, so there is one spelling of each and nothing to traverse.

use std::borrow::Cow;

use crate::wire::http::answer::{Hint, Problem, Status};
use crate::wire::http::target::{Target, TargetError, decode_segment};

/// Methods of what is read.
const READ: &str = "GET, HEAD";
/// The method of what is upgraded: an upgrade has no answer to a `HEAD`.
const UPGRADE: &str = "GET";

/// What a request is for. `P` is whatever the caller's pages are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint<'a, P> {
    /// `/ws` and `/ws/{room}`: the native protocol; the room is to be joined at once. It is not empty and
    /// else unchecked.
    Socket {
        /// Percent-decoded.
        room: Option<Cow<'a, str>>,
    },
    /// `/echo`: a WebSocket that sends back what it gets.
    Echo,
    /// `/health` and `/health/ws`.
    Health,
    /// `/ready`.
    Ready,
    /// `/metrics`.
    Metrics,
    /// A page or one of its parts.
    Page(P),
}

/// Why there is no endpoint for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// No such path.
    NotFound,
    /// The path exists, but not for this method.
    MethodNotAllowed {
        /// The methods that it has, comma-separated.
        allow: &'static str,
    },
    /// The room in the path cannot be decoded.
    Room(TargetError),
}

/// Names the endpoint of a request. `page` finds embedded pages by path; it is asked for paths that are none
/// of ours.
///
/// # Errors
/// The path is unknown, its room is malformed, or it has another method.
pub fn route<'a, P>(
    method: &str,
    target: &Target<'a>,
    page: impl FnOnce(&'a str) -> Option<P>,
) -> Result<Endpoint<'a, P>, Miss> {
    let path = target.path();
    let (endpoint, allow) = match path {
        "/ws" => (Endpoint::Socket { room: None }, UPGRADE),
        "/echo" => (Endpoint::Echo, UPGRADE),
        "/health" | "/health/ws" => (Endpoint::Health, READ),
        "/ready" => (Endpoint::Ready, READ),
        "/metrics" => (Endpoint::Metrics, READ),
        _ => match path.strip_prefix("/ws/") {
            Some(segment) if segment.is_empty() || segment.contains('/') => return Err(Miss::NotFound),
            Some(segment) => {
                (Endpoint::Socket { room: Some(decode_segment(segment).map_err(Miss::Room)?) }, UPGRADE)
            }
            None => (Endpoint::Page(page(path).ok_or(Miss::NotFound)?), READ),
        },
    };
    let allowed = method == "GET" || (method == "HEAD" && allow == READ);
    if allowed { Ok(endpoint) } else { Err(Miss::MethodNotAllowed { allow }) }
}

impl From<Miss> for Problem {
    fn from(miss: Miss) -> Problem {
        match miss {
            Miss::NotFound => Problem::new(Status::NotFound, "There is nothing at this path."),
            Miss::MethodNotAllowed { allow } => {
                Problem::new(Status::MethodNotAllowed, "This path does not have this method.")
                    .with(Hint::Allow(allow))
            }
            Miss::Room(error) => Problem::from(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, raw: &str, want: Result<Endpoint<'_, usize>, Miss>) {
        let target = Target::parse(raw).expect("a good target");
        let page = |path: &str| ["/", "/roomcast.js"].iter().position(|known| *known == path);
        assert_eq!(route(method, &target, page), want, "{method} {raw}");
    }

    fn room(name: &str) -> Result<Endpoint<'_, usize>, Miss> {
        Ok(Endpoint::Socket { room: Some(name.into()) })
    }

    #[test]
    fn known_paths() {
        check("GET", "/ws", Ok(Endpoint::Socket { room: None }));
        check("GET", "/ws?token=t", Ok(Endpoint::Socket { room: None }));
        check("GET", "http://host/ws", Ok(Endpoint::Socket { room: None }));
        check("GET", "/echo", Ok(Endpoint::Echo));
        check("GET", "/health", Ok(Endpoint::Health));
        check("HEAD", "/health", Ok(Endpoint::Health));
        check("GET", "/health/ws", Ok(Endpoint::Health));
        check("GET", "/ready", Ok(Endpoint::Ready));
        check("GET", "/metrics", Ok(Endpoint::Metrics));
        check("GET", "/", Ok(Endpoint::Page(0)));
        check("HEAD", "/roomcast.js?v=1", Ok(Endpoint::Page(1)));
    }

    #[test]
    fn a_room_is_one_segment() {
        check("GET", "/ws/lobby", room("lobby"));
        check("GET", "/ws/a+b%20c", room("a+b c"));
        check("GET", "/ws/%E6%97%A5", room("日"));
        check("GET", "/ws/a%2Fb", room("a/b"));
        check("GET", "/ws/__proto__?room=x", room("__proto__"));
        check("GET", "/ws/", Err(Miss::NotFound));
        check("GET", "/ws/a/b", Err(Miss::NotFound));
        check("GET", "/ws/a/", Err(Miss::NotFound));
        check("GET", "/ws//a", Err(Miss::NotFound));
        check("GET", "/ws/%ZZ", Err(Miss::Room(TargetError::Escape)));
        check("GET", "/ws/%ff", Err(Miss::Room(TargetError::NotUtf8)));
        check("GET", "/ws/%c0%ae", Err(Miss::Room(TargetError::NotUtf8)));
    }

    /// Two dots are a name like any other, and no other spelling of a path is that path.
    #[test]
    fn nothing_is_traversed_or_normalised() {
        check("GET", "/ws/..", room(".."));
        check("GET", "/ws/%2e%2e%2fetc%2fpasswd", room("../etc/passwd"));
        for raw in
            ["/../../etc/passwd", "/%2e%2e/etc", "//ws", "/./ws", "/WS", "/%77s", "/ws%2Fa", "/wsx", "/ws;a"]
        {
            check("GET", raw, Err(Miss::NotFound));
        }
    }

    #[test]
    fn wrong_methods_are_told_the_right_ones() {
        let refused = |allow| Err(Miss::MethodNotAllowed { allow });
        for method in ["POST", "HEAD", "OPTIONS", "CONNECT", "get", "X"] {
            check(method, "/ws", refused("GET"));
            check(method, "/ws/a", refused("GET"));
            check(method, "/echo", refused("GET"));
        }
        check("POST", "/health", refused("GET, HEAD"));
        check("DELETE", "/", refused("GET, HEAD"));
        check("POST", "/nowhere", Err(Miss::NotFound));
        let problem = Problem::from(Miss::MethodNotAllowed { allow: UPGRADE });
        assert_eq!((problem.status.number(), problem.hint), (405, Hint::Allow("GET")));
        assert_eq!(Problem::from(Miss::NotFound).status.number(), 404);
        assert_eq!(Problem::from(Miss::Room(TargetError::Escape)).status.number(), 400);
    }
}
