//! What stopped a run: the limits of roomcast by how they show, and the flags that lift them.
//!
//! Only words; a server of another kind that says the same is told the same, and its own page knows better.

/// How a limit shows, in a complaint, and how it is lifted.
const LIMITS: [(&str, &str); 7] = [
    ("rate_limited", "start the server with --rate-limit off"),
    ("closed with 4005", "start the server with --rate-limit off"),
    ("closed with 4004", "raise the server's --send-queue-bytes and --send-queue-messages, or --memory"),
    ("closed with 1008", "raise the server's --max-connections-per-user, or --max-fragments"),
    ("closed with 1013", "raise the server's --partial-memory, or --memory"),
    (
        "HTTP/1.1 429",
        "raise the server's --max-connections-per-address and --handshake-rate, or set --ban-time off",
    ),
    ("HTTP/1.1 503", "raise the server's --max-connections (and ulimit -n), or --memory"),
];

/// The complaint, and if it tells of a limit, how to lift that.
#[must_use]
pub fn explained(complaint: String) -> String {
    match LIMITS.iter().find(|(sign, _)| complaint.contains(sign)) {
        Some((_, mend)) => format!("{complaint}: a limit of the server; {mend}"),
        None => complaint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_with_the_flag_that_lifts_it() {
        for (complaint, flag) in [
            (r#"{"type":"error","code":"rate_limited"}"#, "--rate-limit off"),
            ("the server closed with 4005", "--rate-limit off"),
            ("no connection: the server answered `HTTP/1.1 429 Too Many Requests`", "--handshake-rate"),
            ("no connection: the server answered `HTTP/1.1 503 Service Unavailable`", "--max-connections"),
        ] {
            let told = explained(complaint.to_owned());
            assert!(told.starts_with(complaint) && told.contains(flag), "{told}");
        }
        assert_eq!(explained("connection lost".to_owned()), "connection lost");
    }
}
