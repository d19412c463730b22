//! A load generator for WebSocket servers that testifies what it measured.
//!
//! Modules in the order in which they build on each other; each imports only from those above it.
//! `docs/loadtest.md` is for those who use the program.

pub mod clock;
pub mod frame;
pub mod marker;
pub mod ledger;
pub mod schedule;
pub mod limits;
pub mod words;
pub mod target;
pub mod tls;
pub mod proc;
pub mod peers;
pub mod control;
pub mod net;
pub mod stopped;
pub mod plays;
pub mod progress;
pub mod conduct;
pub mod outcome;
pub mod audit;
pub mod table;
pub mod hgrm;
pub mod options;
pub mod run;
pub mod compare;
pub mod report;
