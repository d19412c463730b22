//! The HTTP API of the application behind this server, as `docs/api.md` has it.
//!
//! Paths become calls, bodies become what is to be published, answers become JSON. Decides nothing but who may ask
//! at all ([`guard`]), and that from what it is given.

pub mod guard;
pub mod route;
pub mod decode;
pub mod encode;
