//! The table against itself: every row's words and values hold together.

use std::collections::BTreeSet;

use super::*;
use crate::config::setting::Typed;
use crate::config::value::Wrong;
use crate::shard::limits::{Limits, Rate};

/// The settings that hold where nothing is said, with `text` for the setting `name`.
fn set(name: &str, text: &str) -> Result<Typed, Wrong> {
    let mut typed = Typed::blank();
    let row = SETTINGS.iter().find(|row| row.name == name).unwrap();
    row.apply(&mut typed, text).map(|()| typed)
}

#[test]
fn names_are_unique_and_plain() {
    let names: BTreeSet<&str> = SETTINGS.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), SETTINGS.len());
    for name in names {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
        // Kubernetes sets such variables for a service called `roomcast`.
        assert!(
            name != "port" && name != "host" && !name.starts_with("service") && !name.starts_with("port-")
        );
    }
}

#[test]
fn categories_follow_one_another() {
    let seen: Vec<Category> = SETTINGS.iter().map(|row| row.category).collect();
    let expected: Vec<Category> =
        Category::ALL.into_iter().flat_map(|c| seen.iter().copied().filter(move |s| *s == c)).collect();
    assert_eq!(seen, expected);
}

#[test]
fn words_are_sentences() {
    for row in SETTINGS {
        assert!(row.help.ends_with('.') && row.help.starts_with(char::is_uppercase), "{}", row.name);
        assert!(
            row.details.is_empty() || row.details.ends_with('.') || row.details.ends_with(')'),
            "{}",
            row.name
        );
        for text in [row.help, row.details] {
            assert!(!text.contains("  ") && !text.contains('\n'), "{}", row.name);
        }
    }
}

#[test]
fn defaults_and_examples_are_values_and_differ() {
    for row in SETTINGS {
        let mut typed = Typed::blank();
        assert_eq!(row.apply(&mut typed, row.default), Ok(()), "{}", row.name);
        assert_eq!(row.apply(&mut typed, row.example), Ok(()), "{}", row.name);
        assert_ne!(row.default, row.example, "{}", row.name);
    }
}

#[test]
fn every_row_sets_its_own_field() {
    // The example differs from the default in exactly that which the row sets: no two rows agree on it.
    let mut seen = BTreeSet::new();
    for row in SETTINGS {
        let mut typed = Typed::blank();
        for row in SETTINGS {
            row.apply(&mut typed, row.default).unwrap();
        }
        let before = format!("{typed:?}");
        row.apply(&mut typed, row.example).unwrap();
        let after = format!("{typed:?}");
        assert_ne!(before, after, "{}", row.name);
        assert!(seen.insert(after), "{}", row.name);
        row.apply(&mut typed, row.default).unwrap();
        assert_eq!(format!("{typed:?}"), before, "{}", row.name);
    }
}

#[test]
fn defaults_are_those_of_the_layers() {
    let mut typed = Typed::blank();
    for row in SETTINGS {
        row.apply(&mut typed, row.default).unwrap();
    }
    // Shards that are driven without sockets hear more than any honest client says.
    let limits = Limits { rate: None, byte_rate: None, ..typed.limits };
    assert_eq!(format!("{limits:?}"), format!("{:?}", Limits::default()));
}

#[test]
fn bounds_are_within() {
    for row in SETTINGS {
        let (least, most) = match &row.kind {
            Kind::Count(min, max, _) => (min.to_string(), max.to_string()),
            Kind::Bytes(min, max, _) => (min.to_string(), max.to_string()),
            Kind::Time(min, max, _) => (format!("{}ms", min.as_millis()), format!("{}ms", max.as_millis())),
            _ => continue,
        };
        assert!(set(row.name, &least).is_ok() && set(row.name, &most).is_ok(), "{}", row.name);
        let above = match &row.kind {
            Kind::Time(_, max, _) => format!("{}ms", max.as_millis() + 1),
            _ => (most.parse::<u64>().unwrap() + 1).to_string(),
        };
        assert!(matches!(set(row.name, &above), Err(Wrong::Above(_))), "{}", row.name);
        if !least.starts_with('0') {
            let below =
                if least.ends_with("ms") { "0" } else { &(least.parse::<u32>().unwrap() - 1).to_string() };
            assert!(matches!(set(row.name, below), Err(Wrong::Below(_))), "{}", row.name);
        }
    }
}

#[test]
fn values_go_where_they_belong() {
    assert_eq!(set("max-message", "16MiB").unwrap().limits.message_bytes_max, 16 << 20);
    assert_eq!(set("rate-limit", "5/s").unwrap().limits.rate, Some(Rate { per_second: 5, burst: 10 }));
    assert_eq!(set("slow-consumer", "drop-newest").unwrap().limits.slow_consumer, SlowConsumer::DropNewest);
    assert_eq!(set("slow-consumer", "DROP-oldest").unwrap().limits.slow_consumer, SlowConsumer::DropOldest);
    assert_eq!(set("ping-interval", "OFF").unwrap().limits.ping_interval, None);
    assert_eq!(set("ping-interval", "off").unwrap().limits.ping_interval, None);
    assert!(!set("no-echo", "true").unwrap().limits.echo);
    assert!(set("trusted-proxy", "10.0.0.0/8; unix").unwrap().trusted.unix);
    assert_eq!(set("trusted-proxy", "proxy.example").unwrap_err(), Wrong::NotNetwork);
    assert!(set("proxy-protocol", "true").unwrap().proxy_protocol);
    assert!(!set("no-api", "true").unwrap().limits.api);
    assert_eq!(set("node-name", "edge-1").unwrap().node_name.as_deref(), Some("edge-1"));
    let two = set("listen", "127.0.0.1:1, [::1]:1,127.0.0.1:1").unwrap().listen;
    let address = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
    assert_eq!(two, [address("127.0.0.1:1").into(), address("[::1]:1").into()]);
    assert_eq!(set("listen", "127.0.0.1:0,127.0.0.1:0").unwrap().listen.len(), 2);
    assert!(matches!(set("listen", &":0,".repeat(33)), Err(Wrong::TooMany(32))));
    assert_eq!(set("listen", ":1,").unwrap_err(), Wrong::Empty);
    assert!(matches!(set("node-name", "a\u{1b}b"), Err(Wrong::Name(_))));
    assert_eq!(set("log-level", "trace").unwrap_err(), Wrong::NotWord);
    assert_eq!(set("close-timeout", "off").unwrap_err(), Wrong::NotNumber);
}

#[test]
fn environment_names_and_ranges_read_well() {
    let row = |name: &str| SETTINGS.iter().find(|row| row.name == name).unwrap();
    assert_eq!(row("max-message").environment(), "ROOMCAST_MAX_MESSAGE");
    for (name, value, accepts) in [
        ("max-message", Some("BYTES"), "a size from 1B to 1GiB"),
        ("shards", Some("N|auto"), "a number from 1 to 256, or auto"),
        ("ping-interval", Some("DURATION|off"), "a duration from 10ms to 24h, or off"),
        ("drain-timeout", Some("DURATION"), "a duration from 0 to 1h"),
        ("rate-limit", Some("N/s|off"), "N/s or N/s,burst=M with numbers from 1 to 1000000, or off"),
        (
            "slow-consumer",
            Some("disconnect|drop-oldest|drop-newest"),
            "disconnect, drop-oldest or drop-newest",
        ),
        ("no-echo", None, "true or false"),
    ] {
        assert_eq!(row(name).value_name().as_deref(), value);
        assert_eq!(row(name).accepts(), accepts);
    }
}
