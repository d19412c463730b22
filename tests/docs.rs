//! The pages against the code: words, fields, texts and numbers in `docs/` are those of the tables, examples are
//! understood, links lead somewhere, flags exist.
//!
//! A page is held by what a reader takes from it; wording is free.

#[path = "docs/markdown.rs"]
mod markdown;
#[path = "docs/samples.rs"]
mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use roomcast::dialect::api::{decode as api_decode, route as api};
use roomcast::dialect::native::{alias, decode};
use roomcast::dialect::refusal;
use roomcast::dialect::route::{self, Endpoint};
use roomcast::hub::document::{self, PARTS_MAX};
use roomcast::hub::event::Refusal;
use roomcast::hub::moderation::SANCTIONS_PER_TOPIC_MAX;
use roomcast::hub::name::TopicKind;
use roomcast::hub::policy::{
    INBOX_AGE, INBOX_MESSAGES, PRESENCE_LIST_MAX, ROOM_HISTORY_AGE, ROOM_HISTORY_MESSAGES,
};
use roomcast::hub::stamps::{STAMP_AGE, STAMPS_MAX};
use roomcast::metrics::table::{FAMILIES, Kind};
use roomcast::wire::http::target::Target;
use serde_json::Value;

use markdown::{anchors, code, fenced, links, rows, section};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn protocol() -> String {
    read(&root().join("docs/protocol.md"))
}

/// The README and everything in docs/.
fn pages() -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("docs")).expect("docs/ is there");
    let mut pages: Vec<PathBuf> = folder.map(|entry| entry.expect("a readable entry").path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.extend(["README.md", "CHANGELOG.md"].map(|name| root().join(name)));
    pages.sort();
    pages
}

/// The one word in backticks that a cell begins with.
fn word(cell: &str) -> &str {
    code(cell).first().copied().unwrap_or_else(|| panic!("`{cell}` begins with a word in backticks"))
}

fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    words.into_iter().map(String::from).collect()
}

/// The fields of a message type: all, and those that are always there.
#[derive(Debug, Default)]
struct Fields {
    known: BTreeSet<String>,
    always: BTreeSet<String>,
}

/// A table of message types, fields in the second column; a type with several rows has the fields of all.
fn types(page: &str, heading: &str) -> BTreeMap<String, Fields> {
    let mut found: BTreeMap<String, Fields> = BTreeMap::new();
    for row in rows(section(page, heading)) {
        let fields = found.entry(word(&row[0]).to_owned()).or_default();
        for field in row[1].split(',').filter(|field| !field.trim().is_empty()) {
            fields.known.insert(word(field).to_owned());
            if !field.trim().ends_with('?') {
                fields.always.insert(word(field).to_owned());
            }
        }
    }
    found
}

#[test]
fn client_messages_are_those_of_the_decoder() {
    let page = protocol();
    let documented = types(&page, "Client to server");
    assert_eq!(set(documented.keys().map(String::as_str)), set(decode::TYPES.iter().map(|known| known.word)));
    let fields: BTreeSet<String> =
        documented.values().flat_map(|fields| fields.known.iter().cloned()).collect();
    let common = set(["type", "id"]);
    let understood: BTreeSet<String> = set(decode::FIELDS).difference(&common).cloned().collect();
    assert_eq!(fields, understood);
}

#[test]
fn client_examples_are_understood() {
    let page = protocol();
    let documented = types(&page, "Client to server");
    let mut missing = set(documented.keys().map(String::as_str));
    for example in fenced(&page, "json client") {
        let asked = decode::decode(example).asked;
        assert!(asked.is_ok(), "{example}\nis answered with {asked:?}");
        let object: Value = serde_json::from_str(example).expect("the decoder took it");
        if let Some(fields) = object["type"].as_str().and_then(|kind| documented.get(kind)) {
            let keys = keys(&object);
            assert!(keys.is_superset(&fields.always), "{example}\nlacks some of {:?}", fields.always);
            missing.remove(object["type"].as_str().expect("it was a string"));
        }
    }
    assert!(missing.is_empty(), "no example for {missing:?}");
}

/// The fields of a message, less those that all have and those that any reply may have.
fn keys(object: &Value) -> BTreeSet<String> {
    let names = object.as_object().expect("a message is an object").keys().map(String::as_str);
    set(names.filter(|name| !matches!(*name, "type" | "id")))
}

