//! Who may use the API while there are no keys: processes of this machine, and nobody in whose place they ask.
//!
//! A loopback address proves less than it seems. A page from anywhere makes the browser of this machine ask; its
//! author may point a name of his own at 127.0.0.1 so that the browser takes our answers for his (DNS rebinding); and
//! a proxy on this machine asks for the whole world. So beside the address, each of these signs is looked for:
//!
//! | who asks | what gives it away |
//! |---|---|
//! | a page of another origin | `Origin`, `Sec-Fetch-Site`; a body that is not `application/json` (see [`is_json`]) |
//! | a page by a rebound name | `Host` is that name, not one of this machine's own |
//! | a proxy | the headers that proxies add; `Connection: upgrade`, which nginx is told to add; HTTP/1.0 |
//!
//! A proxy that adds nothing and says a loopback name is not seen through: that is for its configuration to settle,
//! or for `--no-api`.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::base::peer::Peer;
use crate::wire::http::answer::{Problem, Status};
use crate::wire::http::head::{Head, Version};
use crate::wire::http::target::Target;

/// Headers by which proxies say for whom they ask; also all that begin with [`FORWARDED_PREFIX`].
const FORWARDED: [&str; 6] =
    ["Forwarded", "Via", "X-Real-IP", "X-Client-IP", "CF-Connecting-IP", "True-Client-IP"];
const FORWARDED_PREFIX: &str = "x-forwarded-";

/// Judges a request for the API.
///
/// # Errors
/// What to answer, and then to close; always the same status, as strangers need not know more.
pub fn judge(peer: Peer, head: &Head<'_>, target: &Target<'_>) -> Result<(), Problem> {
    let refused = |text| Err(Problem::new(Status::Forbidden, text));
    if peer != Peer::Loopback {
        return refused("The API answers clients of this machine only.");
    }
    if is_forwarded(head) {
        return refused("The API does not answer through a proxy.");
    }
    if head.first("origin").is_some() || is_from_another_site(head) {
        return refused("The API does not answer web pages.");
    }
    let host = head.first("host").and_then(|host| std::str::from_utf8(host).ok()).unwrap_or_default();
    if !is_loopback_host(host) || !target.authority().is_none_or(is_loopback_host) {
        return refused("The API is asked as localhost or by a loopback address.");
    }
    Ok(())
}

/// Judges a request for the metrics: they are read by whom the API answers.
///
/// # Errors
/// As [`judge`].
pub fn judge_scrape(peer: Peer, head: &Head<'_>, target: &Target<'_>) -> Result<(), Problem> {
    judge(peer, head, target)
}

/// Whether somebody asks in another's place.
fn is_forwarded(head: &Head<'_>) -> bool {
    let forwarded = |name: &str| {
        let start = name.as_bytes().get(..FORWARDED_PREFIX.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(FORWARDED_PREFIX.as_bytes()))
            || FORWARDED.iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    head.version() == Version::Http10
        || head.has_token("connection", "upgrade")
        || head.headers().any(|(name, _)| forwarded(name))
}

/// Whether a browser says that a page of another site asks. Browsers say it of requests that have no `Origin`, too.
fn is_from_another_site(head: &Head<'_>) -> bool {
    head.all("sec-fetch-site").any(|site| site != b"none" && site != b"same-origin")
}

/// Whether a body is declared as JSON. Pages of other origins cannot send that type unless they ask first, which they
/// do with an `Origin`; what they can send without asking are forms, plain text, and bodies of no type at all.
#[must_use]
pub fn is_json(head: &Head<'_>) -> bool {
    let mut types = head.all("content-type");
    let (Some(found), None) = (types.next(), types.next()) else { return false };
    let essence = found.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// Whether this host, with or without a port, can only be this machine: no name server was asked for it.
fn is_loopback_host(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let address = address.parse::<Ipv6Addr>();
        return is_port(port) && address.is_ok_and(|address| address.to_canonical().is_loopback());
    }
    let end = host.find(':').unwrap_or(host.len());
    let (name, port) = host.split_at(end);
    let address = name.parse::<Ipv4Addr>();
    is_port(port)
        && (name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback()))
}

