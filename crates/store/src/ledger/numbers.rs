//! The numbers of tasks that this process stored.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tasker_core::id::{TaskId, TaskUid};
use tasker_core::store::{Arrived, Created};

/// How many are remembered: 24 bytes each, and as many as are under way on a busy system.
const MOST: usize = 65_536;

/// Numbers by identity, so that reports need not be looked up. Neither changes; that a task was purged
/// shows when it is to be locked.
#[derive(Debug, Default)]
pub(super) struct Numbers(Mutex<BTreeMap<TaskUid, TaskId>>);

impl Numbers {
    fn all(&self) -> MutexGuard<'_, BTreeMap<TaskUid, TaskId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what was stored, and forgets the oldest: identities rise with time.
    pub(super) fn note(&self, created: &[Created]) {
        let mut all = self.all();
        for one in created {
            if let Created::New(task) = one {
                all.insert(task.head.uid, task.head.id);
            }
        }
        while all.len() > MOST {
            all.pop_first();
        }
    }

    /// Those of the tasks that reports are about, as far as they are known here.
    pub(super) fn of(&self, reports: &[Arrived]) -> HashMap<TaskUid, TaskId> {
        let all = self.all();
        let known = |arrived: &Arrived| {
            let uid = arrived.report.uid;
            Some((uid, *all.get(&uid)?))
        };
        reports.iter().filter_map(known).collect()
    }
}