/// Holds messages against the tables: known type, no field too many, none too few, each field seen.
fn hold(messages: &[Value], documented: &BTreeMap<String, Fields>) {
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for message in messages {
        let kind = message["type"].as_str().expect("a message has a type");
        let fields = documented.get(kind).unwrap_or_else(|| panic!("`{kind}` is not in docs/protocol.md"));
        let keys = keys(message);
        assert!(keys.is_subset(&fields.known), "{message}\nhas fields beside {:?}", fields.known);
        assert!(keys.is_superset(&fields.always), "{message}\nlacks some of {:?}", fields.always);
        seen.entry(kind.to_owned()).or_default().extend(keys);
    }
    for kind in documented.keys() {
        assert!(seen.contains_key(kind), "no message of type `{kind}`");
    }
}

fn server_types(page: &str) -> BTreeMap<String, Fields> {
    types(page, "Server to client")
}

#[test]
fn server_messages_are_those_of_the_encoder() {
    let page = protocol();
    let documented = server_types(&page);
    let samples = samples::all();
    hold(&samples, &documented);
    for (kind, fields) in &documented {
        let of_kind = samples.iter().filter(|sample| sample["type"] == kind.as_str());
        let written: BTreeSet<String> = of_kind.flat_map(keys).collect();
        assert_eq!(written, fields.known, "`{kind}`: written by the encoder, and documented");
    }
    // A message type that has no sample yet still stands in the encoder as a word.
    let folder = root().join("src/dialect/native");
    let parts = ["encode.rs", "encode/auth.rs", "encode/documents.rs", "encode/typed.rs"];
    let encoder = parts.map(|part| read(&folder.join(part))).concat();
    for (_, rest) in
        encoder.match_indices("open(out, \"").map(|(at, start)| encoder.split_at(at + start.len()))
    {
        let kind = rest.split('"').next().unwrap_or_default();
        assert!(documented.contains_key(kind), "`{kind}` is not in docs/protocol.md");
    }
}

#[test]
fn server_examples_are_what_the_server_could_send() {
    let page = protocol();
    let parse = |line: &&str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}\n{error}"));
    let examples: Vec<Value> = fenced(&page, "json server").iter().map(parse).collect();
    hold(&examples, &server_types(&page));
}

#[test]
fn errors_are_those_of_the_table() {
    let page = protocol();
    let documented: BTreeMap<String, String> =
        rows(section(&page, "Errors")).iter().map(|row| (word(&row[0]).to_owned(), row[1].clone())).collect();
    assert_eq!(set(documented.keys().map(String::as_str)), set(refusal::CODES));
    for refusal in [
        Refusal::InvalidJson,
        Refusal::UnknownType("X".into()),
        Refusal::InvalidField { field: "limit", expected: "an integer, not negative" },
        Refusal::NameRequired(TopicKind::Room),
        Refusal::MessageRequired,
        Refusal::NotMember(TopicKind::Room),
        Refusal::NotMember(TopicKind::Channel),
        Refusal::NotMember(TopicKind::Document),
        Refusal::UnknownFeed,
        Refusal::Edit(document::Refusal::OutOfStep),
        Refusal::Edit(document::Refusal::Full),
        Refusal::Forbidden,
        Refusal::RoomFull,
        Refusal::TooManyRooms { max: 128 },
        Refusal::RateLimited { retry_after_ms: 1 },
        Refusal::Unavailable,
        Refusal::MessageTooLarge { max: 1024 },
        Refusal::BadSignature,
        Refusal::ContentRejected,
    ] {
        let words = refusal::words(&refusal);
        assert_eq!(documented[words.code], words.text, "`{}`", words.code);
    }
}

#[test]
fn other_words_are_those_of_the_alias_tables() {
    let page = protocol();
    let mut documented = BTreeSet::new();
    for row in rows(section(&page, "Other words")) {
        documented.insert((word(&row[0]).to_owned(), word(&row[1]).to_owned(), row[2].clone()));
    }
    let of = |table: &[alias::Alias], place: &str| {
        table
            .iter()
            .map(|(other, word)| (String::from(*other), String::from(*word), place.into()))
            .collect::<Vec<_>>()
    };
    let known: BTreeSet<_> =
        [of(&alias::FIELDS, "field"), of(&alias::TYPES, "type")].concat().into_iter().collect();
    assert_eq!(documented, known);
}

