//! Waiting longer after each failure, with jitter, and deaf to nothing: a stop ends the wait.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// The pause after the next failure.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// Things work again.
    pub(crate) const fn reset(&mut self) {
        self.0 = FIRST;
    }

    /// How long to pause now: between a half and the whole of a span that doubles up to 10 s.
    pub(crate) fn next(&mut self) -> Duration {
        let span = self.0;
        self.0 = (span * 2).min(LONGEST);
        span.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Pauses. Returns whether to go on; not if `stop` came.
    pub(crate) async fn pause(&mut self, stop: &CancellationToken) -> bool {
        let pause = self.next();
        stop.run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_stay_bounded_and_differ() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 2);
        assert!(
            pauses[12..]
                .iter()
                .all(|p| *p <= LONGEST && *p >= LONGEST / 2)
        );
        assert!(
            pauses[12..].iter().any(|p| *p != pauses[12]),
            "no jitter: {pauses:?}"
        );
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[tokio::test]
    async fn a_stop_ends_the_pause() {
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(!Backoff(LONGEST).pause(&stop).await);
    }
}
