//! Waiting longer after every failure.

use std::time::Duration;

/// Doubles from `first` to `most`, each wait shortened by up to half at random, so that many workers
/// that lost the same broker do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            next: first,
        }
    }

    /// How long to wait now.
    pub(crate) fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.most);
        wait.mul_f64(rand::random_range(0.5..1.0))
    }

    /// After a success.
    pub(crate) const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_with_jitter() {
        let (first, most) = (Duration::from_millis(200), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, most);
        for nominal in [200, 400, 800, 1600, 3200, 5000, 5000] {
            let wait = backoff.wait();
            let nominal = Duration::from_millis(nominal);
            assert!(
                wait >= nominal / 2 && wait < nominal,
                "{wait:?} of {nominal:?}"
            );
        }
        backoff.reset();
        assert!(backoff.wait() < first);
    }
}
