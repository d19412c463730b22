//! Proxies that are trusted, as people write them: `10.0.0.0/8`, `192.0.2.7`, `unix`.
//!
//! Opens nothing and asks no name service: a name would be trusted as long as somebody answers for it.

use crate::base::network::{Network, Trusted};
use crate::config::value::Wrong;

/// What may be given, for messages and docs.
pub const ACCEPTS: &str = "ADDRESS/BITS, ADDRESS or unix";

/// Reads one and adds it.
///
/// # Errors
/// [`Wrong::NotNetwork`].
pub fn add(trusted: &mut Trusted, text: &str) -> Result<(), Wrong> {
    if text.eq_ignore_ascii_case("unix") {
        trusted.unix = true;
        return Ok(());
    }
    trusted.networks.push(Network::parse(text).ok_or(Wrong::NotNetwork)?);
    Ok(())
}
