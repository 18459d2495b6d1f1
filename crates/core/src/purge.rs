//! Forgetting what is over: which tasks may be purged, and in which portions.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::id::TaskId;
use crate::task::TaskHead;

/// How long a worker's journal remembers a task beyond its `expires_at`: deliveries may be that late. The ledger remembers it
/// for at least as long: what is still answered from a journal must not be an unknown task.
pub const JOURNAL_MEMORY: Duration = Duration::from_secs(600);

/// Tasks that one look passes over.
pub const LOOK: u32 = 500;

/// Tasks that are forgotten in one transaction.
pub const TASKS: usize = 100;

/// Responses that are removed in one transaction.
pub const RESPONSES: u32 = 1000;

/// How long to pause after a transaction that took so long, so that purging never takes more than
/// about a fifth of one connection. At most 10 s: what waited for others was not that much work.
#[must_use]
pub fn pause_after(took: Duration) -> Duration {
    (took * 4).min(Duration::from_secs(10))
}

/// How old a settled task must be to be purged, by the database's clock. Both spans must have
/// passed; tasks that are not settled are never purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Since it was last settled.
    pub settled_for: Duration,
    /// Since its `expires_at`.
    pub expired_for: Duration,
}

impl Retention {
    /// Tasks that have been settled for so many days and that no journal remembers.
    #[must_use]
    pub const fn days(days: u32) -> Self {
        Self {
            settled_for: Duration::from_secs(days as u64 * 86_400),
            expired_for: JOURNAL_MEMORY,
        }
    }
}

/// What a look at a portion of the tasks found.
#[derive(Debug, Clone)]
pub struct Purgeable {
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// The tasks that may be purged, by number.
    pub tasks: Vec<TaskHead>,
    /// After which task to go on; `None` if all others are too young.
    pub next: Option<TaskId>,
}

/// Which tasks to forget.
#[derive(Debug, Clone)]
pub struct PurgeOrder {
    /// How old they must (still) be.
    pub retention: Retention,
    /// Their numbers.
    pub tasks: Vec<TaskId>,
    /// When somebody began to copy them, by the database's clock: those of which anything may have
    /// changed since are kept. `None`: nobody did.
    pub copied_at: Option<DateTime<Utc>>,
}
