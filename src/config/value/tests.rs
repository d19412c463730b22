//! Every parser on what people write, what they mistype, and what nobody should write.

use proptest::prelude::*;

use super::*;

#[test]
fn sizes() {
    for (text, expected) in [
        ("0", 0),
        ("125", 125),
        ("125B", 125),
        ("125b", 125),
        ("1k", 1_000),
        ("1K", 1_000),
        ("2kB", 2_000),
        ("1KiB", 1_024),
        ("16MiB", 16 << 20),
        ("16mib", 16 << 20),
        (" 16 MiB\n", 16 << 20),
        ("3M", 3_000_000),
        ("1GiB", 1 << 30),
        ("1GB", 1_000_000_000),
        ("18446744073709551615k", u64::MAX),
        ("99999999999999999999", u64::MAX),
    ] {
        assert_eq!(bytes(text), Ok(expected), "{text:?}");
    }
    for (text, expected) in [
        ("", Wrong::Empty),
        ("  ", Wrong::Empty),
        ("MiB", Wrong::NotNumber),
        ("-1", Wrong::NotNumber),
        ("+1", Wrong::NotNumber),
        ("1.5MiB", Wrong::NotNumber),
        ("1_000", Wrong::NotNumber),
        ("0x10", Wrong::Unit("x10".into())),
        ("٣", Wrong::NotNumber),
        ("12Q", Wrong::Unit("Q".into())),
        ("1MiBs", Wrong::Unit("MiBs".into())),
    ] {
        assert_eq!(bytes(text), Err(expected), "{text:?}");
    }
}

#[test]
fn durations() {
    for (text, expected) in [
        ("0", 0),
        ("0s", 0),
        ("500ms", 500),
        ("10s", 10_000),
        ("10 s", 10_000),
        ("2m", 120_000),
        ("1h", 3_600_000),
        ("18446744073709551615h", u64::MAX),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_millis(expected)), "{text:?}");
    }
    for (text, expected) in [
        ("", Wrong::Empty),
        ("10", Wrong::NoUnit),
        ("10 S", Wrong::Unit("S".into())),
        ("10M", Wrong::Unit("M".into())),
        ("10sec", Wrong::Unit("sec".into())),
        ("1d", Wrong::Unit("d".into())),
        ("1m30s", Wrong::Unit("m30s".into())),
        ("0.5s", Wrong::NotNumber),
        ("-1s", Wrong::NotNumber),
        ("soon", Wrong::NotNumber),
    ] {
        assert_eq!(duration(text), Err(expected), "{text:?}");
    }
}

#[test]
fn counts() {
    assert_eq!(count("0"), Ok(0));
    assert_eq!(count(" 128\n"), Ok(128));
    assert_eq!(count("128k"), Err(Wrong::NotNumber));
    assert_eq!(count("1e3"), Err(Wrong::NotNumber));
    assert_eq!(count(""), Err(Wrong::Empty));
    let show = |n: u64| n.to_string();
    assert_eq!(ranged(5, 1, 5, show), Ok(5));
    assert_eq!(ranged(0, 1, 5, show), Err(Wrong::Below("1".into())));
    assert_eq!(ranged(6, 1, 5, show), Err(Wrong::Above("5".into())));
    assert_eq!(ranged(1 << 32, 1, 5, show), Err(Wrong::Above("5".into())));
}

#[test]
fn rates() {
    const MAX: u32 = 1_000;
    assert_eq!(rate("10/s", MAX), Ok(Rate { per_second: 10, burst: 20 }));
    assert_eq!(rate("10/s,burst=50", MAX), Ok(Rate { per_second: 10, burst: 50 }));
    assert_eq!(rate(" 10 /s, burst=1 ", MAX), Ok(Rate { per_second: 10, burst: 1 }));
    assert_eq!(rate("1000/s", MAX), Ok(Rate { per_second: 1_000, burst: 2_000 }));
    for text in ["10", "10/m", "/s", "x/s", "10/s,", "10/s,20", "10/s,burst=", "10/s,burst=x", "burst=1"] {
        assert_eq!(rate(text, MAX), Err(Wrong::NotRate), "{text:?}");
    }
    assert_eq!(rate("0/s", MAX), Err(Wrong::Below("1".into())));
    assert_eq!(rate("1/s,burst=0", MAX), Err(Wrong::Below("1".into())));
    assert_eq!(rate("1001/s", MAX), Err(Wrong::Above("1000".into())));
    assert_eq!(rate("99999999999999999999/s", MAX), Err(Wrong::Above("1000".into())));
}

