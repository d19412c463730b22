//! Where the server is: `ws://HOST:PORT/PATH`, its first address, and the request that opens a WebSocket there.
//!
//! Of `wss://` it knows that there is TLS, and not how. Every handshake uses the same key, the one of RFC 6455 §1.3,
//! so that the answer can be compared instead of computed.

use std::net::{SocketAddr, ToSocketAddrs};

/// The `Sec-WebSocket-Accept` that belongs to the key in [`Target::request`].
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// An answer's head that has not ended by then never will.
pub const HEAD_BYTES_MAX: usize = 16 << 10;

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As in the URL, for the `Host` header.
    pub authority: String,
    /// Its host alone.
    pub host: String,
    /// Whether it is `wss://`.
    pub is_secure: bool,
    /// Where to connect.
    pub address: SocketAddr,
    /// Empty where the URL has none, so that the scenario chooses.
    pub path: String,
}

impl Target {
    /// Reads a URL and looks its host up.
    ///
    /// # Errors
    /// It is none, or its host is unknown.
    pub fn parse(url: &str) -> Result<Target, String> {
        let (is_secure, rest) = match url.split_once("://") {
            Some(("ws", rest)) => (false, rest),
            Some(("wss", rest)) => (true, rest),
            _ => return Err(format!("{url}: not a ws:// or wss:// URL")),
        };
        let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, port),
            _ => (authority, if is_secure { "443" } else { "80" }),
        };
        let with_port = format!("{host}:{port}");
        let mut found = with_port.to_socket_addrs().map_err(|error| format!("{authority}: {error}"))?;
        let address = found.next().ok_or_else(|| format!("{authority}: no address"))?;
        let path = if path == "/" { "" } else { path };
        Ok(Target { authority: authority.into(), host: host.into(), is_secure, address, path: path.into() })
    }

    /// The request that opens a WebSocket at the URL's path, or at `path` where it has none.
    #[must_use]
    pub fn request(&self, path: &str) -> Vec<u8> {
        let path = if self.path.is_empty() { path } else { &self.path };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            self.authority
        )
        .into_bytes()
    }
}

/// Reads the answer to a handshake at the front of `bytes`: how long its head is, or none if it has not ended.
///
/// # Errors
/// The server did not agree; the text repeats its status line or says what is wrong.
pub fn answer(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > HEAD_BYTES_MAX {
            Err("a response head without end".into())
        } else {
            Ok(None)
        };
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101") {
        return Err(format!("the server answered `{status}`"));
    }
    let accept = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("sec-websocket-accept").then(|| value.trim().to_owned())
    });
    if accept.as_deref() != Some(ACCEPT) {
        return Err("the server's Sec-WebSocket-Accept is not the one for our key".into());
    }
    Ok(Some(end + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = Target::parse("ws://127.0.0.1:9001/echo?x=1").unwrap();
        assert_eq!(target.address, "127.0.0.1:9001".parse().unwrap());
        assert_eq!((target.authority.as_str(), target.path.as_str()), ("127.0.0.1:9001", "/echo?x=1"));
        assert_eq!(Target::parse("ws://127.0.0.1").unwrap().address.port(), 80);
        assert_eq!(Target::parse("ws://[::1]:5/").unwrap().path, "");
        assert!(Target::parse("http://127.0.0.1").is_err());
        let secure = Target::parse("wss://[::1]/x").unwrap();
        assert_eq!((secure.is_secure, secure.host.as_str(), secure.address.port()), (true, "[::1]", 443));
        let request = String::from_utf8(Target::parse("ws://127.0.0.1:5").unwrap().request("/ws")).unwrap();
        assert!(request.starts_with("GET /ws HTTP/1.1\r\nHost: 127.0.0.1:5\r\n"));
    }

    #[test]
    fn answers_are_judged() {
        let good = format!("HTTP/1.1 101 Switching Protocols\r\nSEC-WebSocket-accept:  {ACCEPT}\r\n\r\n");
        assert_eq!(answer(format!("{good}\u{81}").as_bytes()), Ok(Some(good.len())));
        for cut in 0..good.len() {
            assert_eq!(answer(&good.as_bytes()[..cut]), Ok(None));
        }
        assert!(answer(b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: abc\r\n\r\n").is_err());
        assert_eq!(
            answer(b"HTTP/1.1 503 Busy\r\n\r\n"),
            Err("the server answered `HTTP/1.1 503 Busy`".into())
        );
        assert!(answer(&[b'x'; HEAD_BYTES_MAX + 1]).is_err());
    }
}
