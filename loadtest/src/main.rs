//! Load generator for roomcast; its scenarios come with their own issue.

fn main() {}
