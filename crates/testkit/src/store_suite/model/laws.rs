//! What holds after every step: the store's rows are the model's, and laws that need no model.

use std::collections::{BTreeMap, BTreeSet};

use tasker_core::account::ClientScope;
use tasker_core::store::{RecordVerdict, ResponseFilter, Store, TaskFilter};
use tasker_core::task::{Audience, Counts, RunPolicy, TaskHead, TaskResponse};
use tasker_core::{Client, JournalUid, ResponseState, TaskStatus, TaskUid};

use super::answers::Question;
use super::driver::{Difference, same};
use super::hearing::Word;
use super::picture::{Picture, Row, Task, Worker};
use crate::build::task_type;

/// What was seen up to now.
#[derive(Default)]
pub(super) struct Laws {
    heads: BTreeMap<TaskUid, TaskHead>,
    rows: BTreeMap<(TaskUid, String), TaskResponse>,
    /// Tasks that the present step retried: their finished rows may begin anew.
    retried: BTreeSet<TaskUid>,
    /// Under which journal an attempt was received.
    received: BTreeMap<(TaskUid, String, u32), JournalUid>,
    steps: usize,
    /// Whether everything is looked at after every step: what lies between two looks is one.
    sees_every_step: bool,
}

fn law(holds: bool, what: impl FnOnce() -> String) -> Result<(), Difference> {
    if holds { Ok(()) } else { Err(what()) }
}

impl Laws {
    pub(super) fn new(sees_every_step: bool) -> Self {
        Self {
            sees_every_step,
            ..Self::default()
        }
    }

    /// A client retried a task.
    pub(super) fn retried(&mut self, uid: TaskUid) {
        self.retried.insert(uid);
    }

    /// Reports were written.
    pub(super) fn heard(&mut self, model: &Picture, words: &[Word], verdicts: &[RecordVerdict]) {
        for (word, _) in words
            .iter()
            .zip(verdicts)
            .filter(|(word, verdict)| **verdict == RecordVerdict::Applied && word.attempt > 0)
        {
            let worker = ("worker".to_owned(), word.endpoint.to_owned());
            let journal = model.workers.get(&worker).and_then(Worker::journal);
            if let (Some(task), Some(journal)) = (word.task, journal) {
                let uid = model.tasks[task].uid;
                let key = (uid, word.endpoint.to_owned(), word.attempt);
                self.received.entry(key).or_insert(journal);
            }
        }
    }

    /// A worker with another journal is never offered what may not run twice.
    pub(super) fn asked(&self, model: &Picture, questions: &[Question]) -> Result<(), Difference> {
        for question in questions {
            let Some(attempt) = question.attempt else {
                continue;
            };
            let task = model.tasks.iter().find(|task| task.uid == question.uid);
            let worker = ("worker".to_owned(), question.endpoint.clone());
            let journal = model.workers.get(&worker).and_then(Worker::journal);
            let key = (question.uid, question.endpoint.clone(), attempt);
            let before = self.received.get(&key);
            let is_once = task.is_some_and(|task| task.run_policy == RunPolicy::Once);
            law(
                !is_once || before.is_none() || before == journal.as_ref(),
                || format!("{question:?} was received under {before:?}, and now under {journal:?}"),
            )?;
        }
        Ok(())
    }

    /// Reads everything and compares it with the model and with what was there before.
    pub(super) async fn check(
        &mut self,
        store: &dyn Store,
        model: &Picture,
    ) -> Result<(), Difference> {
        let filter = TaskFilter {
            scope: ClientScope::own(Client::local()),
            task_type: task_type("worker"),
            status: None,
            before: None,
            limit: 1000,
        };
        let mut heads = store.tasks(filter).await.map_err(|e| e.to_string())?;
        heads.reverse();
        same("tasks", &heads.len(), &model.tasks.len())?;
        for (head, task) in heads.into_iter().zip(&model.tasks) {
            let all = ResponseFilter {
                limit: 1000,
                ..ResponseFilter::default()
            };
            let rows = store.responses(head.id, all).await;
            let rows = rows.map_err(|e| e.to_string())?;
            self.check_task(head, &rows, task)?;
            for row in rows {
                self.check_row(row, task)?;
            }
        }
        self.retried.clear();
        // One at a time, in turn: it is the picture of the rows that were compared.
        self.steps += 1;
        if let Some(task) = model.tasks.get(self.steps % model.tasks.len().max(1)) {
            check_tally(store, model, task).await?;
        }
        Ok(())
    }

