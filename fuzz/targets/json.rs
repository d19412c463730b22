//! The JSON skimmer against serde_json: the same texts are taken, and the values are the same.
//!
//! Where the two are meant to differ (depth, numbers beyond f64), only "no panic" is asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::wire::json::{self, Invalid};
use serde_json::{Map, Value};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut fields = Vec::new();
    let outcome = json::object(text, |name, value| fields.push((name, value)));
    for (name, value) in &fields {
        assert!(text.contains(value.raw()));
        drop((name.text(), value.text(), value.integer(), value.boolean()));
    }
    if outcome == Err(Invalid::TooDeep) {
        return;
    }
    let tree = match serde_json::from_str::<Value>(text) {
        Err(error) if error.to_string().contains("out of range") => return,
        Err(error) if error.to_string().contains("recursion limit") => return,
        Err(_) => None,
        Ok(tree) => tree.as_object().cloned(),
    };
    assert_eq!(outcome.is_ok(), tree.is_some(), "{outcome:?}");
    let Some(tree) = tree else { return };
    let mut found = Map::new();
    for (name, value) in fields {
        found.insert(name.text().into_owned(), serde_json::from_str(value.raw()).expect("a span is a value"));
        if let Some(string) = value.text() {
            let mut written = Vec::new();
            json::write_string(&mut written, &string);
            assert_eq!(serde_json::from_slice::<String>(&written).expect("what we write is JSON"), string);
        }
    }
    assert_eq!(found, tree);
});
