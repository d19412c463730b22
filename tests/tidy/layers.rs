//! Who may import whom: layers from left to right, and within a folder earlier siblings only.
//!
//! Rust does not hold this inside one crate. A path counts wherever it stands: in `use`, in braces, in the
//! middle of an expression, climbing by `super`. A folder's mod.rs and its children are one thing: it composes
//! them, and they may add methods to what it defines. Test code is held to the layers, not to the order of siblings.

use std::collections::BTreeMap;

use crate::source::{Source, Token, Violation, closing, follows, tokens};

/// The layers in order, each with what it may import: always something to its left.
const LAYERS: [(&str, &[&str]); 16] = [
    ("base", &[]),
    ("wire", &["base"]),
    ("hub", &["base"]),
    ("access", &["base", "wire", "hub"]),
    ("dialect", &["base", "wire", "hub"]),
    ("pages", &[]),
    ("metrics", &["base"]),
    ("shard", &["base", "wire", "hub", "access", "dialect", "pages", "metrics"]),
    ("mailbox", &["base"]),
    ("store", &["base", "hub", "mailbox"]),
    ("cluster", &["base", "wire", "hub", "shard", "mailbox"]),
    ("hooks", &["base", "wire", "hub", "access", "mailbox"]),
    ("reactor", &["base", "hub", "metrics", "shard", "mailbox", "store"]),
    ("config", &["base", "wire", "hub", "access", "dialect", "shard"]),
    (
        "server",
        &[
            "base", "wire", "hub", "access", "dialect", "pages", "metrics", "shard", "mailbox", "store",
            "cluster", "hooks", "reactor", "config",
        ],
    ),
    ("main", &["config", "server"]),
];
/// What the load generator may use of the server: it must not measure the server with the server's own logic.
const LOADTEST: [&str; 2] = ["base", "wire"];

const MEND_LAYER: &str = "Pass the value in as an argument, or return one; or move the item to the left";
const MEND_SIBLING: &str =
    "Move its `mod` line up if nothing above needs it, or move the shared part to a file above both";

/// A module by its path from the crate root: `src/wire/ws/mod.rs` is `[wire, ws]`, `src/lib.rs` is `[]`.
type Module = Vec<String>;

/// One use of one path.
struct Reference {
    at: usize,
    /// From the crate root, item names included.
    path: Vec<String>,
}

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let crate_files: BTreeMap<Module, &Source> =
        sources.iter().filter_map(|source| Some((module_of(&source.path)?, source))).collect();
    let children: BTreeMap<&Module, Vec<String>> =
        crate_files.iter().map(|(module, source)| (module, child_modules(source, false))).collect();
    let mut found = Vec::new();
    for (module, source) in &crate_files {
        for reference in references(source, module, &children[module]) {
            let Some(top) = reference.path.first() else { continue };
            if !LAYERS.iter().any(|(layer, _)| layer == top) {
                // In a binary's root, `self::x` and `crate::x` are its own items.
                if !module.is_empty() {
                    let said = format!("`{top}` is no layer");
                    found.push(source.violation(
                        reference.at,
                        "layers",
                        said,
                        "Name it in LAYERS, in its place",
                    ));
                }
                continue;
            }
            let target = owner(&crate_files, &reference.path);
            found.extend(check_reference(source, module, &reference, &target, &children));
        }
        found.extend(dead_file(source, module, &crate_files));
    }
    found.extend(sources.iter().filter(|source| source.path == "src/lib.rs").flat_map(root_rules));
    found.extend(
        sources.iter().filter(|source| source.path.starts_with("loadtest/")).flat_map(loadtest_rules),
    );
    found
}

fn module_of(path: &str) -> Option<Module> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    Some(if inner == "lib" { Vec::new() } else { inner.split('/').map(String::from).collect() })
}

/// The file that holds `path`: that of its longest beginning that is a module.
fn owner(files: &BTreeMap<Module, &Source>, path: &[String]) -> Module {
    (1..=path.len())
        .rev()
        .map(|n| path[..n].to_vec())
        .find(|start| files.contains_key(start))
        .unwrap_or_default()
}

/// Names of the `mod x;` lines in their order; those for tests only where `with_tests`.
fn child_modules(source: &Source, with_tests: bool) -> Vec<String> {
    let tokens = tokens(&source.code);
    (0..tokens.len())
        .filter(|i| tokens[*i].text == "mod" && tokens.get(i + 2).is_some_and(|end| end.text == ";"))
        .filter(|i| with_tests || !source.is_test_at(tokens[*i].at))
        .map(|i| tokens[i + 1].text.to_owned())
        .collect()
}

