//! The house rules that a program can hold: layers, ceilings, banned words; each with how to mend it.
//!
//! Reads source text, never compiled code, so it also sees what is switched off. It knows Rust only as far as
//! comments, literals, braces and paths go; what needs types is left to clippy. Every rule has a test that plants
//! a violation and looks whether it is found, and one that plants what must pass.

#[path = "tidy/ceilings.rs"]
mod ceilings;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use std::fs;
use std::path::Path;

use source::{Source, Violation};

/// What is not ours to judge: build products, other people's packages, what the fuzzer found.
const SKIPPED: [&str; 6] = ["target", ".git", "node_modules", "corpus", "artifacts", "seeds"];
/// Files with words in them; the rest is not read.
const TEXT: [&str; 12] = ["rs", "md", "toml", "sh", "py", "js", "mjs", "html", "css", "json", "yml", ""];

/// Reads every text file under `folder`, named relative to `root`, in the order of their names.
fn read_tree(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    let entries = fs::read_dir(folder).expect("a folder of the source tree is readable");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        // In a second work tree of git, `.git` is a file.
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            read_tree(root, &path, found);
        } else if TEXT.contains(&extension.as_str()) {
            // A file that is not UTF-8 is no text.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let path = path.strip_prefix(root).expect("it was found under the root");
            found.push(Source::new(&path.to_string_lossy(), &text));
        }
    }
}

fn check(sources: &[Source]) -> Vec<Violation> {
    let mut found = layers::check(sources);
    found.extend(ceilings::check(sources));
    found.extend(words::check(sources));
    found.sort_by(|a, b| (&a.path, a.line, &a.said).cmp(&(&b.path, b.line, &b.said)));
    // `use a::{b, c}` breaks the same rule twice in one place.
    found.dedup_by(|a, b| (&a.path, a.line, &a.said) == (&b.path, b.line, &b.said));
    found
}

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    read_tree(root, root, &mut sources);
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "the walk found the sources");
    let found = check(&sources);
    let lines: Vec<String> = found.iter().map(Violation::to_string).collect();
    assert!(found.is_empty(), "{} to mend:\n{}\n", lines.len(), lines.join("\n"));
}
