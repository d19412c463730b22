//! Translations between wire and hub: every client-visible word lives here.

pub mod route;
