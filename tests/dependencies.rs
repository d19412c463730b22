//! What others have written and we build on: under which licence, from where, and from which version on without known
//! holes. Needs no network: it asks cargo for what it has.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Licences that ask for no more than to be named.
const LICENCES: [&str; 12] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "ISC",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "Unlicense",
    "Unicode-3.0",
    "Zlib",
];

/// First versions without what advisories tell of them.
const MENDED: [(&str, [u64; 3], &str); 6] = [
    ("tungstenite", [0, 20, 1], "CVE-2023-43669"),
    ("rustls", [0, 23, 18], "CVE-2024-32650 and a panic in Acceptor"),
    ("jsonwebtoken", [10, 3, 0], "CVE-2026-25537"),
    ("tracing-subscriber", [0, 3, 20], "CVE-2025-58160"),
    ("crossbeam-channel", [0, 5, 15], "CVE-2025-4574"),
    ("slab", [0, 4, 11], "CVE-2025-55159"),
];

/// The server has none of these, not even by way of others.
const RUNTIMES: [&str; 4] = ["tokio", "async-std", "smol", "async-executor"];

fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["metadata", "--locked", "--format-version", "1"]);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().expect("packages")
}

fn word<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

/// Whether an SPDX expression can be met by the licences above. A slash is an old way to write `OR`.
fn is_free(expression: &str) -> bool {
    /// Splits at an operator outside of parentheses.
    fn split<'a>(expression: &'a str, operator: &str) -> Vec<&'a str> {
        let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
        for (at, byte) in expression.bytes().enumerate() {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ if depth == 0 && at >= start && expression[at..].starts_with(operator) => {
                    parts.push(&expression[start..at]);
                    start = at + operator.len();
                }
                _ => {}
            }
        }
        parts.push(&expression[start..]);
        parts
    }
    fn met(expression: &str) -> bool {
        let any = split(expression, " OR ");
        if any.len() > 1 {
            return any.into_iter().any(met);
        }
        let all = split(expression, " AND ");
        if all.len() > 1 {
            return all.into_iter().all(met);
        }
        let inner = expression.trim().strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
        inner.map_or_else(|| LICENCES.contains(&expression.trim()), met)
    }
    met(&expression.replace('/', " OR "))
}

fn version(text: &str) -> [u64; 3] {
    let mut numbers = text.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| numbers.next().unwrap_or(0))
}

#[test]
fn licences_ask_for_no_more_than_to_be_named() {
    assert!(is_free("(MIT OR Apache-2.0) AND Unicode-3.0") && is_free("Unlicense/MIT"));
    assert!(is_free("MIT OR GPL-3.0") && !is_free("MIT AND GPL-3.0") && !is_free("GPL-3.0") && !is_free(""));
    let metadata = metadata();
    let bad: Vec<_> = packages(&metadata)
        .iter()
        .filter(|package| !is_free(word(package, "license")))
        .map(|package| format!("{}: {:?}", word(package, "name"), word(package, "license")))
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn everything_comes_from_the_registry_or_from_here() {
    let metadata = metadata();
    for package in packages(&metadata) {
        let source = word(package, "source");
        assert!(source.is_empty() || source.starts_with("registry+"), "{}: {source}", word(package, "name"));
    }
}

#[test]
fn nothing_with_a_known_hole() {
    let metadata = metadata();
    for (name, first, advisory) in MENDED {
        for package in packages(&metadata).iter().filter(|package| word(package, "name") == name) {
            let found = word(package, "version");
            assert!(version(found) >= first, "{name} {found}: {advisory} is mended in {first:?}");
        }
    }
}

#[test]
fn the_server_has_no_async_runtime() {
    let metadata = metadata();
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let name_of = |id: &Value| {
        let package = packages(&metadata).iter().find(|package| package["id"] == *id).expect("known");
        word(package, "name").to_owned()
    };
    let (mut seen, mut left) = (BTreeSet::new(), vec!["roomcast".to_owned()]);
    while let Some(name) = left.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        for node in nodes.iter().filter(|node| name_of(&node["id"]) == name) {
            for dependency in node["deps"].as_array().expect("dependencies") {
                // `null` is an ordinary dependency, neither for tests nor for building.
                let kinds = dependency["dep_kinds"].as_array().expect("kinds");
                if kinds.iter().any(|kind| kind["kind"].is_null()) {
                    left.push(name_of(&dependency["pkg"]));
                }
            }
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
    for runtime in RUNTIMES {
        assert!(!seen.contains(runtime), "{runtime}");
    }
}
