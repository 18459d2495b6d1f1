//! Forgetting jobs that were over long ago, as slowly as tasks.

use std::time::{Duration, Instant};

use tasker_core::jobs::FORGET;
use tasker_core::store::StoreError;
use tokio_util::sync::CancellationToken;

use super::Scheduler;
use super::purge::rest;

impl Scheduler {
    /// Forgets every job that is old enough now, until `stop`.
    pub(super) async fn forget_jobs(
        &self,
        final_for: Duration,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let mut all = 0;
        while !stop.is_cancelled() {
            let began = Instant::now();
            let (count, is_more) = self.jobs.forget(final_for, FORGET).await?;
            all += u64::from(count);
            self.metrics.jobs_forgotten.inc_by(count.into());
            rest(began, stop).await;
            if !is_more {
                break;
            }
        }
        if all > 0 {
            tracing::info!(jobs = all, "old jobs were forgotten");
        }
        Ok(())
    }
}
