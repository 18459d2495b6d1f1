//! Forgetting tasks that were settled long ago, slowly enough that nobody notices.

use std::time::Instant;

use tasker_core::purge::{LOOK, PurgeOrder, RESPONSES, TASKS, pause_after};
use tasker_core::store::StoreError;
use tokio_util::sync::CancellationToken;

use super::Scheduler;

impl Scheduler {
    /// Forgets everything that is old enough now, oldest first, until `stop`.
    pub(super) async fn purge(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        // What a process left that ended in between, or one that was told to keep less.
        self.sweep(stop).await?;
        self.sweep_runs(stop).await?;
        let Some(retention) = self.retention else {
            return Ok(());
        };
        let (mut after, mut purged) = (None, 0);
        while !stop.is_cancelled() {
            let began = Instant::now();
            let page = self.store.purgeable(retention, after, LOOK).await?;
            rest(began, stop).await;
            let ids: Vec<_> = page.tasks.iter().map(|task| task.id).collect();
            for part in ids.chunks(TASKS) {
                if stop.is_cancelled() {
                    break;
                }
                let began = Instant::now();
                let order = PurgeOrder {
                    retention,
                    tasks: part.to_vec(),
                    copied_at: None,
                };
                let count = self.store.purge(order).await?.len() as u64;
                self.metrics.purged.inc_by(count);
                purged += count;
                rest(began, stop).await;
                self.sweep(stop).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if purged > 0 {
            tracing::info!(tasks = purged, "old tasks were purged");
        }
        self.forget_jobs(retention.settled_for, stop).await
    }

    /// Removes what is left of purged tasks.
    async fn sweep(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        while !stop.is_cancelled() {
            let began = Instant::now();
            let (_, is_more) = self.store.sweep(RESPONSES).await?;
            rest(began, stop).await;
            if !is_more {
                break;
            }
        }
        Ok(())
    }

    /// Removes what is left of deleted runs.
    async fn sweep_runs(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        while !stop.is_cancelled() {
            let began = Instant::now();
            let is_more = self.runs.sweep_runs(RESPONSES).await?;
            rest(began, stop).await;
            if !is_more {
                break;
            }
        }
        Ok(())
    }
}

/// Pauses in proportion to what was done.
pub(super) async fn rest(began: Instant, stop: &CancellationToken) {
    let pause = tokio::time::sleep(pause_after(began.elapsed()));
    stop.run_until_cancelled(pause).await;
}
