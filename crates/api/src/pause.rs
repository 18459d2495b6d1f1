//! The pauses of the background loops: longer after each failure, ended by a stop.

use std::time::Duration;

use tasker_core::backoff::Backoff;
use tokio_util::sync::CancellationToken;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// The back-off of every loop.
pub(crate) const fn backoff() -> Backoff {
    Backoff::new(FIRST, LONGEST)
}

/// Pauses. Returns whether to go on; not if `stop` came.
pub(crate) async fn pause(backoff: &mut Backoff, stop: &CancellationToken) -> bool {
    pause_until(backoff, std::future::pending(), stop).await
}

/// Pauses until `back` at the longest; then the next pause is a short one again. Returns whether to go
/// on; not if `stop` came.
pub(crate) async fn pause_until(
    backoff: &mut Backoff,
    back: impl Future<Output = ()>,
    stop: &CancellationToken,
) -> bool {
    let longest = backoff.wait();
    let paused = stop
        .run_until_cancelled(tokio::time::timeout(longest, back))
        .await;
    if let Some(Ok(())) = paused {
        backoff.reset();
    }
    paused.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test]
    async fn a_stop_ends_the_pause() {
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(!pause(&mut Backoff::new(LONGEST, LONGEST), &stop).await);
    }

    #[tokio::test]
    async fn what_is_back_ends_the_pause_and_makes_the_next_one_short() {
        let stop = CancellationToken::new();
        let mut backoff = Backoff::new(Duration::from_millis(1), LONGEST);
        for _ in 0..30 {
            let _ = backoff.wait();
        }
        let before = Instant::now();
        assert!(pause_until(&mut backoff, async {}, &stop).await);
        assert!(pause(&mut backoff, &stop).await);
        assert!(before.elapsed() < LONGEST / 2);
    }
}
