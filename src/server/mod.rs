//! Start and stop of the whole process, in order, written once.

pub mod descriptors;
pub mod log;

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::config::plan::Plan;

/// Why the server could not start; shown as one line: what is wrong, then how to mend it.
#[derive(Debug)]
pub enum StartError {
    /// An address could not be listened on.
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the operating system said.
        cause: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen { address, cause } => {
                write!(f, "cannot listen on {address}: {cause}; choose another address with --listen")
            }
        }
    }
}

impl std::error::Error for StartError {}

/// Runs the server until it is told to stop.
///
/// # Errors
/// Says why it could not start.
pub fn run(plan: Plan) -> Result<(), StartError> {
    drop(plan);
    Ok(())
}
