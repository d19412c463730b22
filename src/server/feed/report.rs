//! What is to be said about a source: its lines to the feed, its trouble to the log, the latter at a bounded rate.

use std::time::Instant;

use crate::base::bucket::Bucket;
use crate::base::clock::Mono;
use crate::server::feed::line::{Line, value};
use crate::server::feed::post::Post;
use crate::server::feed::stop::now;

/// Lines of the log about one feed: so many at once, and then so many a second.
const LOG_BURST: u32 = 20;
const LOG_PER_SECOND: u32 = 1;
/// Publishes what a line says.
pub(super) fn publish(line: Line<'_>, post: &mut Post, bytes_max: usize, log: &mut Log) {
    let value = match line {
        Line::Whole(line) => match value(line) {
            // Escapes may have made it longer than the line.
            Some(value) if value.len() <= bytes_max => Ok(value),
            Some(_) => Err(()),
            None => return,
        },
        Line::TooLong => Err(()),
    };
    match value {
        Ok(value) => post.send(value),
        Err(()) => log
            .warn(|feed| tracing::warn!(feed, "a line of a feed is longer than --max-message and left out")),
    }
}

/// The log about one feed, at a bounded rate.
#[derive(Debug)]
pub(super) struct Log {
    feed: String,
    began: Instant,
    bucket: Bucket,
    left_out: u64,
}

impl Log {
    /// Of a feed about which nothing was said.
    pub(super) fn new(feed: &str) -> Log {
        Log { feed: feed.to_owned(), began: now(), bucket: Bucket::default(), left_out: 0 }
    }

    /// Says it, unless too much was said.
    pub(super) fn warn(&mut self, say: impl FnOnce(&str)) {
        let now = Mono(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX));
        if self.bucket.take(now, LOG_PER_SECOND, LOG_BURST).is_err() {
            self.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            tracing::warn!(feed = self.feed, left_out, "lines about a feed were left out of this log");
        }
        say(&self.feed);
    }

    /// A line that a command has written to standard error.
    pub(super) fn complaint(&mut self, line: Line<'_>) {
        match line {
            Line::Whole(line) if line.trim_ascii().is_empty() => {}
            Line::Whole(line) => {
                let said = String::from_utf8_lossy(line);
                self.warn(|feed| tracing::warn!(feed, said = &*said, "the command of a feed complains"));
            }
            Line::TooLong => {
                self.warn(|feed| tracing::warn!(feed, "the command of a feed complains at length"));
            }
        }
    }
}