fn check_reference(
    source: &Source,
    module: &Module,
    reference: &Reference,
    target: &Module,
    children: &BTreeMap<&Module, Vec<String>>,
) -> Option<Violation> {
    let (from, to) = (module.first()?, reference.path.first()?);
    if from != to {
        let allowed = LAYERS.iter().find(|(layer, _)| layer == from).map_or(&[][..], |(_, allowed)| allowed);
        let said = format!(
            "`{from}` imports `{}`, and may import only [{}]",
            reference.path.join("::"),
            allowed.join(" ")
        );
        return (!allowed.contains(&to.as_str()))
            .then(|| source.violation(reference.at, "layers", said, MEND_LAYER));
    }
    if source.is_test_at(reference.at) {
        return None;
    }
    let shared = module.iter().zip(target).take_while(|(a, b)| a == b).count();
    let (mine, theirs) = (module.get(shared)?, target.get(shared)?);
    let order = children.get(&module[..shared].to_vec())?;
    let place = |name: &String| order.iter().position(|child| child == name);
    let said = format!("`{mine}` uses `{theirs}`, which its folder's mod.rs names later");
    (place(theirs) >= place(mine)).then(|| source.violation(reference.at, "siblings", said, MEND_SIBLING))
}

/// Every path of the file that leads to a module of this crate.
fn references(source: &Source, module: &Module, children: &[String]) -> Vec<Reference> {
    let tokens = tokens(&source.code);
    let mut found = Vec::new();
    // Inline modules that are open: name, and the index of the closing brace.
    let mut inline: Vec<(String, usize)> = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        inline.retain(|(_, end)| i < *end);
        if token.text == "mod" && tokens.get(i + 2).is_some_and(|open| open.text == "{") {
            inline.push((tokens[i + 1].text.to_owned(), closing(&tokens, i + 2)));
        }
        let starts_path = follows(&tokens, i + 1, &["::"]) && (i == 0 || tokens[i - 1].text != "::");
        if !starts_path {
            continue;
        }
        let here =
            || module.iter().cloned().chain(inline.iter().map(|(name, _)| name.clone())).collect::<Vec<_>>();
        let in_main = source.path == "src/main.rs";
        let mut base = match token.text {
            "crate" if !in_main => Vec::new(),
            "roomcast" if in_main => Vec::new(),
            "self" if !in_main => here(),
            "super" => {
                let mut climbed = here();
                climbed.pop();
                climbed
            }
            name if inline.is_empty() && children.iter().any(|child| child == name) => {
                [here(), vec![name.into()]].concat()
            }
            _ => continue,
        };
        let mut next = i + 2;
        while follows(&tokens, next, &["super", "::"]) {
            base.pop();
            next += 2;
        }
        read_path(&tokens, &mut next, base, &mut found);
    }
    found
}

