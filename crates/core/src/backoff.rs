//! How long to wait after each failure: a value without a clock; whoever waits brings one.

use std::time::Duration;

/// Doubles from `first` to `most`. Each wait is shortened by up to half at random, so that many who
/// lost the same thing do not come back together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// As before the first failure.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            next: first,
        }
    }

    /// How long to wait now; the next span will be twice as long.
    #[must_use]
    pub fn wait(&mut self) -> Duration {
        self.wait_with(rand::random())
    }

    /// As [`Backoff::wait`], with a jitter in 0..1 of the caller's: 0 is a half of the span, 1 the
    /// whole of it.
    #[must_use]
    pub fn wait_with(&mut self, jitter: f64) -> Duration {
        let span = self.next.min(self.most);
        self.next = span.saturating_mul(2).min(self.most);
        span.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// After a success.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(200);
    const MOST: Duration = Duration::from_secs(5);

    #[test]
    fn waits_double_up_to_the_most() {
        let mut backoff = Backoff::new(FIRST, MOST);
        let mut again = || {
            let waits: Vec<_> = (0..7).map(|_| backoff.wait_with(1.0).as_millis()).collect();
            backoff.reset();
            waits
        };
        let expected = [200, 400, 800, 1600, 3200, 5000, 5000];
        assert_eq!(again(), expected);
        assert_eq!(again(), expected, "after a success from the beginning");
    }

    #[test]
    fn jitter_shortens_by_up_to_half() {
        for (jitter, wait) in [(0.0, 100), (0.5, 150), (1.0, 200), (-1.0, 100), (9.0, 200)] {
            let got = Backoff::new(FIRST, MOST).wait_with(jitter);
            assert_eq!(got, Duration::from_millis(wait), "{jitter}");
        }
    }

    #[test]
    fn a_first_wait_beyond_the_most_is_cut() {
        assert_eq!(Backoff::new(MOST, FIRST).wait_with(1.0), FIRST);
        let mut endless = Backoff::new(Duration::MAX, Duration::MAX);
        assert!(endless.wait_with(0.0) < Duration::MAX);
    }

    #[test]
    fn waits_differ() {
        let mut backoff = Backoff::new(MOST, MOST);
        let waits: std::collections::HashSet<_> = (0..20).map(|_| backoff.wait()).collect();
        assert!(waits.len() > 1, "no jitter: {waits:?}");
        assert!(waits.iter().all(|wait| *wait >= MOST / 2 && *wait <= MOST));
    }
}
