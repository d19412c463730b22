//! Descriptions of servers: how to build and start one, where it listens, and which words it speaks.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::words::Words;

/// One server, as its `NAME.toml` says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// What it is called; the file's name if it does not say.
    #[serde(default)]
    pub name: String,
    /// One line on what it is.
    #[serde(default)]
    pub about: String,
    /// Shell command that builds it, run in the file's folder; empty = nothing to build.
    #[serde(default)]
    pub build: String,
    /// Shell command that starts it, run in the file's folder; `{port}` is where it is to listen, `{mode}` is
    /// `echo` or `rooms`. Must not fork: the shell's `exec` is put before it.
    pub command: String,
    /// Where it is then; `{port}` as above.
    #[serde(default = "default_url")]
    pub url: String,
    /// The modes that it has.
    #[serde(default = "default_modes")]
    pub modes: Vec<String>,
    /// What it wants to hear.
    #[serde(default)]
    pub words: Words,
    /// The folder that the description is in.
    #[serde(skip)]
    pub folder: PathBuf,
}

fn default_url() -> String {
    "ws://127.0.0.1:{port}".into()
}

fn default_modes() -> Vec<String> {
    vec!["echo".into(), "rooms".into()]
}

impl Peer {
    /// Reads a description.
    ///
    /// # Errors
    /// It cannot be read, or says something that no description can.
    pub fn read(file: &Path) -> Result<Peer, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut peer = Peer::parse(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        if peer.name.is_empty() {
            peer.name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        }
        peer.folder = file.parent().unwrap_or(Path::new("")).to_owned();
        Ok(peer)
    }

    fn parse(text: &str) -> Result<Peer, String> {
        let peer: Peer = toml::from_str(text).map_err(|error| error.to_string())?;
        peer.words.check()?;
        if !peer.command.contains("{port}") {
            return Err("`command` has no {port}".into());
        }
        Ok(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read() {
        let peer = Peer::parse("command = \"./x {port} {mode}\"\n[words]\noffset = \"\"\n").unwrap();
        assert_eq!(peer.command, "./x {port} {mode}");
        assert_eq!(peer.url, "ws://127.0.0.1:{port}");
        assert_eq!(peer.words, Words { offset: String::new(), ..Words::default() });
    }

    #[test]
    fn all_descriptions_that_ship_are_good() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/peers"));
        let files = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
        let peers: Vec<Peer> = files
            .filter(|file| file.extension().is_some_and(|extension| extension == "toml"))
            .map(|file| Peer::read(&file).unwrap())
            .collect();
        assert!(peers.len() > 8 && peers.iter().all(|peer| !peer.about.is_empty()));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, want) in [
            ("command = \"x\"", "has no {port}"),
            ("url = \"x\"", "missing field `command`"),
            ("command = \"{port}\"\nfoo = 1", "unknown field `foo`"),
            ("command = \"{port}\"\n[words]\njion = \"\"", "unknown field `jion`"),
            ("command = \"{port}\"\n[words]\njoin = \"x\"", "`join` has no {room}"),
        ] {
            let got = Peer::parse(text).unwrap_err();
            assert!(got.contains(want), "{got}");
        }
    }
}