/// Every Rust file below `folder`.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the source tree is readable") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn close_codes_that_the_code_names_are_documented() {
    let page = protocol();
    let documented: BTreeSet<String> =
        rows(section(&page, "Close codes")).iter().map(|row| row[0].clone()).collect();
    let home = root().join("src/wire/ws/close.rs");
    let table = read(&home);
    // `pub const NAME: CloseCode = CloseCode(1000);`
    let named: BTreeMap<&str, &str> = table
        .lines()
        .filter_map(|line| {
            line.trim().strip_prefix("pub const ")?.strip_suffix(");")?.split_once(": CloseCode = CloseCode(")
        })
        .collect();
    assert!(
        documented.iter().all(|code| named.values().any(|number| number == code)),
        "{documented:?} in {named:?}"
    );
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    files.retain(|path| *path != home && !path.ends_with("tests.rs"));
    for path in files {
        for rest in read(&path).split("CloseCode::").skip(1) {
            let name = rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').next().unwrap_or_default();
            let Some(number) = named.get(name) else { continue };
            assert!(documented.contains(*number), "{}: {name} ({number}) is not documented", path.display());
        }
    }
}

#[test]
fn endpoints_are_those_of_the_router() {
    let page = protocol();
    let mut count = 0;
    for row in rows(section(&page, "Endpoints")).iter().filter(|row| row[0].starts_with("`/")) {
        let path = word(&row[0]).replace("{room}", "lobby");
        let target = Target::parse(&path).expect("a documented path is one");
        let found = route::route("GET", &target, |page| (page == "/").then_some(page));
        let as_documented = match found {
            Ok(Endpoint::Socket { room }) => path.ends_with("/lobby") == room.is_some(),
            Ok(_) => true,
            Err(_) => api::is_api(&path) && api::route("GET", &target).is_ok(),
        };
        assert!(as_documented, "{path} is {found:?}", found = route::route("GET", &target, |_| None::<()>));
        count += 1;
    }
    assert_eq!(count, 9, "endpoints in the table");
}

#[test]
fn paths_of_the_api_are_those_of_the_router() {
    let page = read(&root().join("docs/api.md"));
    let documented: BTreeSet<(String, String)> = rows(section(&page, "Paths"))
        .iter()
        .map(|row| (word(&row[0]).to_owned(), word(&row[1]).to_owned()))
        .collect();
    let known = api::PATHS.iter().map(|row| (row.method.to_owned(), row.path.to_owned())).collect();
    assert_eq!(documented, known);
    let page = page.replace('\n', " ");
    for text in [
        format!("any text of 1 to {} bytes", api_decode::KEY_BYTES_MAX),
        format!("within {} minutes", STAMP_AGE.as_secs() / 60),
        format!("at most {STAMPS_MAX} for each shard"),
        format!("An array of at most {} objects", api_decode::BATCH_MAX),
        format!("`{}` if it is missing", api_decode::SERVER_USER),
        format!("you want, {} if it is missing, and {} at most", api::LIMIT_DEFAULT, api::LIMIT_MAX),
        format!("the newest `limit` messages ({} if it is missing)", api::HISTORY_DEFAULT),
    ] {
        assert!(page.contains(&text), "docs/api.md says nothing like `{text}`");
    }
}

/// The table of metrics as docs/operations.md has it.
fn metrics_table() -> String {
    let mut table = "| metric | kind | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for family in FAMILIES.iter() {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let mut labels = String::new();
        for (at, name) in family.labels.split(',').enumerate().filter(|(_, name)| !name.is_empty()) {
            let mut words: Vec<&str> =
                family.values.iter().filter_map(|values| values.split(',').nth(at)).collect();
            words.sort_unstable();
            words.dedup();
            // The version of the program is no word to look for.
            let words = if name == "version" { String::new() } else { format!(": {}", words.join(", ")) };
            labels += &format!("{}`{name}`{words}", if labels.is_empty() { "" } else { "; " });
        }
        table += &format!("| `{}` | {kind} | {labels} | {} |\n", family.name, family.help);
    }
    table
}

#[test]
fn metrics_are_those_of_the_table() {
    let path = root().join("docs/operations.md");
    let page = read(&path);
    let table = metrics_table();
    let start = page.find("| metric | kind |").expect("docs/operations.md has the table");
    let end = page[start..].find("\n\n").map_or(page.len(), |end| start + end + 1);
    if std::env::var_os("ROOMCAST_BLESS").is_some() {
        fs::write(&path, [&page[..start], &table, &page[end..]].concat()).expect("the page can be written");
    } else {
        assert_eq!(&page[start..end], table, "ROOMCAST_BLESS=1 cargo test --test docs writes it anew");
    }
}

