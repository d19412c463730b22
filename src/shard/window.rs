//! When a delivery goes out at once, and when it waits for those that follow, so that one write carries them all.
//!
//! A write costs the kernel microseconds whatever it carries, so a busy room is cheaper, and in the end faster, when
//! its members get what a short window brought in one piece. Nothing is held back that has nothing to wait for: a topic
//! that was silent for a window goes out at once, and all windows of a shard end together. Replies do not wait; they
//! take along what stands before them. Never touches a connection: it only says whether, and until when.

use std::time::Duration;

use crate::base::clock::Mono;
use crate::shard::limits::{Coalesce, Pace};

/// The window where the operator leaves the choice to us: it halves the cost of a room with 1,000 messages a second,
/// and nobody sees the delay.
const AUTO_WINDOW: Duration = Duration::from_millis(2);
/// Over which the load is judged: some windows, so that one burst opens none.
const LOAD_PERIOD: Duration = Duration::from_millis(8);
/// The weight of a new gap between publications in the mean is one of so many.
const GAP_WEIGHT: u64 = 8;

/// What a topic remembers of its own pace.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulse {
    /// When its members were last written to, or will be.
    sent: Mono,
    /// When the last event came.
    last: Mono,
    /// Mean time from one event to the next, in microseconds.
    gap_us: u64,
}

impl Pulse {
    fn beat(&mut self, now: Mono) {
        let gap = u64::try_from(now.since(self.last).as_micros()).unwrap_or(u64::MAX);
        // A long silence says nothing about the pace after it.
        let gap = gap.min(GAP_WEIGHT * window_us(AUTO_WINDOW));
        self.gap_us = (self.gap_us * (GAP_WEIGHT - 1) + gap) / GAP_WEIGHT;
        self.last = now;
    }
}

fn window_us(window: Duration) -> u64 {
    u64::try_from(window.as_micros()).unwrap_or(u64::MAX)
}

/// The windows of a shard.
#[derive(Debug)]
pub(crate) struct Window {
    rule: Coalesce,
    /// When everything that waits goes out; none = nothing waits.
    due: Option<Mono>,
    /// Pushes since `measured`.
    pushes: u64,
    measured: Mono,
    busy: bool,
}

impl Window {
    pub(crate) fn new(rule: Coalesce, now: Mono) -> Window {
        Window { rule, due: None, pushes: 0, measured: now, busy: false }
    }

    /// When what waits goes out.
    pub(crate) fn due(&self) -> Option<Mono> {
        self.due
    }

    /// A turn begins, the last one having made so many pushes. True if what waits goes out now.
    pub(crate) fn begin_turn(&mut self, now: Mono, pushes: u32, pace: &Pace) -> bool {
        self.pushes += u64::from(pushes);
        let passed = now.since(self.measured);
        if passed >= LOAD_PERIOD {
            let high = u64::from(pace.busy_pushes_per_ms) * window_us(passed) / 1000;
            self.busy = self.pushes >= high;
            (self.pushes, self.measured) = (0, now);
        }
        let over = self.due.is_some_and(|due| due <= now);
        if over {
            self.due = None;
        }
        over
    }

