//! The supervisor of one connection: builds it, watches it, builds it anew, for ever.
//!
//! What happens to a connection is told at debug level only: whoever needs it says once that it is gone
//! and once that it is back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Event;
use tasker_core::broker::BrokerError;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, LAG};
use super::connect::{Live, connect};
use super::error::unsent;
use super::settings::AmqpSettings;
use super::topology::Topology;

/// What the supervisor last knew.
#[derive(Debug)]
enum State {
    /// The first attempt is still under way.
    Starting,
    Up(Arc<Live>),
    Down(BrokerError),
}

/// A connection that comes back. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Link {
    state: watch::Receiver<State>,
    /// How long to wait for the very first attempt.
    patience: Duration,
}

/// What a supervisor needs.
pub(super) struct Supervisor {
    pub(super) settings: Arc<AmqpSettings>,
    pub(super) topology: Arc<Topology>,
    /// What the connection is for: `publish` or `consume`.
    pub(super) role: &'static str,
    /// How many connections to this broker are up. Who finds the broker calls those that look for it.
    pub(super) up: watch::Sender<usize>,
    pub(super) stop: CancellationToken,
}

impl Link {
    /// The link, and its supervisor, to be spawned.
    pub(super) fn new(supervisor: Supervisor) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, state) = watch::channel(State::Starting);
        let timeouts = supervisor.settings.timeouts;
        let patience = timeouts.connect + timeouts.operation;
        (Self { state, patience }, supervisor.run(sender))
    }

    /// The connection, at once; only at the start it waits for the first attempt.
    pub(super) async fn live(&self) -> Result<Arc<Live>, BrokerError> {
        let mut state = self.state.clone();
        let first = state.wait_for(|state| !matches!(state, State::Starting));
        match tokio::time::timeout(self.patience, first).await {
            Err(_) => Err(unsent(BrokerError::TimedOut(self.patience))),
            Ok(Err(_)) => Err(closed()),
            Ok(Ok(state)) => match &*state {
                State::Up(live) => Ok(live.clone()),
                State::Down(error) => Err(error.clone()),
                State::Starting => Err(BrokerError::Away("not connected yet".into())),
            },
        }
    }

    /// Whether there is a connection that the broker reads from.
    pub(super) fn is_up(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(live) if live.is_usable())
    }
}

/// Ends when more connections are up than there were when this one was last tried.
async fn another_is_up(up: &mut watch::Receiver<usize>, seen: &mut usize) {
    loop {
        let now = *up.borrow_and_update();
        if now > std::mem::replace(seen, now) {
            return;
        }
        if up.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The error of everything after [`tasker_core::broker::Broker::close`].
pub(super) fn closed() -> BrokerError {
    BrokerError::Away("closed by us".into())
}

impl Supervisor {
    async fn run(self, state: watch::Sender<State>) {
        let mut backoff = Backoff::default();
        let mut up = self.up.subscribe();
        let (mut seen, mut lag) = (0, Duration::ZERO);
        loop {
            let at = backoff.next(Instant::now(), lag, rand::random());
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep_until(at) => {}
                () = another_is_up(&mut up, &mut seen) => backoff.made(Instant::now()),
            }
            seen = *up.borrow();
            lag = Duration::ZERO;
            match self.attempt().await {
                Ok(live) => {
                    tracing::debug!(connection = self.role, "connected to the broker");
                    let live = Arc::new(live);
                    state.send_replace(State::Up(live.clone()));
                    self.up.send_modify(|up| *up += 1);
                    let reason = self.watch(&live).await;
                    self.up.send_modify(|up| *up -= 1);
                    tracing::debug!(connection = self.role, error = %reason, "lost the broker");
                    state.send_replace(State::Down(reason));
                    live.end().await;
                    seen = *up.borrow();
                    if seen == 0 {
                        lag = LAG;
                    }
                }
                Err(error) => {
                    tracing::debug!(connection = self.role, %error, "cannot reach the broker");
                    state.send_replace(State::Down(unsent(error)));
                }
            }
        }
        state.send_replace(State::Down(closed()));
    }

    /// Connects and makes again what this process has declared: the broker may have lost its disk.
    async fn attempt(&self) -> Result<Live, BrokerError> {
        let live = tokio::select! {
            () = self.stop.cancelled() => return Err(closed()),
            connected = connect(&self.settings, self.role) => connected?,
        };
        match self.topology.declare_again(&live).await {
            Ok(()) => Ok(live),
            // Whatever differs from what we would declare, it can still be worked with.
            Err(error @ BrokerError::Denied(_)) => {
                tracing::debug!(connection = self.role, %error, "cannot declare the topology");
                Ok(live)
            }
            Err(error) => {
                live.end().await;
                Err(error)
            }
        }
    }

    /// Returns when the connection is of no use any more, with the reason.
    async fn watch(&self, live: &Live) -> BrokerError {
        let status = live.connection().status();
        let mut events = Box::pin(live.connection().events_listener().fuse());
        // Events wake us early; the state is looked at anyhow, once a second.
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut last_error = None;
        let mut blocked_since = None;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return closed(),
                () = live.doubted.cancelled() => {
                    return BrokerError::Away("it did not answer in time".into());
                }
                Some(event) = events.next() => match event {
                    Event::Error(error) => last_error = Some(error),
                    Event::ConnectionBlocked(reason) => {
                        tracing::debug!(connection = self.role, reason, "blocked by the broker");
                    }
                    Event::ConnectionUnblocked => {
                        tracing::debug!(connection = self.role, "unblocked by the broker");
                    }
                    _ => {}
                },
                _ = tick.tick() => {}
            }
            if !status.connected() {
                return last_error.map_or_else(
                    || BrokerError::Away("the connection was closed".into()),
                    |error| BrokerError::Away(error.to_string()),
                );
            }
            if !status.blocked() {
                blocked_since = None;
            } else if blocked_since.get_or_insert_with(Instant::now).elapsed()
                > self.settings.timeouts.blocked
            {
                return BrokerError::Away("blocked for too long".into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_looks_for_the_broker_is_called_by_who_found_it() {
        let all = watch::Sender::new(1);
        let mut up = all.subscribe();
        let is_called = async |up: &mut watch::Receiver<usize>, seen: &mut usize| {
            let a_while = Duration::from_millis(20);
            tokio::time::timeout(a_while, another_is_up(up, seen))
                .await
                .is_ok()
        };
        let mut seen = 1;
        assert!(!is_called(&mut up, &mut seen).await, "it is known");
        all.send_replace(0);
        assert!(!is_called(&mut up, &mut seen).await, "a loss");
        all.send_replace(1);
        assert!(is_called(&mut up, &mut seen).await);
        assert!(!is_called(&mut up, &mut seen).await, "once");
        // Found while an attempt was under way.
        seen = 0;
        assert!(is_called(&mut up, &mut seen).await);
    }
}
