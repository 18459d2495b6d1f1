//! A consumer that takes from its queue what it may have.

use std::sync::Arc;

use async_trait::async_trait;
use tasker_core::broker::{BrokerError, Consumer, Delivery};
use tokio::sync::Notify;

use super::{Shared, away};

pub(super) struct LocalConsumer {
    shared: Arc<Shared>,
    queue: String,
    id: u64,
    changed: Arc<Notify>,
    /// The queue is this consumer's and goes with it.
    is_own: bool,
}

impl LocalConsumer {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: String,
        id: u64,
        changed: Arc<Notify>,
        is_own: bool,
    ) -> Self {
        Self {
            shared,
            queue,
            id,
            changed,
            is_own,
        }
    }

    fn take(&self, max: usize) -> Option<Vec<Delivery>> {
        let mut state = self.shared.state();
        state.queues.get_mut(&self.queue)?.take(self.id, max)
    }
}

#[async_trait]
impl Consumer for LocalConsumer {
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        loop {
            // Enabled before looking, so that a change in between is not missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let taken = self.take(max).ok_or_else(away)?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            changed.await;
        }
    }

    async fn ack_through(&mut self, tag: u64) -> Result<(), BrokerError> {
        let mut state = self.shared.state();
        let queue = state.queues.get_mut(&self.queue).ok_or_else(away)?;
        if queue.ack_through(self.id, tag) {
            Ok(())
        } else {
            Err(away())
        }
    }

    async fn reject(&mut self, tag: u64) -> Result<(), BrokerError> {
        let mut state = self.shared.state();
        let queue = state.queues.get_mut(&self.queue).ok_or_else(away)?;
        let letter = queue.reject(self.id, tag).ok_or_else(away)?;
        if let Some(letter) = letter {
            state.bury(&self.shared.names, letter);
        }
        Ok(())
    }

    async fn stop(self: Box<Self>) {
        // Dropping it gives everything back.
    }
}

impl Drop for LocalConsumer {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if self.is_own {
            state.queues.remove(&self.queue);
        } else if let Some(queue) = state.queues.get_mut(&self.queue) {
            queue.remove_consumer(self.id);
        }
    }
}
