//! Bytes to protocol values and back.
//!
//! No I/O, no clock, no logging, no allocation beyond the output. Imports `base` only. Every parser takes any
//! split of its input and gives the same result.

pub mod json;
pub mod http;
pub mod ws;
pub mod typed;
pub mod proxy;
