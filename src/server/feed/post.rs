//! One feed's way to its owner: the newest value that the owner has not taken yet.
//!
//! Never waits and never holds more than one value: where the owner is behind, a newer value takes the place of the
//! older. Knows nothing of where values come from.

use std::sync::Arc;
use std::time::Duration;

use crate::base::shared::Shared;
use crate::hub::command::{Ask, By};
use crate::hub::name::{Topic, TopicKind, User};
use crate::server::feed::stop::{Stop, now};
use crate::server::outside::Outside;

/// Who publishes what comes from a source; nobody sees it.
const USER: &str = "feed";

/// How soon a value is tried again that the owner had no room for.
pub(super) const RETRY: Duration = Duration::from_millis(5);

/// See the module's page.
#[derive(Debug)]
pub(super) struct Post {
    outside: Outside,
    topic: Topic,
    user: Arc<User>,
    /// What the owner had no room for.
    waiting: Option<Shared>,
}

impl Post {
    /// A way to the feed `name` by which nothing has gone.
    pub(super) fn new(outside: Outside, name: &str) -> Post {
        let topic = outside.topic(TopicKind::Feed, name);
        let user = Arc::new(User { id: USER.into(), name: None });
        Post { outside, topic, user, waiting: None }
    }

    /// Sends a value on its way, now or when there is room.
    pub(super) fn send(&mut self, value: Shared) {
        self.waiting = Some(value);
        self.retry();
    }

    /// Tries again what waits.
    pub(super) fn retry(&mut self) {
        let Some(value) = &self.waiting else { return };
        let by = By::Server(Arc::clone(&self.user));
        if self.outside.ask(&self.topic, Ask::Publish { payload: value.clone(), by, echo: false }) {
            self.waiting = None;
        }
    }

    /// Whether something waits.
    pub(super) fn is_behind(&self) -> bool {
        self.waiting.is_some()
    }

    /// The feed's name.
    pub(super) fn name(&self) -> &str {
        self.topic.name()
    }
}

/// Waits this long; a value that the owner had no room for is tried again meanwhile. True if it is time to stop.
pub(super) fn pause(post: &mut Post, stop: &Stop, time: Duration) -> bool {
    let until = now() + time;
    loop {
        let left = until.saturating_duration_since(now());
        if stop.pause(if post.is_behind() { left.min(RETRY) } else { left }) {
            return true;
        }
        post.retry();
        if left.is_zero() {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Keys;

    #[test]
    fn an_owner_that_is_behind_gets_the_newest_value() {
        let (outside, lanes) = Outside::new(&[Arc::default()], Keys::new([1; 16]));
        let mut post = Post::new(outside, "f");
        let mut sent = 0;
        while !post.is_behind() {
            sent += 1;
            post.send(Shared::copy_of(&[sent]));
        }
        post.send(Shared::copy_of(b"newer"));
        post.send(Shared::copy_of(b"newest"));
        assert_eq!(lanes[0].try_iter().count(), usize::from(sent) - 1);
        post.retry();
        assert!(!post.is_behind());
        let asks: Vec<Ask> = lanes[0].try_iter().map(|request| request.ask).collect();
        assert!(
            matches!(&asks[..], [Ask::Publish { payload, by: By::Server(_), .. }] if **payload == *b"newest")
        );
    }
}