    /// Whether the event that came just now waits for the window's end.
    pub(crate) fn waits(&mut self, pulse: &mut Pulse, now: Mono) -> bool {
        pulse.beat(now);
        let window = match self.rule {
            Coalesce::Off => return false,
            Coalesce::Window(window) => window,
            // It would have to bring two events together at least to save anything.
            Coalesce::Auto if self.busy && pulse.gap_us * 2 <= window_us(AUTO_WINDOW) => AUTO_WINDOW,
            Coalesce::Auto => return false,
        };
        let end = pulse.sent + window;
        if end <= now {
            pulse.sent = now;
            return false;
        }
        debug_assert!(
            self.due.is_some() || pulse.sent <= now,
            "no window is open: what it was sent by has passed"
        );
        let due = *self.due.get_or_insert(end);
        pulse.sent = due;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn us(n: u64) -> Mono {
        Mono(1_000_000 + n)
    }

    fn fixed() -> Window {
        Window::new(Coalesce::Window(2 * MS), us(0))
    }

    #[test]
    fn a_silent_topic_goes_out_at_once_and_a_busy_one_with_the_next() {
        let (mut window, mut pulse, pace) = (fixed(), Pulse::default(), Pace::default());
        assert!(!window.waits(&mut pulse, us(0)), "nothing went out for long");
        assert!(window.waits(&mut pulse, us(500)));
        assert_eq!(window.due(), Some(us(2000)));
        assert!(window.waits(&mut pulse, us(1500)));
        assert_eq!(window.due(), Some(us(2000)), "the end does not move");
        assert!(!window.begin_turn(us(1999), 0, &pace));
        assert!(window.begin_turn(us(2010), 0, &pace));
        assert_eq!(window.due(), None);
        assert!(window.waits(&mut pulse, us(2010)), "that was a write: the next window has begun");
        assert_eq!(window.due(), Some(us(4000)));
        assert!(window.begin_turn(us(4000), 0, &pace));
        assert!(!window.waits(&mut pulse, us(6000)), "silent for a window");
    }

    #[test]
    fn topics_share_the_end_of_the_window() {
        let (mut window, mut a, mut b) = (fixed(), Pulse::default(), Pulse::default());
        assert!(!window.waits(&mut a, us(0)) && !window.waits(&mut b, us(1000)));
        assert!(window.waits(&mut a, us(1100)) && window.waits(&mut b, us(1200)));
        assert_eq!(window.due(), Some(us(2000)), "the sooner one");
        assert!(window.begin_turn(us(2000), 0, &Pace::default()));
        assert!(window.waits(&mut b, us(2100)));
        assert_eq!(window.due(), Some(us(4000)));
    }

    /// Runs a topic with an event each `gap_us` in a shard with so many pushes a millisecond; how many of the last
    /// thousand waited.
    fn waited(rule: Coalesce, gap_us: u64, pushes_per_ms: u32) -> usize {
        let (mut window, mut pulse, pace) = (Window::new(rule, us(0)), Pulse::default(), Pace::default());
        let (mut now, mut next, mut waited) = (0, 0, Vec::new());
        while waited.len() < 2000 {
            if now % 1000 == 0 {
                window.begin_turn(us(now), pushes_per_ms, &pace);
            }
            if now == next {
                waited.push(window.waits(&mut pulse, us(now)));
                next += gap_us;
            }
            now += 100;
        }
        waited[1000..].iter().filter(|waits| **waits).count()
    }

    #[test]
    fn auto_gathers_only_what_is_busy_and_comes_in_numbers() {
        let busy = Pace::default().busy_pushes_per_ms;
        assert_eq!(waited(Coalesce::Auto, 500, busy - 1), 0, "the shard has time");
        assert_eq!(waited(Coalesce::Auto, 3000, busy), 0, "one event in a window has nothing to wait for");
        assert_eq!(waited(Coalesce::Auto, 500, busy), 1000);
        assert_eq!(waited(Coalesce::Window(2 * MS), 500, 0), 1000, "the operator wants it");
        assert_eq!(waited(Coalesce::Off, 500, busy), 0);
    }

    #[test]
    fn a_shard_is_quiet_again_soon_after_its_last_burst() {
        let pace = Pace::default();
        let (mut window, mut pulse) = (Window::new(Coalesce::Auto, us(0)), Pulse::default());
        for ms in 0..=20 {
            window.begin_turn(us(ms * 1000), pace.busy_pushes_per_ms, &pace);
            window.waits(&mut pulse, us(ms * 1000));
            window.waits(&mut pulse, us(ms * 1000 + 500));
        }
        assert!(window.waits(&mut pulse, us(20_900)));
        window.begin_turn(us(1_000_000), 0, &pace);
        assert!(!window.waits(&mut pulse, us(1_000_000)));
    }
}
