//! What a client with a session is told of it: the numbers of its messages, and what was lost.
//!
//! The number of a message is its `seq`; that of a direct message is its `session_seq`, as its `seq` is the inbox's.

use super::{number, open, text};

/// How a direct message begins, whose `seq` is another one.
const DIRECT: &[u8] = b"{\"type\":\"direct_message\"";

/// The message `json`, an object, with its number in the session.
pub fn numbered(out: &mut Vec<u8>, json: &[u8], seq: u64) {
    let Some((b'}', fields)) = json.split_last() else {
        debug_assert!(false, "every message is an object");
        return out.extend_from_slice(json);
    };
    out.extend_from_slice(fields);
    number(out, if json.starts_with(DIRECT) { ",\"session_seq\":" } else { ",\"seq\":" }, seq);
    out.push(b'}');
}

/// `dropped`: these numbers of the session are no longer kept. It has no number itself.
pub fn session_lost(out: &mut Vec<u8>, (from, to): (u64, u64)) {
    open(out, "dropped");
    text(out, ",\"topic\":", "session");
    number(out, ",\"from\":", from);
    number(out, ",\"to\":", to);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_gets_its_number_and_keeps_its_fields() {
        for (json, told) in [
            (r#"{"type":"pong"}"#, r#"{"type":"pong","seq":7}"#),
            (r#"{"type":"x","message":{"a":1}}"#, r#"{"type":"x","message":{"a":1},"seq":7}"#),
            (r#"{"type":"direct_message","seq":3}"#, r#"{"type":"direct_message","seq":3,"session_seq":7}"#),
        ] {
            let mut out = Vec::new();
            numbered(&mut out, json.as_bytes(), 7);
            assert_eq!(String::from_utf8(out).unwrap(), told);
        }
        let mut out = Vec::new();
        session_lost(&mut out, (3, 9));
        assert_eq!(out, br#"{"type":"dropped","topic":"session","from":3,"to":9}"#);
    }
}
