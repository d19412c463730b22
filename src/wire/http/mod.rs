//! HTTP/1.1 as far as an edge server needs it: request heads and bodies in, complete answers out.

pub mod head;
pub mod body;
pub mod target;
pub mod answer;
pub mod forwarded;