#[test]
fn switches() {
    for text in ["true", "YES", "on", "1"] {
        assert_eq!(switch(text), Ok(true), "{text:?}");
    }
    for text in ["false", "No", "off", "0"] {
        assert_eq!(switch(text), Ok(false), "{text:?}");
    }
    assert_eq!(switch("maybe"), Err(Wrong::NotSwitch));
}

#[test]
fn addresses() {
    for (text, expected) in [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("0.0.0.0:0", "0.0.0.0:0"),
        ("[::1]:8080", "[::1]:8080"),
        ("[::]:443", "[::]:443"),
        (":8080", "0.0.0.0:8080"),
    ] {
        assert_eq!(address(text), Ok(expected.parse().unwrap()), "{text:?}");
    }
    let local = address("localhost:8080").unwrap();
    assert!(local.ip().is_loopback());
    assert_eq!(local.port(), 8080);
    for (text, expected) in [
        ("", Wrong::Empty),
        ("8080", Wrong::NoPort),
        ("localhost", Wrong::NoPort),
        ("localhost:", Wrong::NoPort),
        ("::1", Wrong::NoPort),
        ("fe80::1", Wrong::NoPort),
        ("localhost:http", Wrong::Port("http".into())),
        ("localhost:65536", Wrong::Port("65536".into())),
        ("localhost:-1", Wrong::Port("-1".into())),
    ] {
        assert_eq!(address(text), Err(expected), "{text:?}");
    }
    assert!(matches!(address("no such host:80"), Err(Wrong::Unresolved(_))));
}

#[test]
fn every_fault_has_its_own_words() {
    for (wrong, text) in [
        (Wrong::Empty, "nothing is given"),
        (Wrong::NotNumber, "this is not a whole number in decimal digits"),
        (Wrong::NoUnit, "the unit is missing (ms, s, m or h)"),
        (Wrong::Unit("Q".into()), "'Q' is not a unit"),
        (Wrong::Below("1KiB".into()), "this is less than 1KiB"),
        (Wrong::Above("1GiB".into()), "this is more than 1GiB"),
        (Wrong::NotWord, "this is none of the words known here"),
        (Wrong::NotSwitch, "this is neither yes nor no"),
        (Wrong::NotRate, "this is not a rate"),
        (Wrong::NoPort, "the port is missing"),
        (Wrong::Port("x".into()), "'x' is not a port (0 to 65535)"),
        (Wrong::Unresolved("no\nluck".into()), "the host is not known (no\\nluck)"),
        (Wrong::TooMany(32), "there are more than 32 addresses"),
        (Wrong::Name(NameError::Empty), "the name is empty"),
        (Wrong::Name(NameError::TooLong { max: 128 }), "the name has more than 128 bytes"),
        (Wrong::Name(NameError::Control), "the name contains a control character"),
        (Wrong::NotUtf8, "this is not UTF-8"),
    ] {
        assert_eq!(wrong.to_string(), text);
    }
}

#[test]
fn what_was_typed_is_repeated_short_and_harmless() {
    assert_eq!(quoted("12Q"), "'12Q'");
    assert_eq!(quoted("a\u{1b}[31m\r\n"), "'a\\u{1b}[31m\\r\\n'");
    let long = quoted(&"é".repeat(4_000));
    assert_eq!(long.chars().count(), REPEATED_CHARS_MAX + 3);
    assert!(long.ends_with("…'"));
    assert_eq!(quoted(&"x".repeat(REPEATED_CHARS_MAX)).len(), REPEATED_CHARS_MAX + 2);
}

proptest! {
    #[test]
    fn what_is_shown_reads_back(number in any::<u64>(), small in 0u64..100_000) {
        for number in [number, small, small << 10, small << 20] {
            prop_assert_eq!(bytes(&show_bytes(number)), Ok(number));
            let time = Duration::from_millis(number);
            prop_assert_eq!(duration(&show_duration(time)), Ok(time));
        }
    }

    #[test]
    fn no_text_breaks_a_parser(text in "\\PC{0,12}|[0-9]{1,22}[a-zA-Z/=,]{0,9}") {
        let _ = (count(&text), bytes(&text), duration(&text), rate(&text, 9), switch(&text));
        prop_assert!(!quoted(&text).contains(char::is_control));
    }
}