/// Reads what follows a `::`: names, a list in braces, or a star; adds one reference for each leaf.
fn read_path(tokens: &[Token<'_>], next: &mut usize, mut path: Vec<String>, found: &mut Vec<Reference>) {
    loop {
        let Some(token) = tokens.get(*next) else { return };
        let is_name = token.text.starts_with(|first: char| first.is_alphabetic() || first == '_');
        *next += 1;
        if token.text == "{" {
            while let Some(inner) = tokens.get(*next).filter(|inner| inner.text != "}") {
                if inner.text == "," {
                    *next += 1;
                } else {
                    let before = *next;
                    read_path(tokens, next, path.clone(), found);
                    debug_assert!(*next > before, "every round takes a token");
                }
            }
            *next += 1;
            return;
        }
        if is_name && token.text != "self" {
            path.push(token.text.to_owned());
        }
        if is_name && follows(tokens, *next, &["::"]) {
            *next += 1;
            continue;
        }
        if follows(tokens, *next, &["as"]) {
            *next += 2;
        }
        found.push(Reference { at: token.at, path });
        return;
    }
}

/// A file that no `mod` line names is never compiled.
fn dead_file(source: &Source, module: &Module, files: &BTreeMap<Module, &Source>) -> Option<Violation> {
    let (name, folder) = module.split_last()?;
    let is_root = folder.is_empty() && name == "main";
    let parent = files.get(folder);
    let named = parent.is_some_and(|parent| child_modules(parent, true).contains(name));
    let said = format!("no `mod {name};` names this file");
    (!is_root && !named)
        .then(|| source.violation(0, "dead file", said, "Name it in its folder's mod.rs, or remove it"))
}

fn root_rules(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let tokens = tokens(&source.code);
    for i in (0..tokens.len()).filter(|i| follows(&tokens, *i, &["pub", "use"])) {
        let mend = "Let callers name the layer: a re-export from the root ties all layers together";
        found.push(source.violation(tokens[i].at, "root", "`pub use` in lib.rs".into(), mend));
    }
    let place = |name: &String| LAYERS.iter().position(|(layer, _)| layer == name);
    for pair in child_modules(source, true).windows(2).filter(|pair| place(&pair[0]) >= place(&pair[1])) {
        let said = format!("`{}` stands before `{}`", pair[0], pair[1]);
        found.push(source.violation(0, "root", said, "Put the `mod` lines in the order of LAYERS"));
    }
    found
}

fn loadtest_rules(source: &Source) -> Vec<Violation> {
    let tokens = tokens(&source.code);
    let mut found = Vec::new();
    for i in (0..tokens.len()).filter(|i| follows(&tokens, *i, &["roomcast", "::"])) {
        let mut references = Vec::new();
        read_path(&tokens, &mut (i + 2), Vec::new(), &mut references);
        for reference in references {
            let top = reference.path.first().map_or("", String::as_str);
            if !LOADTEST.contains(&top) {
                let said =
                    format!("the load generator uses `{top}`, and may use only [{}]", LOADTEST.join(" "));
                found.push(source.violation(reference.at, "layers", said, "Write the client's side anew"));
            }
        }
    }
    found
}

/// Rules broken by a crate of these files, each as `file:line rule`.
#[cfg(test)]
fn broken(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    check(&sources).iter().map(|v| format!("{}:{} {}", v.path, v.line, v.rule)).collect()
}

#[cfg(test)]
const ROOT: (&str, &str) = ("src/lib.rs", "pub mod base;\npub mod wire;\npub mod hub;\npub mod dialect;");

#[cfg(test)]
fn with_hub(text: &str) -> Vec<String> {
    broken(&[
        ROOT,
        ("src/base.rs", ""),
        ("src/wire.rs", ""),
        ("src/dialect.rs", ""),
        ("src/hub/mod.rs", "pub mod name;\npub mod topic;\npub mod owner;\nuse topic::Topic;\n"),
        ("src/hub/name.rs", ""),
        ("src/hub/topic.rs", text),
        ("src/hub/owner.rs", ""),
    ])
}

#[test]
fn every_layer_imports_only_from_its_left() {
    for (place, (layer, allowed)) in LAYERS.iter().enumerate() {
        for import in *allowed {
            assert!(LAYERS[..place].iter().any(|(left, _)| left == import), "{layer} imports {import}");
        }
    }
}

#[test]
fn imports_to_the_right_are_found_however_they_are_written() {
    for text in [
        "use crate::wire::json;",
        "use crate::{base::id, wire};",
        "use crate::{\n  wire::{self, ws::frame},\n};".replace("\n  ", " ").as_str(),
        "fn f() -> crate::dialect::native::Alias { todo }",
        "use super::super::wire::ws;",
        "mod inner { use super::super::super::wire; }",
        "#[cfg(test)]\nmod tests { use crate::wire; }".replace('\n', " ").as_str(),
        "pub(in crate::wire) fn f() {}",
        "use crate::unheard_of::X;",
    ] {
        assert_eq!(with_hub(text).first().map(String::as_str), Some("src/hub/topic.rs:1 layers"), "{text}");
    }
}

#[test]
fn later_siblings_are_found() {
    assert_eq!(with_hub("use crate::hub::owner::Owner;"), ["src/hub/topic.rs:1 siblings"]);
    assert_eq!(with_hub("use super::{name::Name, owner};"), ["src/hub/topic.rs:1 siblings"]);
    assert_eq!(
        with_hub(
            "
fn f() { crate::hub::owner::g() }"
        ),
        ["src/hub/topic.rs:2 siblings"]
    );
}

#[test]
fn what_is_allowed_passes() {
    for text in [
        "use crate::base::{id::Origin, clock::{Mono, Wall}};\nuse crate::hub::name::Topic;",
        "use super::name::{self, Topic};\n// use crate::wire;\nconst A: &str = \"crate::wire\";",
        "use self::inner::X;\nmod inner { use super::Y; use super::super::name; }",
        "use std::mem;\nfn f() { other::wire::g() }",
        "use super::Hub;\nimpl crate::hub::Hub {}",
        "#[cfg(test)]\nmod tests { use super::*; use crate::hub::owner::Owner; }",
    ] {
        assert_eq!(with_hub(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn the_root_and_the_program_are_held_too() {
    assert_eq!(
        broken(&[("src/lib.rs", "pub mod base;\npub use base::id;"), ("src/base.rs", "")]),
        ["src/lib.rs:2 root"]
    );
    let swapped = [("src/lib.rs", "pub mod wire;\npub mod base;"), ("src/base.rs", ""), ("src/wire.rs", "")];
    assert_eq!(broken(&swapped), ["src/lib.rs:1 root"]);
    let root = [ROOT, ("src/base.rs", ""), ("src/wire.rs", ""), ("src/hub.rs", ""), ("src/dialect.rs", "")];
    let with = |file| broken(&[root.as_slice(), &[file]].concat());
    assert_eq!(with(("src/main.rs", "use roomcast::hub;")), ["src/main.rs:1 layers"]);
    assert_eq!(with(("src/main.rs", "use roomcast::{config, server};")), Vec::<String>::new());
    assert_eq!(
        with(("loadtest/src/main.rs", "use roomcast::{base::id, hub};")),
        ["loadtest/src/main.rs:1 layers"]
    );
    assert_eq!(with(("src/lost.rs", "")), ["src/lost.rs:1 dead file"]);
}