#[test]
fn numbers_in_the_text_are_those_of_the_code() {
    let page = protocol().replace('\n', " ");
    assert_eq!(INBOX_AGE.as_secs(), 24 * 3600, "the page says `24 hours`");
    assert_eq!(SANCTIONS_PER_TOPIC_MAX, 1000, "the page says `A thousand of them`");
    assert_eq!(ROOM_HISTORY_AGE.as_secs(), 3600, "the page says `of the last hour`");
    for text in [
        format!("more than {PRESENCE_LIST_MAX} users (`--presence-list-max`)"),
        format!("The newest `limit` ({}; at most {})", decode::HISTORY_DEFAULT, decode::HISTORY_MAX),
        format!("more than {PARTS_MAX} is answered with"),
        format!("any value of at most {} bytes", roomcast::hub::pad::INFO_BYTES_MAX),
        format!("its last {ROOM_HISTORY_MESSAGES} publications of the last hour"),
        format!("at most {} bytes. The reply", roomcast::hub::command::TAG_BYTES_MAX),
        format!("the last {INBOX_MESSAGES} of one user, for 24 hours"),
        format!("1 to {} bytes; without it", roomcast::hub::name::USER_ID_BYTES_MAX),
    ] {
        assert!(page.contains(&text), "docs/protocol.md says nothing like `{text}`");
    }
}

/// The tests that a table of a page names are there.
#[test]
fn tests_that_pages_name_are_there() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "loadtest/tests", "fuzz"] {
        rust_files(&root().join(folder), &mut files);
    }
    let sources: String = files.iter().map(|file| read(file)).collect();
    let security = read(&root().join("docs/security.md"));
    let attacks = security.split("## Attacks and their tests").nth(1).expect("the section is there");
    let page = read(&root().join("docs/testing.md")) + attacks;
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.ends_with("` |"));
    let is_test = |word: &&str| word.contains('_') && !word.contains(['/', '.']);
    let last_cells = rows.filter_map(|row| row.rsplit(" | ").next());
    let named: Vec<&str> = last_cells.flat_map(words).filter(is_test).collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        assert!(sources.contains(&format!("fn {name}()")), "there is no test {name}");
    }
}

/// What stands between backticks.
fn words(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn links_lead_somewhere() {
    for path in pages() {
        let page = read(&path);
        for link in links(&page).iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            let known = anchor.is_empty() || anchors(&read(&target)).iter().any(|known| known == anchor);
            assert!(known, "{}: {link} leads to no heading", path.display());
        }
    }
}

/// The flags that a page gives to the server: code that begins with one, and what follows `roomcast`, or the bare `--`
/// of `cargo run`, on a command line. Other programs have flags too.
fn flags(page: &str) -> BTreeSet<String> {
    let blocks = page.split("```").skip(1).step_by(2).flat_map(str::lines);
    let prose = markdown::prose(page);
    let mut found = BTreeSet::new();
    for command in code(&prose).into_iter().chain(blocks) {
        let start = if command.starts_with("--") {
            Some(0)
        } else if let Some(at) = command.find(" -- ").filter(|_| command.starts_with("cargo run")) {
            Some(at + 4)
        } else {
            command
                .split_whitespace()
                .next()
                .is_some_and(|program| program.ends_with("roomcast"))
                .then_some(0)
        };
        for flag in start.map_or("", |start| &command[start..]).split_whitespace() {
            let name =
                flag.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
            if name.len() > 2 && name.starts_with("--") {
                found.insert(name.to_owned());
            }
        }
    }
    found
}

#[test]
fn flags_are_those_of_the_configuration() {
    let configuration = read(&root().join("docs/configuration.md"));
    let known: BTreeSet<String> = rows(&configuration)
        .iter()
        .flat_map(|row| code(&row[0]).into_iter().flat_map(flags_of).collect::<Vec<_>>())
        .collect();
    assert!(known.contains("--listen"), "the tables of docs/configuration.md were read");
    for path in pages() {
        for flag in flags(&read(&path)) {
            let is_known =
                known.contains(&flag) || matches!(flag.as_str(), "--help" | "--version") || of_tokens(&flag);
            assert!(is_known, "{}: {flag} is not in docs/configuration.md", path.display());
        }
    }
}

/// Whether this is a flag of `roomcast token`.
fn of_tokens(flag: &str) -> bool {
    roomcast::config::mint::command().get_arguments().any(|known| known.get_long() == flag.strip_prefix("--"))
}

fn flags_of(cell: &str) -> Option<String> {
    cell.starts_with("--").then(|| cell.split_whitespace().next().unwrap_or_default().to_owned())
}

#[test]
fn flags_are_told_from_those_of_other_programs() {
    let page = "Use `--only` or `./check --fuzz 3`.\n\n\
        ```sh\ncargo run --release -- --listen a\nroomcast --node-name x\n\
                target/release/roomcast --shards 2\ngit log --oneline\n```\n`x --y`, `--z=1`";
    assert_eq!(flags(page), set(["--only", "--listen", "--node-name", "--shards", "--z"]));
}
