//! What this worker refused, counted by reason. Heartbeats tell the ledger, which adds it up for the
//! operator.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tasker_core::wire::{RefusalReason, Refused};

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    total: u64,
    /// How many of them the broker has.
    told: u64,
}

/// The counts of one start of the worker.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    counts: Mutex<BTreeMap<RefusalReason, Count>>,
}

impl Refusals {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<RefusalReason, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more. Returns how many there were of this reason since the start.
    pub(crate) fn count(&self, reason: RefusalReason) -> u64 {
        let mut counts = self.lock();
        let count = counts.entry(reason).or_default();
        count.total += 1;
        count.total
    }

    /// What has not been told.
    pub(crate) fn untold(&self) -> Refused {
        let counts = self.lock();
        let untold = |(reason, count): (&RefusalReason, &Count)| {
            let more = count.total - count.told;
            (more > 0).then(|| (reason.as_str().to_owned(), more))
        };
        counts.iter().filter_map(untold).collect()
    }

    /// The broker has this.
    pub(crate) fn told(&self, refused: &Refused) {
        let mut counts = self.lock();
        for (reason, count) in counts.iter_mut() {
            count.told += refused.get(reason.as_str()).copied().unwrap_or(0);
        }
    }
}
