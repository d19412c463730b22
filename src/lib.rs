//! `roomcast`: a realtime edge server without an async runtime.

pub mod base;
pub mod hub;