/// Nothing, or a colon and digits.
fn is_port(port: &str) -> bool {
    match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::head::{HeadReader, Slots};

    /// What is answered to these headers from this peer; none if it may ask.
    fn judged(peer: Peer, target: &str, version: &str, headers: &str) -> Option<&'static str> {
        let bytes = format!("POST {target} HTTP/{version}\r\n{headers}\r\n");
        let (mut reader, mut slots) = (HeadReader::new(), Slots::new());
        let (head, _) = reader.read(bytes.as_bytes(), &mut slots).expect("a good head").expect("a whole one");
        let target = Target::parse(head.target()).expect("a good target");
        let problem = judge(peer, &head, &target).err()?;
        assert_eq!(problem.status, Status::Forbidden);
        Some(problem.text)
    }

    fn local(headers: &str) -> Option<&'static str> {
        judged(Peer::Loopback, "/api/rooms", "1.1", headers)
    }

    #[test]
    fn only_clients_of_this_machine_are_answered() {
        assert_eq!(local("Host: localhost:8080\r\nUser-Agent: curl/8\r\nAccept: */*\r\n"), None);
        let strange = judged(Peer::Elsewhere, "/api/rooms", "1.1", "Host: localhost\r\n");
        assert_eq!(strange, Some("The API answers clients of this machine only."));
    }

    #[test]
    fn pages_of_other_sites_are_not_answered() {
        let pages = Some("The API does not answer web pages.");
        for header in [
            "Origin: https://evil.example",
            "Origin: null",
            "Origin:",
            "origin: http://localhost:8080",
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-site",
            "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site",
        ] {
            assert_eq!(local(&format!("Host: localhost\r\n{header}\r\n")), pages, "{header}");
        }
        for site in ["none", "same-origin"] {
            assert_eq!(local(&format!("Host: localhost\r\nSec-Fetch-Site: {site}\r\n")), None, "{site}");
        }
    }

    #[test]
    fn names_that_somebody_else_may_have_given_us_are_refused() {
        let name = Some("The API is asked as localhost or by a loopback address.");
        for host in [
            "localhost",
            "LocalHost:80",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]",
            "[::1]:1",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(local(&format!("Host: {host}\r\n")), None, "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:127.0.0.1",
            "xlocalhost",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "::1",
            "0177.0.0.1",
            "127.1",
            "2130706433",
            "localhost:80:80",
            "localhost:x",
            "[127.0.0.1]",
            "localhost.",
        ] {
            assert_eq!(local(&format!("Host: {host}\r\n")), name, "{host}");
        }
        let absolute = |target| judged(Peer::Loopback, target, "1.1", "Host: localhost\r\n");
        assert_eq!(absolute("http://127.0.0.1:8080/api/rooms"), None);
        assert_eq!(absolute("http://evil.example/api/rooms"), name);
    }

    #[test]
    fn proxies_are_not_answered() {
        let proxy = Some("The API does not answer through a proxy.");
        for header in [
            "Forwarded: for=10.0.0.1",
            "Via: 1.1 cache",
            "X-Forwarded-For: 127.0.0.1",
            "x-forwarded-proto: https",
            "X-Real-IP: 127.0.0.1",
            "CF-Connecting-IP: 10.0.0.1",
            "Connection: upgrade",
            "Connection: keep-alive, Upgrade",
        ] {
            assert_eq!(local(&format!("Host: localhost\r\n{header}\r\n")), proxy, "{header}");
        }
        assert_eq!(judged(Peer::Loopback, "/api/rooms", "1.0", "Host: 127.0.0.1:8080\r\n"), proxy);
        assert_eq!(local("Host: localhost\r\nX-Forward: 1\r\nViable: 1\r\nConnection: keep-alive\r\n"), None);
    }

    #[test]
    fn bodies_have_to_be_json() {
        let json = |header: &str| {
            let bytes = format!("POST / HTTP/1.1\r\nHost: x\r\n{header}\r\n");
            let (mut reader, mut slots) = (HeadReader::new(), Slots::new());
            let head =
                reader.read(bytes.as_bytes(), &mut slots).expect("a good head").expect("a whole one").0;
            is_json(&head)
        };
        for header in ["application/json", "Application/JSON; charset=utf-8", "application/json;x"] {
            assert!(json(&format!("Content-Type: {header}\r\n")), "{header}");
        }
        for header in [
            "",
            "Content-Type:\r\n",
            "Content-Type: text/plain\r\n",
            "Content-Type: text/plain; application/json\r\n",
            "Content-Type: application/x-www-form-urlencoded\r\n",
            "Content-Type: application/jsonx\r\n",
            "Content-Type: application/json, text/plain\r\n",
            "Content-Type: application/json\r\nContent-Type: text/plain\r\n",
        ] {
            assert!(!json(header), "{header}");
        }
    }
}
