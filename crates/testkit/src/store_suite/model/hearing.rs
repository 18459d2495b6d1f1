//! What endpoints say: reports, fenced on attempt and run, and hellos.

use chrono::{DateTime, TimeDelta, Utc};
use tasker_core::store::RecordVerdict;
use tasker_core::task::{Audience, RunPolicy};
use tasker_core::{BootId, JournalUid, ResponseState, TaskStatus, TaskUid};

use super::answers::Settled;
use super::picture::{Picture, Row, Task};

/// The first pause between attempts; doubled by each further failure, up to the longest.
pub(super) const FIRST_PAUSE_S: u32 = 10;
/// See [`FIRST_PAUSE_S`].
pub(super) const LONGEST_PAUSE_S: u32 = 15;
/// How many starts before the present one are known by their boot.
const REMEMBERED_STARTS: usize = 8;

/// A report, with the numbers that it is sent with.
#[derive(Debug, Clone)]
pub(super) struct Word {
    /// `None`: a task that the ledger never had.
    pub(super) task: Option<usize>,
    pub(super) task_type: &'static str,
    pub(super) endpoint: &'static str,
    pub(super) attempt: u32,
    pub(super) run: u32,
    pub(super) state: ResponseState,
    pub(super) age: TimeDelta,
}

/// How far a state is within its attempt.
fn height(state: ResponseState) -> u8 {
    match state {
        ResponseState::Waiting | ResponseState::Retrying | ResponseState::Expired => 0,
        ResponseState::Received => 1,
        ResponseState::Running => 2,
        _ => 3,
    }
}

/// What is to be thought of a report about a row: which attempt and run it answers, and whether it
/// tells something new.
fn judge(row: &Row, is_cancelled: bool, word: &Word) -> RecordVerdict {
    use RecordVerdict::{Applied, Fenced, Known, Unordered};
    let is_final = height(word.state) == 3;
    if word.attempt == 0 {
        // A tombstone: believed if somebody cancelled the task.
        return match (is_cancelled, row.is_finished()) {
            (false, _) => Unordered,
            (true, true) => Known,
            (true, false) => Applied,
        };
    }
    match word.attempt.cmp(&row.attempt) {
        std::cmp::Ordering::Greater => return Unordered,
        std::cmp::Ordering::Less => return Fenced,
        std::cmp::Ordering::Equal => {}
    }
    if word.run < row.run {
        return if is_final { Fenced } else { Known };
    }
    if row.is_finished() {
        return if row.presumed && is_final {
            Applied
        } else {
            Known
        };
    }
    let is_progress = word.state == ResponseState::Running && row.state == ResponseState::Running;
    if height(word.state) > height(row.state) || is_progress {
        Applied
    } else {
        Known
    }
}

impl Task {
    /// How long the next attempt waits, at least and at most, if the failure of this one is followed
    /// by another.
    fn pause_after(&self, row: &Row, now: DateTime<Utc>) -> Option<(TimeDelta, TimeDelta)> {
        let has_failed = matches!(row.state, ResponseState::Failed | ResponseState::TimedOut);
        let is_over = row.expected && self.status == TaskStatus::Done;
        if !has_failed || is_over || self.cancelled_at.is_some() {
            return None;
        }
        if row.failures + 1 >= self.max_attempts {
            return None;
        }
        let doubled = i64::from(FIRST_PAUSE_S) << row.failures;
        let pause = doubled.min(LONGEST_PAUSE_S.into());
        // A fifth shorter or longer by chance.
        let (least, most) = (pause * 800, pause * 1200);
        let (least, most) = (
            TimeDelta::milliseconds(least),
            TimeDelta::milliseconds(most),
        );
        // Chosen so that chance never decides whether it ends before the task does.
        let starts_in_time = now + most < self.expires_at;
        starts_in_time.then_some((least, most))
    }

    /// Whether chance decides if another attempt fits into the task's life.
    pub(super) fn is_close_to_its_end(&self, now: DateTime<Utc>) -> bool {
        let left = self.expires_at - now;
        let longest = TimeDelta::seconds(i64::from(LONGEST_PAUSE_S) * 2);
        self.max_attempts > 1 && left > TimeDelta::zero() && left < longest
    }
}

