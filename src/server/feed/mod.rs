//! Feeds with a source of their own: a thread each, that reads and publishes what it reads.
//!
//! A feed is a topic like others; its thread is only one more who publishes, from outside ([`outside`]). A shard never
//! waits for it, nor it for a shard. What a source writes is not trusted: lines are bounded, and so is the log.
//!
//! [`outside`]: crate::server::outside

mod line;
mod stop;
mod post;
mod report;
mod exec;
mod file;
mod demo;

use std::convert::Infallible;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::config::feed::{Feed, Source};
use crate::server::feed::post::Post;
use crate::server::feed::stop::{Stop, Stopper};
use crate::server::outside::Outside;
use crate::server::{Exit, StartError, spawn};

/// A command has half a second after SIGTERM; whatever takes longer than this is left behind.
const END_MAX: Duration = Duration::from_secs(2);

/// The threads of all feeds.
#[derive(Debug)]
pub struct Feeds {
    stopper: Option<Stopper>,
    /// Nothing is ever sent; disconnected when the last thread has ended.
    running: Receiver<Infallible>,
}

impl Feeds {
    /// Starts a thread for each feed. Without `outside` there are none.
    ///
    /// # Errors
    /// If the system gives no thread, or no pipe.
    pub(super) fn start(
        feeds: &[Feed],
        outside: Option<&Outside>,
        line_bytes_max: usize,
        exits: &Sender<Exit>,
    ) -> Result<Feeds, StartError> {
        let (alive, running) = bounded(0);
        let Some(outside) = outside else { return Ok(Feeds { stopper: None, running }) };
        let (stopper, stop) =
            stop::pair().map_err(|cause| StartError::System { what: "make a pipe", cause })?;
        for (number, feed) in (0..).zip(feeds) {
            let (alive, stop, source) = (alive.clone(), stop.clone(), feed.source.clone());
            let mut post = Post::new(outside.clone(), &feed.name);
            spawn(format!("feed-{}", feed.name), exits.clone(), move || {
                run(&source, &mut post, line_bytes_max, &stop, number);
                drop(alive);
                Ok(())
            })?;
        }
        Ok(Feeds { stopper: Some(stopper), running })
    }

    /// Tells all threads to stop; does not wait for them.
    pub fn stop(&mut self) {
        self.stopper = None;
    }

    /// Tells all threads to stop, and waits for the ends of their commands.
    pub fn end(mut self) {
        self.stop();
        if let Err(crossbeam_channel::RecvTimeoutError::Timeout) = self.running.recv_timeout(END_MAX) {
            tracing::warn!("a feed does not stop");
        }
    }
}

fn run(source: &Source, post: &mut Post, line_bytes_max: usize, stop: &Stop, seed: u64) {
    match source {
        Source::Command(command) => exec::run(command, post, line_bytes_max, stop, seed),
        Source::File(path) => file::run(path, post, line_bytes_max, stop),
        Source::Demo(demo, interval) => demo::run(*demo, *interval, post, stop),
    }
}
