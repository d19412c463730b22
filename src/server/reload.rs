//! What is read again at SIGHUP: each part by its name, one after the other, and the log tells how each went.
//!
//! A part that cannot be read again stays as it was, and does not keep the others from it.

use std::fmt;
use std::sync::Arc;

use crate::server::certs::Certs;
use crate::server::papers::Archive;

/// Something that can be read again.
#[derive(Clone, Debug)]
pub enum Reload {
    /// Certificate, key and issuers of clients' certificates.
    Certs(Arc<Certs>),
    /// Keys of tokens, keys of the API, content rules.
    Papers(Archive),
}

impl Reload {
    /// As the log calls it.
    fn name(&self) -> &'static str {
        match self {
            Reload::Certs(_) => "certificate",
            Reload::Papers(_) => "keys and rules",
        }
    }

    /// Reads it again; a complaint is one line for the log.
    fn run(&self) -> Result<(), String> {
        fn line<Error: fmt::Display>(result: Result<(), Error>) -> Result<(), String> {
            result.map_err(|error| error.to_string())
        }
        match self {
            Reload::Certs(certs) => line(certs.reload()),
            Reload::Papers(archive) => line(archive.reload()),
        }
    }
}

/// Reads everything again.
pub fn reload_all(parts: &[Reload]) {
    if parts.is_empty() {
        tracing::info!("SIGHUP: nothing here is read from files that could have changed");
    }
    for part in parts {
        let what = part.name();
        match part.run() {
            Ok(()) => tracing::info!(what, "read again"),
            Err(error) => tracing::warn!(what, %error, "cannot be read again; what was in force stays so"),
        }
    }
}
