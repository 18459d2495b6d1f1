//! When to try the next connection: soon at first, then patiently, never more than twelve times a
//! minute, for ever.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(60);
const MOST_PER_WINDOW: usize = 12;

/// The attempts of the last minute. Counting them, rather than failures in a row, also slows down
/// connections that come up and break at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    recent: VecDeque<Instant>,
    started: bool,
}

impl Backoff {
    /// When the next attempt is to be made; it counts as made. `jitter` in 0..1 spreads the
    /// attempts of many processes that lost the same broker.
    pub(super) fn next(&mut self, now: Instant, jitter: f64) -> Instant {
        while self.recent.front().is_some_and(|at| *at + WINDOW <= now) {
            self.recent.pop_front();
        }
        let (least, spread) = match self.recent.len() {
            0 if !self.started => (0.0, 0.0),
            0 | 1 => (0.0, 1.0),
            2 => (1.0, 2.0),
            _ => (5.0, 1.0),
        };
        self.started = true;
        let mut at = now + Duration::from_secs_f64(least + spread * jitter.clamp(0.0, 1.0));
        if let Some(index) = self.recent.len().checked_sub(MOST_PER_WINDOW) {
            at = at.max(self.recent[index] + WINDOW);
        }
        self.recent.push_back(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attempts that fail after `lasted` each, for ten minutes.
    fn attempts(lasted: Duration, jitter: impl Fn(usize) -> f64) -> Vec<Instant> {
        let start = Instant::now();
        let (mut now, mut backoff, mut all) = (start, Backoff::default(), Vec::new());
        while now < start + 10 * WINDOW {
            let at = backoff.next(now, jitter(all.len()));
            assert!(at >= now);
            all.push(at);
            now = at + lasted;
        }
        all
    }

    #[test]
    fn never_more_than_twelve_attempts_a_minute() {
        for lasted in [0, 50, 2_000] {
            for jitter in [0.0, 0.3, 1.0] {
                let all = attempts(Duration::from_millis(lasted), |_| jitter);
                for pair in all.windows(MOST_PER_WINDOW + 1) {
                    assert!(
                        pair[MOST_PER_WINDOW] >= pair[0] + WINDOW,
                        "{lasted} {jitter}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_first_attempt_is_made_at_once_and_later_ones_are_spread() {
        let now = Instant::now();
        assert_eq!(Backoff::default().next(now, 0.9), now);
        let mut backoff = Backoff::default();
        backoff.next(now, 0.0);
        let later = now + 2 * WINDOW;
        assert_eq!(backoff.next(later, 0.5), later + Duration::from_millis(500));
    }

    #[test]
    fn attempts_never_stop_and_never_wait_long() {
        let all = attempts(Duration::ZERO, |i| (i % 7) as f64 / 7.0);
        for pair in all.windows(2) {
            assert!(pair[1] - pair[0] <= Duration::from_secs(20));
        }
    }
}
