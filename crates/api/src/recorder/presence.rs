//! Heartbeats → last seen.

use std::collections::HashMap;

use tasker_core::broker::Delivery;
use tasker_core::store::{StoreError, WorkerSign};

use super::sort::{Unreadable, read, sign};
use super::{Recorder, Rejected, Trouble};
use crate::chain::chain;
use crate::metrics::count;

impl Recorder {
    /// Takes a batch of the presence queue.
    pub(super) async fn note(&self, deliveries: Vec<Delivery>) -> Result<Rejected, Trouble> {
        let mut signs = Vec::new();
        let mut unreadable = Vec::new();
        let mut refused = Vec::new();
        for delivery in deliveries {
            match read(&delivery) {
                Ok(batch) if batch.is_heartbeat() => {
                    signs.push(sign(&batch));
                    // Others are no task types here, but anything that a worker made up.
                    if self.task_types.contains(&batch.task_type) {
                        refused.push((batch.task_type, batch.refused));
                    }
                }
                // Here it could overtake its worker's other words.
                Ok(_) => unreadable.push(Unreadable {
                    tag: delivery.tag,
                    reason: "misplaced",
                    error: "reports and hellos belong into the reports queue".into(),
                    routing_key: delivery.routing_key,
                }),
                Err(message) => unreadable.push(message),
            }
        }
        self.alive(signs).await?;
        // Not before: the same heartbeats come again if the ledger is away.
        for (task_type, counts) in &refused {
            self.metrics.add_refused(task_type, counts);
        }
        Ok(self.tell_unreadable(&unreadable))
    }

    /// Notes that workers are alive; of several signs of one worker the last one counts.
    pub(super) async fn alive(&self, signs: Vec<WorkerSign>) -> Result<(), Trouble> {
        let newest: HashMap<_, _> = signs
            .into_iter()
            .map(|sign| ((sign.task_type.clone(), sign.endpoint.clone()), sign))
            .collect();
        if newest.is_empty() {
            return Ok(());
        }
        let beats = newest.len() as u64;
        match self.store.heartbeats(newest.into_values().collect()).await {
            Ok(()) => {
                self.metrics.heartbeats.inc_by(beats);
                Ok(())
            }
            Err(error @ StoreError::Unavailable(_)) => Err(Trouble::Store(error)),
            // The next heartbeats say the same again; there is nothing to keep.
            Err(error) => {
                count(&self.metrics.loop_failures, "loop", "presence", 1);
                tracing::error!(error = %chain(&error), "heartbeats were refused by the ledger");
                Ok(())
            }
        }
    }
}
