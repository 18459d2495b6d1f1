//! The rest after a failure of the broker: as long as the back-off says, and over when the broker is
//! back.

use std::time::Duration;

use tasker_core::backoff::Backoff;
use tasker_core::broker::Broker;

/// How often a broker that is away is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Rests. If the broker was away and came back, the next rest is a short one again.
pub(crate) async fn rest(broker: &dyn Broker, backoff: &mut Backoff) {
    let longest = backoff.wait();
    if tokio::time::timeout(longest, comes_up(broker))
        .await
        .is_ok()
    {
        backoff.reset();
    }
}

/// Ends when a broker that is away now has come back; never, if it is not away.
async fn comes_up(broker: &dyn Broker) {
    if broker.is_up() {
        std::future::pending::<()>().await;
    }
    while !broker.is_up() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tasker_broker::local::LocalBroker;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn the_return_of_the_broker_ends_the_rest() {
        let broker = LocalBroker::new();
        broker.set_up(false);
        let mut backoff = Backoff::new(Duration::from_millis(1), LONG);
        for _ in 0..30 {
            let _ = backoff.wait();
        }
        let start = Instant::now();
        let returning = async { broker.set_up(true) };
        tokio::join!(rest(&*broker, &mut backoff), returning);
        // It is there and fails all the same: the back-off counts.
        rest(&*broker, &mut backoff).await;
        assert!(start.elapsed() < LONG / 2);
    }
}
