//! The model: what a ledger holds, in plain Rust, by the words of the design and of
//! `docs/state-machine.md`. Counters are recounted, not kept; nothing of the store's is called.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use tasker_core::store::Timing;
use tasker_core::task::{Audience, Counts, RunPolicy};
use tasker_core::{BootId, JournalUid, ProcessId, ResponseState, TaskId, TaskStatus, TaskUid};

/// The row of one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) state: ResponseState,
    pub(super) attempt: u32,
    pub(super) run: u32,
    /// Attempts that failed since a client ordered the first one.
    pub(super) failures: u32,
    pub(super) expected: bool,
    pub(super) presumed: bool,
    pub(super) late: bool,
    pub(super) received_at: Option<DateTime<Utc>>,
    pub(super) modified_at: DateTime<Utc>,
    /// When a RETRYING one may start again.
    pub(super) retry_at: Option<DateTime<Utc>>,
    /// The shortest and the longest pause, if chance decided and the model was not told yet.
    pub(super) pause: Option<(TimeDelta, TimeDelta)>,
    /// When its endpoint is asked about it; only open rows are.
    pub(super) ask_at: DateTime<Utc>,
}

/// A task.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) id: TaskId,
    pub(super) uid: TaskUid,
    pub(super) identifier: u8,
    pub(super) form: u8,
    pub(super) audience: Audience,
    pub(super) run_policy: RunPolicy,
    pub(super) max_attempts: u32,
    pub(super) timeout: TimeDelta,
    pub(super) life: TimeDelta,
    pub(super) status: TaskStatus,
    pub(super) created_at: DateTime<Utc>,
    pub(super) sent_at: Option<DateTime<Utc>>,
    pub(super) wait_until: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) settled_at: Option<DateTime<Utc>>,
    pub(super) cancelled_at: Option<DateTime<Utc>>,
    /// When it (or its cancel) is nobody's any more and to be published.
    pub(super) publish_at: Option<DateTime<Utc>>,
    pub(super) rows: BTreeMap<String, Row>,
}

/// A worker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Worker {
    /// Its starts with their journals, the present one last.
    pub(super) starts: Vec<(BootId, JournalUid)>,
    pub(super) seen_at: DateTime<Utc>,
}

/// Everything.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) now: DateTime<Utc>,
    pub(super) lease: TimeDelta,
    pub(super) ask_every: TimeDelta,
    pub(super) offline_after: TimeDelta,
    pub(super) lost_after: TimeDelta,
    /// By id, which is the order of their creation.
    pub(super) tasks: Vec<Task>,
    /// By task type and name.
    pub(super) workers: BTreeMap<(String, String), Worker>,
    /// The processes that relay.
    pub(super) owners: [ProcessId; 2],
}

fn span(duration: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(duration).expect("a short span")
}

impl Picture {
    pub(super) fn new(now: DateTime<Utc>, timing: Timing) -> Self {
        Self {
            now,
            lease: span(timing.lease),
            ask_every: span(timing.ask_every),
            offline_after: span(timing.offline_after),
            lost_after: span(timing.lost_after),
            tasks: Vec::new(),
            workers: BTreeMap::new(),
            owners: [ProcessId::mint(), ProcessId::mint()],
        }
    }

    /// The task that a small number means; `None` while there is none at all.
    pub(super) fn choose(&self, number: u8) -> Option<usize> {
        (!self.tasks.is_empty()).then(|| usize::from(number) % self.tasks.len())
    }

    /// The worker, which is known from now on.
    pub(super) fn worker(&mut self, task_type: &str, name: &str) -> &mut Worker {
        let fresh = Worker {
            starts: Vec::new(),
            seen_at: self.now,
        };
        self.workers
            .entry((task_type.to_owned(), name.to_owned()))
            .or_insert(fresh)
    }
}

impl Worker {
    /// The journal of its present start.
    pub(super) fn journal(&self) -> Option<JournalUid> {
        self.starts.last().map(|(_, journal)| *journal)
    }
}

impl Row {
    pub(super) fn waiting(expected: bool, now: DateTime<Utc>, ask_at: DateTime<Utc>) -> Self {
        Self {
            state: ResponseState::Waiting,
            attempt: 1,
            run: 0,
            failures: 0,
            expected,
            presumed: false,
            late: false,
            received_at: None,
            modified_at: now,
            retry_at: None,
            pause: None,
            ask_at,
        }
    }

    /// Whether its endpoint is through with it.
    pub(super) fn is_finished(&self) -> bool {
        use ResponseState::{Cancelled, Failed, Interrupted, Rejected, Succeeded, TimedOut};
        matches!(
            self.state,
            Succeeded | Failed | TimedOut | Interrupted | Rejected | Cancelled
        )
    }

    /// Whether something is still to come.
    pub(super) fn is_open(&self) -> bool {
        !self.is_finished() && self.state != ResponseState::Expired
    }

    /// Whether its endpoint may have something to say: silence is not the last word.
    pub(super) fn is_asked(&self) -> bool {
        self.is_open() || self.presumed
    }

    /// Whether its endpoint has it and is not through with it.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.state, ResponseState::Received | ResponseState::Running)
    }

    /// Whether its endpoint has (had) it.
    pub(super) fn is_received(&self) -> bool {
        !matches!(self.state, ResponseState::Waiting | ResponseState::Expired)
    }
}

impl Task {
    /// The counters, counted anew.
    pub(super) fn counts(&self) -> Counts {
        let count = |pass: fn(&Row) -> bool| {
            let rows = self.rows.values().filter(|row| row.expected);
            rows.filter(|row| pass(row)).count() as u32
        };
        Counts {
            expected: count(|_| true),
            received: count(Row::is_received),
            finished: count(Row::is_finished),
            failed: count(|row| row.is_finished() && row.state != ResponseState::Succeeded),
        }
    }

    /// Settles it, if it is time. Tells the status that it moved to.
    pub(super) fn settle(&mut self, now: DateTime<Utc>) -> Option<TaskStatus> {
        use TaskStatus::{Cancelled, Created, Done, Incomplete, Sent};
        let is_waiting = match self.status {
            Created | Sent => true,
            Incomplete => false,
            // Only a client reopens it.
            Done | Cancelled => return None,
        };
        let is_over = now >= self.wait_until;
        let Counts {
            expected,
            received,
            finished,
            ..
        } = self.counts();
        let is_open_task = self.audience == Audience::Subscribed;
        // Judged when the wait is over, by those who have received it.
        if is_open_task && is_waiting && !is_over {
            return None;
        }
        let is_received_by_all = received == expected && (received > 0 || !is_open_task);
        let next = if is_received_by_all && finished == expected {
            Done
        } else if is_waiting && is_over && !is_received_by_all {
            Incomplete
        } else {
            return None;
        };
        self.status = next;
        self.settled_at = Some(now);
        Some(next)
    }
}
