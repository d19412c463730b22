//! The `roomcast` program: parses, runs, exits with a code.

fn main() {}
