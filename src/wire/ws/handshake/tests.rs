//! Handshakes as RFC 6455 wants them, and every way to get one wrong that was tried on others.

use proptest::prelude::*;

use super::*;
use crate::wire::http::head::{HeadReader, Slots};

const GOOD: [(&str, &str); 5] = [
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

fn judge_stream(stream: &str) -> Result<[u8; 28], Refusal> {
    let (mut reader, mut slots) = (HeadReader::new(), Slots::new());
    let (head, _) = reader.read(stream.as_bytes(), &mut slots).expect("a good head").expect("whole");
    judge(&head).map(|key| key.accept())
}

/// The good request, each header replaced by those of the same name in `change` (an empty slice of values
/// takes it away), others added.
fn check(change: &[(&str, &[&str])], want: Result<(), Refusal>) {
    let mut stream = String::from("GET /ws HTTP/1.1\r\n");
    for (name, value) in GOOD {
        if !change.iter().any(|(changed, _)| *changed == name) {
            stream += &format!("{name}: {value}\r\n");
        }
    }
    for (name, values) in change {
        stream.extend(values.iter().map(|value| format!("{name}: {value}\r\n")));
    }
    stream += "\r\n";
    assert_eq!(judge_stream(&stream).map(|_| ()), want, "{stream}");
}

/// RFC 6455 §1.3.
#[test]
fn the_example_of_the_rfc() {
    let headers = GOOD.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    let accept = judge_stream(&format!("GET /chat HTTP/1.1\r\n{headers}\r\n"));
    assert_eq!(accept.as_ref().map(<[u8; 28]>::as_slice), Ok(&b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="[..]));
}

#[test]
fn what_browsers_and_proxies_send() {
    check(&[], Ok(()));
    check(&[("Connection", &["keep-alive, Upgrade"])], Ok(()));
    check(&[("Connection", &["keep-alive", "upgrade"])], Ok(()));
    check(&[("Upgrade", &["WebSocket"])], Ok(()));
    check(&[("Upgrade", &["h2c, websocket"])], Ok(()));
    check(&[("Content-Length", &["0"])], Ok(()));
    check(&[("Origin", &["null"]), ("Cookie", &["a=b; c=d"])], Ok(()));
}

#[test]
fn upgrade_and_connection_must_say_so() {
    check(&[("Upgrade", &[])], Err(Refusal::NoUpgrade));
    for upgrade in ["h2c", "websockets", "web socket", "TLS/1.0", ""] {
        check(&[("Upgrade", &[upgrade])], Err(Refusal::NoUpgrade));
    }
    check(&[("Connection", &[])], Err(Refusal::Connection));
    for connection in ["keep-alive", "close", "upgraded", "", "keep-alive Upgrade"] {
        check(&[("Connection", &[connection])], Err(Refusal::Connection));
    }
}

#[test]
fn versions() {
    check(&[("Sec-WebSocket-Version", &[])], Err(Refusal::Version));
    let digits = "1".repeat(4_000);
    for version in ["8", "12", "14", "13abc", "+13", "013", "13, 8", "13,13", "1 3", "", &digits] {
        check(&[("Sec-WebSocket-Version", &[version])], Err(Refusal::Version));
    }
    check(&[("Sec-WebSocket-Version", &["13", "8"])], Err(Refusal::Version));
    check(&[("Sec-WebSocket-Version", &["8", "13"])], Err(Refusal::Version));
}

#[test]
fn keys() {
    check(&[("Sec-WebSocket-Key", &[])], Err(Refusal::KeyMissing));
    check(&[("Sec-WebSocket-Key", &[GOOD[3].1, GOOD[3].1])], Err(Refusal::KeyRepeated));
    for bad in [
        "",
        "not base64 at all!!!!!==",
        "dGhlIHNhbXBsZSBub25j",     // 15 bytes
        "dGhlIHNhbXBsZSBub25jZWU=", // 17 bytes
        "dGhlIHNhbXBsZSBub25jZQ",   // unpadded
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25j_-==", // the alphabet for URLs
        "dGhlIHNhbXBsZSBub25jZQ==,dGhlIHNhbXBsZSBub25jZQ==",
        "=GhlIHNhbXBsZSBub25jZQ==",
    ] {
        check(&[("Sec-WebSocket-Key", &[bad])], Err(Refusal::Key));
    }
    // Not canonical: the unused bits are set.
    check(&[("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZR=="])], Ok(()));
}

/// Else the body's bytes would be read as frames.
#[test]
fn bodies_are_refused() {
    check(&[("Content-Length", &["12"])], Err(Refusal::Body));
    check(&[("Content-Length", &["1099511627776"])], Err(Refusal::Body));
    check(&[("Transfer-Encoding", &["chunked"])], Err(Refusal::Body));
}

#[test]
fn methods_and_versions_of_http() {
    let headers = GOOD.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    for method in ["POST", "HEAD", "get", "CONNECT", "OPTIONS"] {
        assert_eq!(judge_stream(&format!("{method} /ws HTTP/1.1\r\n{headers}\r\n")), Err(Refusal::Method));
    }
    assert_eq!(judge_stream(&format!("GET /ws HTTP/1.0\r\n{headers}\r\n")), Err(Refusal::HttpVersion));
    assert_eq!(judge_stream("GET /ws HTTP/1.0\r\n\r\n"), Err(Refusal::NoUpgrade));
}

#[test]
fn refusals_have_statuses_and_name_what_would_do() {
    use Refusal as R;
    let bad = [R::Body, R::HttpVersion, R::Connection, R::KeyMissing, R::KeyRepeated, R::Key];
    for (refusal, status, hint) in bad.map(|refusal| (refusal, 400, Hint::None)).into_iter().chain([
        (R::Method, 405, Hint::Allow("GET")),
        (R::NoUpgrade, 426, Hint::WebSocket),
        (R::Version, 426, Hint::WebSocket),
    ]) {
        let problem = Problem::from(refusal);
        assert_eq!((problem.status.number(), problem.hint), (status, hint), "{refusal:?}");
        // Writing asserts that the text needs no escapes.
        problem.write(&mut Vec::new(), false, crate::wire::http::answer::After::Close);
    }
}

/// Extensions are declined whatever is offered; the parsers of others fell over some of these.
#[test]
fn no_extension_offer_matters() {
    let backslashes = format!("x; a=\"{}", "\\c".repeat(2_000));
    for offer in [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=99",
        "permessage-deflate; server_max_window_bits=7; server_max_window_bits=abc; nonsense",
        "constructor, __proto__, toString",
        ";;,,\"",
        &backslashes,
    ] {
        check(&[("Sec-WebSocket-Extensions", &[offer])], Ok(()));
    }
}

fn chosen(headers: &[&str]) -> Option<&'static str> {
    let lines: String = headers.iter().map(|value| format!("Sec-WebSocket-Protocol: {value}\r\n")).collect();
    let stream = format!("GET /ws HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let (mut reader, mut slots) = (HeadReader::new(), Slots::new());
    let (head, _) = reader.read(stream.as_bytes(), &mut slots).expect("a good head").expect("whole");
    choose(head.tokens("sec-websocket-protocol"), &["roomcast.v1", "chat"])
}

#[test]
fn the_first_known_subprotocol_of_those_offered() {
    assert_eq!(chosen(&[]), None);
    assert_eq!(chosen(&["chat"]), Some("chat"));
    assert_eq!(chosen(&["mqtt, chat , roomcast.v1"]), Some("chat"));
    assert_eq!(chosen(&["mqtt", "bearer, a.b.c", "roomcast.v1,chat"]), Some("roomcast.v1"));
    assert_eq!(chosen(&["Chat", "roomcast.v10", "chat2", "\"chat\""]), None);
    for hostile in ["chat%0d%0aX-Injected: 1", "chat\u{85}", ",,,,", "constructor", "chat\tX"] {
        assert_eq!(chosen(&[hostile]), None, "{hostile:?}");
    }
    let (blanks, commas) = (" ".repeat(4_000), ",".repeat(4_000));
    assert_eq!(chosen(&[&format!("x{blanks}y"), &commas]), None);
    assert_eq!(chosen(&[&format!("{commas}{blanks}chat")]), Some("chat"));
}

proptest! {
    /// The check by eye against a decoder that forgives unused bits.
    #[test]
    fn keys_are_what_a_decoder_says(key in "[A-Za-z0-9+/]{22}==|[A-Za-z0-9+/=]{20,26}|[ -~]{24}") {
        use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
        let config = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
        let decoder = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
        let good = decoder.decode(&key).is_ok_and(|bytes| bytes.len() == 16);
        prop_assert_eq!(parse_key(key.as_bytes()).is_some(), good);
    }
}
