//! What stands between a socket and its connection: the header of a proxy, then TLS; most sockets have neither.
//!
//! Kept with the socket by whoever drives a shard, as [`crate::shard::tls`] says. The order of calls, for each read:
//! [`Front::receive`], then [`Front::flush`] for what the protocols say by themselves, then the shard is given what
//! [`Came`] tells of. Writes go through [`Front::write`]. Touches no socket.

use std::fmt;
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::{Error, ServerConfig};

use crate::shard::port::Written;
use crate::shard::tls::{self, Room, Tls};
use crate::wire::proxy::{self, HEADER_BYTES_MAX, ProxyError};

/// What a listener asks of those who connect there.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// They speak TLS, in this way.
    pub tls: Option<Arc<ServerConfig>>,
    /// They are proxies, and begin with a header that says for whom they speak.
    pub proxy: bool,
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub enum Fault {
    /// TLS has failed.
    Tls(tls::Fault),
    /// A proxy did not say for whom it speaks.
    Proxy(ProxyError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Tls(fault) => fault.fmt(f),
            Fault::Proxy(error) => error.fmt(f),
        }
    }
}

/// What a read has brought, beside plaintext.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// A proxy has said where its client is.
    pub client: Option<IpAddr>,
    /// The handshake is finished: what waits can be written.
    pub opened: bool,
}

/// See the module's page.
pub struct Front {
    /// What has come of a proxy's header; none if there is none, or none any more.
    header: Option<Vec<u8>>,
    tls: Option<Tls>,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Front {
    /// What a connection has to pass; none if nothing.
    ///
    /// # Errors
    /// If the TLS library cannot make a connection.
    pub fn new(terms: &Terms) -> Result<Option<Box<Front>>, Error> {
        let Terms { tls, proxy } = terms;
        if tls.is_none() && !proxy {
            return Ok(None);
        }
        let tls = tls.clone().map(Tls::new).transpose()?;
        Ok(Some(Box::new(Front { header: proxy.then(Vec::new), tls })))
    }

    /// Whether nothing is left to do: the socket is a plain one from now on.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.header.is_none() && self.tls.is_none()
    }

    /// Whether what comes next may cost as much as a handshake does.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::is_handshaking)
    }

    /// Whether the peer has said that it says nothing more, though its socket may not have ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::has_ended)
    }

    /// Bytes came, which are used up: what is meant for the connection is appended to `plain`.
    ///
    /// # Errors
    /// The connection cannot go on; `plain` has what came before that.
    pub fn receive(&mut self, mut fresh: &mut [u8], plain: &mut Vec<u8>) -> Result<Came, Fault> {
        let mut came = Came::default();
        if let Some(header) = &mut self.header {
            let before = header.len();
            header.extend_from_slice(&fresh[..fresh.len().min(HEADER_BYTES_MAX - before)]);
            let Some(read) = proxy::read(header).map_err(Fault::Proxy)? else { return Ok(came) };
            came.client = read.client;
            self.header = None;
            fresh = &mut fresh[read.length - before..];
        }
        let Some(tls) = &mut self.tls else {
            plain.extend_from_slice(fresh);
            return Ok(came);
        };
        if !fresh.is_empty() {
            let before = tls.is_handshaking();
            tls.receive(fresh, plain).map_err(Fault::Tls)?;
            came.opened = before && !tls.is_handshaking();
        }
        Ok(came)
    }

    /// Whether bytes wait for the socket.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::has_unsent)
    }

    /// Writes what waits, by `send`; `Bytes(0)` if nothing is left.
    pub fn flush(&mut self, send: impl FnMut(&[u8]) -> Written) -> Written {
        self.tls.as_mut().map_or(Written::Bytes(0), |tls| tls.flush(send))
    }

    /// Writes for the connection, as far as the socket takes it. `last`: nothing follows. Returns what a write of
    /// `slices` would have returned.
    pub fn write(
        &mut self,
        slices: &[IoSlice<'_>],
        last: bool,
        room: &mut Room,
        send: impl FnMut(&[u8]) -> Written,
    ) -> Written {
        match &mut self.tls {
            Some(tls) => tls.write(slices, last, room, send),
            // Before its header nobody is answered.
            None => Written::Full,
        }
    }

    /// Nothing more comes from us.
    pub fn close(&mut self, room: &mut Room, send: impl FnMut(&[u8]) -> Written) {
        if let Some(tls) = &mut self.tls {
            tls.close(room, send);
        }
    }
}
