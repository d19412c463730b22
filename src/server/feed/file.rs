//! A feed whose values are appended to a file: its last line first, then whatever follows.
//!
//! Looks every [`LOOK`], as that works on every file system: one `stat`, and a read where there is more. A file that
//! is shorter than what was read of it was truncated and begins anew; one of another number in the same place was
//! rotated, and is read from its beginning when the old one is read to its end.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use crate::server::feed::line::{Line, Lines};
use crate::server::feed::post::{Post, pause};
use crate::server::feed::report::{Log, publish};
use crate::server::feed::stop::Stop;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Read between two looks at whether it is time to stop.
const READ_BYTES: usize = 64 << 10;

/// Follows `path` until it is told to stop.
pub(super) fn run(path: &Path, post: &mut Post, line_bytes_max: usize, stop: &Stop) {
    let mut log = Log::new(post.name());
    let mut tail = Tail::new(line_bytes_max);
    let mut missed = false;
    loop {
        let looked = tail.look(path, |line| publish(line, post, line_bytes_max, &mut log));
        missed &= looked.is_err();
        let time = match looked {
            Ok(true) => Duration::ZERO,
            Ok(false) => LOOK,
            Err(error) => {
                if !std::mem::replace(&mut missed, true) {
                    log.warn(|feed| tracing::warn!(feed, path = %path.display(), %error, "cannot read a feed's file"));
                }
                LOOK
            }
        };
        if pause(post, stop, time) {
            return;
        }
    }
}

/// A file that is followed.
#[derive(Debug)]
struct Tail {
    open: Option<Open>,
    lines: Lines,
    line_bytes_max: usize,
    /// The first file is read from its last line on, all others from the beginning.
    looked: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    id: (u64, u64),
    /// Bytes read, or skipped.
    at: u64,
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Tail {
    fn new(line_bytes_max: usize) -> Tail {
        Tail { open: None, lines: Lines::new(line_bytes_max), line_bytes_max, looked: false }
    }

    /// Gives the lines that came; at most [`READ_BYTES`] at once. True if there is more.
    ///
    /// # Errors
    /// If there is no such file, or it cannot be read.
    fn look(&mut self, path: &Path, mut each: impl FnMut(Line<'_>)) -> io::Result<bool> {
        let there = std::fs::metadata(path);
        if let Some(open) = &mut self.open {
            let length = open.file.metadata()?.len();
            if length < open.at {
                self.lines.forget();
                open.at = open.file.seek(SeekFrom::Start(0))?;
            }
            let mut buffer = vec![
                0;
                usize::try_from(length.saturating_sub(open.at))
                    .map_or(READ_BYTES, |more| more.min(READ_BYTES))
            ];
            let count = open.file.read(&mut buffer)?;
            open.at += count as u64;
            if count > 0 {
                self.lines.take(&buffer[..count], each);
                return Ok(open.at < length);
            }
            // Read to its end: now what has taken its place.
            match &there {
                Ok(there) if id(there) != open.id => {
                    self.lines.end(each);
                    self.open = None;
                    return Ok(true);
                }
                _ => return Ok(false),
            }
        }
        let first = !std::mem::replace(&mut self.looked, true);
        let there = there?;
        // To open a pipe would wait for who writes to it.
        if !there.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut at = 0;
        if first {
            at = self.begin(&mut file, metadata.len(), &mut each)?;
        }
        self.open = Some(Open { file, id: id(&metadata), at });
        Ok(metadata.len() > at)
    }

    /// Gives the last whole line; returns where to go on.
    fn begin(&mut self, file: &mut File, length: u64, each: &mut impl FnMut(Line<'_>)) -> io::Result<u64> {
        let back = self.line_bytes_max as u64 + 2;
        let from = file.seek(SeekFrom::Start(length.saturating_sub(back)))?;
        let mut end = Vec::new();
        file.take(length - from).read_to_end(&mut end)?;
        let read = end.len() as u64;
        let Some(last) = memchr::memrchr(b'\n', &end) else {
            if from == 0 {
                self.lines.take(&end, |_| {});
            }
            return Ok(from + read);
        };
        let start = memchr::memrchr(b'\n', &end[..last]).map_or(0, |before| before + 1);
        if start > 0 || from == 0 {
            each(Line::Whole(&end[start..last]));
        }
        self.lines.take(&end[last + 1..], |_| {});
        Ok(from + read)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::path::PathBuf;

    use super::*;

    /// A file of its own, gone with the test.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("roomcast-{}-{name}", std::process::id()));
            let _ = fs::remove_file(&path);
            Place(path)
        }

        fn append(&self, text: &str) {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.0).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn look(tail: &mut Tail, place: &Place) -> String {
        let mut found = String::new();
        for _ in 0..3 {
            let _ = tail.look(&place.0, |line| match line {
                Line::Whole(line) => found.push_str(&format!("{} ", String::from_utf8_lossy(line))),
                Line::TooLong => found.push_str("! "),
            });
        }
        found
    }

    #[test]
    fn the_last_line_and_then_what_follows() {
        let (place, mut tail) = (Place::new("follow"), Tail::new(10));
        place.append("1\n2\n3\n4");
        assert_eq!(look(&mut tail, &place), "3 ");
        place.append("4\n5\n");
        assert_eq!(look(&mut tail, &place), "44 5 ");
        place.append(&format!("{}\n6\n", "x".repeat(11)));
        assert_eq!(look(&mut tail, &place), "! 6 ");
        assert_eq!(look(&mut tail, &place), "");
    }

    #[test]
    fn long_before_and_empty_at_first() {
        let (place, mut tail) = (Place::new("long"), Tail::new(4));
        place.append(&"12345678\n".repeat(50));
        assert_eq!(look(&mut tail, &place), "", "the last line is too long");
        place.append("a\n");
        assert_eq!(look(&mut tail, &place), "a ");
        let (place, mut tail) = (Place::new("late"), Tail::new(4));
        assert_eq!(look(&mut tail, &place), "");
        place.append("a\nb\n");
        assert_eq!(look(&mut tail, &place), "a b ", "all of it is new");
    }

    #[test]
    fn truncated_and_rotated() {
        let (place, mut tail) = (Place::new("rotate"), Tail::new(10));
        place.append("one\ntwo\n");
        assert_eq!(look(&mut tail, &place), "two ");
        fs::write(&place.0, "3\n").unwrap();
        assert_eq!(look(&mut tail, &place), "3 ");
        let old = Place::new("rotated");
        place.append("4\n");
        fs::rename(&place.0, &old.0).unwrap();
        old.append("5\n");
        assert_eq!(look(&mut tail, &place), "4 5 ", "the old one to its end");
        place.append("6\n7\n");
        assert_eq!(look(&mut tail, &place), "6 7 ");
        fs::remove_file(&place.0).unwrap();
        assert_eq!(look(&mut tail, &place), "");
        assert!(Tail::new(1).look(&std::env::temp_dir(), |_| {}).is_err(), "a folder has no lines");
    }
}
