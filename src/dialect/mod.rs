//! Translations between the bytes of `wire` and the words of `hub`; every client-visible word lives here.
//!
//! Knows no connections, no sockets and no clock: texts come in as `&str` and become a
//! [`crate::hub::command::Command`]; replies and events go out as bytes appended to a buffer. Imports `base`,
//! `wire`, `hub` and `access`.

pub mod route;
pub mod field;
pub mod refusal;
pub mod timestamp;
pub mod native;
pub mod api;
