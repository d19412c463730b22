//! Feeds as people declare them (`prices=exec:./prices.sh`), read.
//!
//! Opens nothing and starts nothing: whether a command or a file is there shows when the server runs, and may change.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::value::{self, Wrong};
use crate::hub::name;

/// Longest name, in bytes: the default of `--max-name`.
const NAME_BYTES_MAX: usize = 255;
/// Most feeds with a source: each has a thread.
const FEEDS_MAX: usize = 64;
/// Time between two demo values where none is given.
const DEMO_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time between two demo values.
const DEMO_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Longest.
const DEMO_INTERVAL_MAX: Duration = Duration::from_secs(3_600);
/// Kinds of demo values.
const DEMOS: [(&str, Demo); 2] = [("stocks", Demo::Stocks), ("weather", Demo::Weather)];

/// What may be given, for messages and docs.
pub const ACCEPTS: &str = "NAME=exec:COMMAND, NAME=file:PATH or NAME=demo:stocks|weather@DURATION";

/// A feed and where its values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// 1 to 255 bytes without control characters.
    pub name: Box<str>,
    /// Where its values come from.
    pub source: Source,
}

/// Where the values of a feed come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The lines that a command writes, as a shell understands it.
    Command(String),
    /// The lines that are appended to a file.
    File(PathBuf),
    /// Made up, one at a time.
    Demo(Demo, Duration),
}

/// What is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demo {
    /// Prices that wander.
    Stocks,
    /// Weather that changes.
    Weather,
}

/// Adds the feed that `text` declares.
///
/// # Errors
/// Says what is wrong with `text`.
pub fn add(feeds: &mut Vec<Feed>, text: &str) -> Result<(), Wrong> {
    let feed = feed(text)?;
    if feeds.iter().any(|known| known.name == feed.name) {
        return Err(Wrong::Twice(feed.name.into()));
    }
    if feeds.len() == FEEDS_MAX {
        return Err(Wrong::Above(format!("{FEEDS_MAX} feeds")));
    }
    feeds.push(feed);
    Ok(())
}

fn feed(text: &str) -> Result<Feed, Wrong> {
    let part = |text: &str, wrong| Wrong::Part(text.to_owned(), Box::new(wrong));
    let (name, source) = text.split_once('=').ok_or_else(|| Wrong::NoSource(text.to_owned()))?;
    let (name, source) = (name.trim(), source.trim());
    name::check(name, NAME_BYTES_MAX).map_err(Wrong::Name)?;
    let (kind, rest) = source.split_once(':').ok_or_else(|| Wrong::NoSource(source.to_owned()))?;
    let rest = rest.trim();
    if rest.is_empty() {
        return Err(part(source, Wrong::Empty));
    }
    let source = match kind {
        "exec" => Source::Command(rest.to_owned()),
        "file" => Source::File(rest.into()),
        "demo" => demo(rest).map_err(|wrong| part(source, wrong))?,
        _ => return Err(Wrong::NoSource(source.to_owned())),
    };
    Ok(Feed { name: name.into(), source })
}

fn demo(text: &str) -> Result<Source, Wrong> {
    let (word, interval) = match text.split_once('@') {
        Some((word, interval)) => {
            let interval = value::duration(interval.trim())?;
            (word.trim_end(), value::between(interval, DEMO_INTERVAL_MIN, DEMO_INTERVAL_MAX)?)
        }
        None => (text, DEMO_INTERVAL),
    };
    let (_, demo) = DEMOS.iter().find(|(known, _)| *known == word).ok_or(Wrong::NotWord)?;
    Ok(Source::Demo(*demo, interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Source, Wrong> {
        let mut feeds = Vec::new();
        add(&mut feeds, text)?;
        assert_eq!(feeds.len(), 1);
        feeds.pop().map(|feed| feed.source).ok_or(Wrong::Empty)
    }

    #[test]
    fn sources_are_read() {
        let command = "while :; do date; sleep 1; done";
        assert_eq!(read(&format!("t=exec:{command}")), Ok(Source::Command(command.into())));
        assert_eq!(read("t=exec:a=b:c"), Ok(Source::Command("a=b:c".into())));
        assert_eq!(read("t = file:/tmp/a b"), Ok(Source::File("/tmp/a b".into())));
        assert_eq!(read("t=demo:stocks"), Ok(Source::Demo(Demo::Stocks, Duration::from_secs(1))));
        let often = Ok(Source::Demo(Demo::Weather, Duration::from_millis(20)));
        assert_eq!(read("t=demo:weather@20ms"), often);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let part = |text: &str, wrong| Err(Wrong::Part(text.into(), Box::new(wrong)));
        assert_eq!(read("prices"), Err(Wrong::NoSource("prices".into())));
        assert_eq!(read("t=http://x"), Err(Wrong::NoSource("http://x".into())));
        assert_eq!(read("t=exec"), Err(Wrong::NoSource("exec".into())));
        assert_eq!(read("=exec:a"), Err(Wrong::Name(name::NameError::Empty)));
        assert_eq!(read("t=exec: "), part("exec:", Wrong::Empty));
        assert_eq!(read("t=demo:moon"), part("demo:moon", Wrong::NotWord));
        assert_eq!(read("t=demo:stocks@5"), part("demo:stocks@5", Wrong::NoUnit));
        assert!(read("t=demo:stocks@1ms").is_err() && read("t=demo:stocks@2h").is_err());
        let mut feeds = Vec::new();
        assert_eq!(add(&mut feeds, "a=file:x"), Ok(()));
        assert_eq!(add(&mut feeds, "a=file:y"), Err(Wrong::Twice("a".into())));
        (1..FEEDS_MAX).for_each(|n| assert_eq!(add(&mut feeds, &format!("a{n}=file:x")), Ok(())));
        assert_eq!(add(&mut feeds, "b=file:x"), Err(Wrong::Above("64 feeds".into())));
    }
}