impl Picture {
    /// One report.
    pub(super) fn hear(&mut self, word: &Word) -> RecordVerdict {
        self.worker(word.task_type, word.endpoint);
        let (now, ask_at) = (self.now, self.now + self.ask_every);
        let Some(task) = word.task.map(|at| &mut self.tasks[at]) else {
            return RecordVerdict::UnknownTask;
        };
        if word.task_type != "worker" {
            return RecordVerdict::Stranger;
        }
        let happened_at = (now - word.age).max(task.created_at);
        let is_known = task.rows.contains_key(word.endpoint);
        if !is_known && task.audience == Audience::Listed {
            return RecordVerdict::Stranger;
        }
        // Who answers an open task before the wait is over, and before it is settled, is expected.
        let is_open_task = task.audience == Audience::Subscribed;
        let is_in_time = happened_at < task.wait_until && task.settled_at.is_none();
        let mut row = task
            .rows
            .get(word.endpoint)
            .cloned()
            .unwrap_or_else(|| Row::waiting(is_open_task && is_in_time, now, ask_at));
        let verdict = judge(&row, task.cancelled_at.is_some(), word);
        if verdict != RecordVerdict::Applied {
            return verdict;
        }
        row.late |= !is_known && is_open_task && !row.expected;
        if row.received_at.is_none() {
            row.received_at = Some(happened_at);
            row.late |= happened_at >= task.wait_until;
        }
        row.state = word.state;
        row.run = row.run.max(word.run);
        row.presumed = false;
        row.modified_at = now;
        row.ask_at = ask_at;
        row.retry_at = None;
        if let Some(pause) = task.pause_after(&row, now) {
            row.failures += 1;
            row.state = ResponseState::Retrying;
            row.attempt += 1;
            row.run = 0;
            row.pause = Some(pause);
        }
        task.rows.insert(word.endpoint.to_owned(), row);
        verdict
    }

    /// A start of a worker says hello; tells whether the journal before is lost, and what it settled.
    pub(super) fn hello(
        &mut self,
        endpoint: &str,
        boot: BootId,
        journal: JournalUid,
    ) -> (bool, Settled) {
        let now = self.now;
        let worker = self.worker("worker", endpoint);
        let before = worker.journal();
        let recent = worker.starts.iter().rev().take(1 + REMEMBERED_STARTS);
        let place = recent.map(|(boot, _)| *boot).position(|past| past == boot);
        match place {
            Some(0) => {}
            // Overtaken by that of a later start.
            Some(_) => return (false, Settled::new()),
            None => worker.starts.push((boot, journal)),
        }
        worker.seen_at = now;
        let is_journal_lost = before.is_some_and(|before| before != journal);
        let mut changed = Vec::new();
        for (at, task) in self.tasks.iter_mut().enumerate() {
            let may_rerun = task.run_policy == RunPolicy::Idempotent
                && task.cancelled_at.is_none()
                && now < task.expires_at;
            let Some(row) = task.rows.get_mut(endpoint) else {
                continue;
            };
            if is_journal_lost && row.is_under_way() {
                changed.push(at);
                row.modified_at = now;
                if may_rerun {
                    row.state = ResponseState::Retrying;
                    row.attempt += 1;
                    row.run = 0;
                    row.retry_at = Some(now);
                } else {
                    row.state = ResponseState::Interrupted;
                }
            }
            if is_journal_lost && row.presumed {
                // Nobody knows better any more.
                row.presumed = false;
                row.modified_at = now;
            }
            // A pause between attempts is not cut short.
            if row.retry_at.is_none_or(|at| at <= now) {
                row.ask_at = now;
            }
        }
        (is_journal_lost, self.settle_these(changed))
    }

    /// What a worker must not run (again): tasks it has had, with the last attempt.
    pub(super) fn had(&self, endpoint: &str) -> Vec<(TaskUid, u32)> {
        let alive = self.tasks.iter().filter(|task| self.now < task.expires_at);
        alive
            .filter_map(|task| {
                let row = task.rows.get(endpoint)?;
                let attempt = row.attempt - u32::from(!row.is_finished());
                (attempt > 0).then_some((task.uid, attempt))
            })
            .collect()
    }

    /// Cancels that a worker hears of at its hello.
    pub(super) fn cancels_for(&self, endpoint: &str) -> Vec<TaskUid> {
        let alive = self.tasks.iter().filter(|task| self.now < task.expires_at);
        alive
            .filter(|task| task.status == TaskStatus::Cancelled)
            .filter(|task| {
                let row = task.rows.get(endpoint);
                // Who is not on the list can neither have it nor get it.
                task.audience != Audience::Listed || row.is_some_and(Row::is_asked)
            })
            .map(|task| task.uid)
            .collect()
    }
}