    fn check_task(
        &mut self,
        head: TaskHead,
        rows: &[TaskResponse],
        task: &Task,
    ) -> Result<(), Difference> {
        let store = (
            (head.uid, head.status, head.counts),
            (head.created_at, head.sent_at, head.wait_until),
            (head.expires_at, head.settled_at, head.cancel_requested_at),
        );
        let expected = (
            (task.uid, task.status, task.counts()),
            (task.created_at, task.sent_at, task.wait_until),
            (task.expires_at, task.settled_at, task.cancelled_at),
        );
        same(format!("task t{}", task.identifier), &store, &expected)?;
        same("rows", &rows.len(), &task.rows.len())?;
        same("counters and rows", &head.counts, &recount(rows))?;
        let Counts {
            expected, finished, ..
        } = head.counts;
        let is_done = head.status == TaskStatus::Done;
        law(!is_done || finished == expected, || {
            format!("{} is DONE with {:?}", head.identifier, head.counts)
        })?;
        let is_judged_at_once = head.audience != Audience::Subscribed;
        let is_over = is_done || head.status == TaskStatus::Cancelled;
        // Somebody whom nobody expected may have been told to try again.
        let is_extra = |row: &TaskResponse| !row.expected && row.attempt > 1;
        let is_waited_for = finished < expected || rows.iter().any(is_extra);
        law(!is_judged_at_once || is_over || is_waited_for, || {
            format!("{} is {} with all finished", head.identifier, head.status)
        })?;
        law(
            head.status.is_settled() == head.settled_at.is_some(),
            || {
                format!(
                    "{} is {} since {:?}",
                    head.identifier, head.status, head.settled_at
                )
            },
        )?;
        if let Some(before) = self.heads.insert(head.uid, head.clone())
            && self.sees_every_step
        {
            law(is_reachable(before.status, head.status), || {
                format!("{} → {}", before.status, head.status)
            })?;
        }
        Ok(())
    }

    fn check_row(&mut self, row: TaskResponse, task: &Task) -> Result<(), Difference> {
        let name = row.endpoint.as_str().to_owned();
        let expected = task
            .rows
            .get(&name)
            .ok_or_else(|| format!("a row of {name}"))?;
        let store = Row {
            state: row.state,
            attempt: row.attempt,
            run: row.run,
            failures: expected.failures,
            expected: row.expected,
            presumed: row.presumed,
            late: row.late,
            received_at: row.received_at,
            modified_at: row.last_modified_at,
            retry_at: row.retry_at,
            pause: None,
            // Not shown; seen by what is asked.
            ask_at: expected.ask_at,
        };
        same(
            format!("row of {name} for t{}", task.identifier),
            &store,
            expected,
        )?;
        let is_finished = row.state.is_finished();
        law(is_finished == row.finished_at.is_some(), || {
            format!("{} since {:?}", row.state, row.finished_at)
        })?;
        law(
            !is_finished || (row.state == ResponseState::Succeeded) == (row.errnr == Some(0)),
            || format!("{} with {:?}", row.state, row.errnr),
        )?;
        let is_retried = self.retried.contains(&task.uid);
        if let Some(before) = self.rows.insert((task.uid, name), row.clone())
            && self.sees_every_step
        {
            // A finished attempt stays, unless it was only concluded from silence.
            let is_final = before.state.is_finished() && !before.presumed;
            let is_legal = if before.attempt == row.attempt {
                let is_truth = before.presumed && row.state.is_finished();
                before.state == row.state || is_truth || climbs(&before, &row)
            } else {
                let is_retried = is_retried && row.state == ResponseState::Waiting;
                before.attempt < row.attempt && (is_retried || !is_final)
            };
            law(is_legal, || format!("{before:?}\n→ {row:?}"))?;
        }
        Ok(())
    }
}

/// What clients are told of a task's responses.
async fn check_tally(store: &dyn Store, model: &Picture, task: &Task) -> Result<(), Difference> {
    let standing = store.standing(task.id, ResponseFilter::default(), 100);
    let standing = standing.await.map_err(|e| e.to_string())?;
    let tally = standing.ok_or("the task is gone")?.tally;
    let rows = || task.rows.iter().filter(|(_, row)| row.expected);
    let mut states = BTreeMap::new();
    for (_, row) in rows() {
        *states.entry(row.state).or_insert(0) += 1;
    }
    let late = task.rows.values().filter(|row| !row.expected).count();
    let retrying = rows().filter(|(_, row)| row.state == ResponseState::Retrying);
    let next = retrying.filter_map(|(_, row)| row.retry_at).min();
    same("tally: states", &tally.states, &states)?;
    same("tally: late", &(tally.late as usize), &late)?;
    same("tally: next retry", &tally.next_retry_at, &next)?;
    let mut missing: Vec<_> = tally
        .missing
        .iter()
        .map(|row| {
            (
                row.endpoint.as_str().to_owned(),
                row.state,
                row.last_seen_at,
            )
        })
        .collect();
    missing.sort_unstable();
    let expected: Vec<_> = rows()
        .filter(|(_, row)| !row.is_finished())
        .map(|(name, row)| {
            let worker = model.workers.get(&("worker".to_owned(), name.clone()));
            (name.clone(), row.state, worker.map(|known| known.seen_at))
        })
        .collect();
    same("tally: missing", &missing, &expected)
}

/// A batch of reports may take several steps at once.
fn climbs(before: &TaskResponse, row: &TaskResponse) -> bool {
    let mut between = ResponseState::ALL.iter();
    before.state.may_become(row.state)
        || between.any(|state| before.state.may_become(*state) && state.may_become(row.state))
}

/// A step may confirm and settle at once, and a batch of reports may settle what a retry opened.
fn is_reachable(before: TaskStatus, now: TaskStatus) -> bool {
    before == now || before.may_become(now)
}

fn recount(rows: &[TaskResponse]) -> Counts {
    let count = |pass: fn(ResponseState) -> bool| {
        let rows = rows.iter().filter(|row| row.expected);
        rows.filter(|row| pass(row.state)).count() as u32
    };
    Counts {
        expected: count(|_| true),
        received: count(ResponseState::is_received),
        finished: count(ResponseState::is_finished),
        failed: count(|state| state.is_finished() && state != ResponseState::Succeeded),
    }
}
