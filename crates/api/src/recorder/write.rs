//! Reports → rows.

use futures_util::future::join;
use tasker_core::store::{Arrived, StoreError};
use tasker_core::wire::ReportBatch;

use super::sort::{Letter, arrived};
use super::{Recorder, Rejected};
use crate::chain::chain;
use crate::metrics::count;

impl Recorder {
    /// Writes letters, in their order. A letter that the ledger refuses is found by bisection; all
    /// others are written. Returns the tags of refused ones; fails if the ledger is away.
    pub(super) async fn write(&self, letters: Vec<Letter>) -> Result<Rejected, StoreError> {
        let mut refused = Rejected::new();
        let mut todo = vec![letters];
        while let Some(mut letters) = todo.pop() {
            let all: Vec<Arrived> = letters
                .iter_mut()
                .flat_map(|letter| std::mem::take(&mut letter.arrived))
                .collect();
            match (self.write_beside(all).await, letters.as_slice()) {
                (Ok(()), _) => {}
                (Err(error @ StoreError::Unavailable(_)), _) => return Err(error),
                (Err(error), [letter]) => {
                    count(&self.metrics.dead_lettered, "reason", "refused", 1);
                    self.refused
                        .tell("refused", &letter.routing_key, &chain(&error));
                    refused.push(letter.tag);
                }
                (Err(_), _) => {
                    // Writing is idempotent, so what was written before the refusal does no harm.
                    for letter in &mut letters {
                        if let Ok(batch) = ReportBatch::parse(&letter.body) {
                            letter.arrived = arrived(batch);
                        }
                    }
                    let later = letters.split_off(letters.len() / 2);
                    todo.push(later);
                    todo.push(letters);
                }
            }
        }
        Ok(refused)
    }

    /// Writes reports, those of half of the tasks beside the others: tasks are independent of each other,
    /// and one transaction keeps one core of the database busy.
    async fn write_beside(&self, all: Vec<Arrived>) -> Result<(), StoreError> {
        let (one, other) = halves(all);
        let (one, other) = join(self.write_all(one), self.write_all(other)).await;
        one.and(other)
    }

    /// Writes reports in transactions of bounded size.
    async fn write_all(&self, mut all: Vec<Arrived>) -> Result<(), StoreError> {
        while !all.is_empty() {
            let rest = all.split_off(self.share(&all));
            let is_of_job = all.iter().any(|a| self.bell.is_for(&a.task_type));
            let recorded = self.store.record(all).await?;
            if is_of_job {
                self.bell.ring();
            }
            for verdict in recorded.verdicts {
                count(&self.metrics.reports, "verdict", verdict.as_str(), 1);
            }
            if recorded.retries > 0 {
                let retries = u64::from(recorded.retries);
                count(&self.metrics.retries, "by", "policy", retries);
            }
            self.tell_settled(&recorded.settled);
            all = rest;
        }
        Ok(())
    }

    /// How many of these reports fit into a transaction; at least one.
    fn share(&self, all: &[Arrived]) -> usize {
        let mut bytes = 0;
        let fitting = all
            .iter()
            .take(self.settings.reports)
            .take_while(|arrived| {
                let report = &arrived.report;
                bytes += report
                    .payload
                    .as_ref()
                    .map_or(0, |payload| payload.get().len());
                bytes += report.errmsg.as_ref().map_or(0, String::len);
                bytes <= self.settings.report_bytes
            });
        fitting.count().max(1)
    }
}

/// So few reports are not worth a second transaction.
const FEW: usize = 500;

/// Reports of two disjoint sets of tasks, each in their order.
fn halves(all: Vec<Arrived>) -> (Vec<Arrived>, Vec<Arrived>) {
    if all.len() <= FEW {
        return (all, Vec::new());
    }
    // The last bits of an identity are random.
    let is_even = |arrived: &Arrived| arrived.report.uid.0.as_u128() & 1 == 0;
    all.into_iter().partition(is_even)
}
