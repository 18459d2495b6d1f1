//! Forgetting tasks that are over.
//!
//! A task may have more responses than one transaction should remove. So its row goes first, in a
//! transaction with a note of its number: from then on it does not exist for anybody. Whatever works
//! on responses goes by their task, so nobody sees what is left of them, and the notes lead whoever
//! sweeps next to it, however the process before ended.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::id::TaskId;
use tasker_core::purge::{PurgeOrder, Purgeable, Retention};
use tasker_core::task::TaskHead;

use super::locked::lock_tasks;
use super::{Conn, insert_purged, notices, now};
use crate::batch::{MAX_LIST, at_most};
use crate::failure::Failure;
use crate::rows::{HeadRow, span, stored};
use crate::schema::{purged_tasks, responses, tasks};

/// How long before its commit a transaction may have read the clock that it stamps rows with.
/// Generous: transactions are given up after a third of it.
const COMMIT_LAG: TimeDelta = TimeDelta::minutes(1);

/// How many notes one sweep reads.
const NOTES: i64 = 200;

/// Until when things must have happened to be old enough.
struct Cutoff {
    settled_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

impl Cutoff {
    fn new(retention: &Retention, now: DateTime<Utc>) -> Self {
        Self {
            settled_at: now - span(retention.settled_for),
            expires_at: now - span(retention.expired_for),
        }
    }

    fn allows(&self, task: &TaskHead) -> bool {
        task.status.is_settled()
            && task.settled_at.is_some_and(|at| at <= self.settled_at)
            && task.expires_at <= self.expires_at
    }

    /// Whether a task, and with it all of greater numbers, is too young. Numbers rise with time.
    fn is_beyond(&self, task: &TaskHead) -> bool {
        task.created_at > self.settled_at.min(self.expires_at)
    }
}

/// Goes by number, oldest first: what is old enough stands at the beginning of the table, so that no
/// index of its own is needed, which every accepted task would have to pay for.
pub(super) async fn purgeable(
    conn: &mut Conn,
    (retention, after, limit): &(Retention, Option<TaskId>, u32),
) -> Result<Purgeable, Failure> {
    let now = now(conn).await?;
    let cutoff = Cutoff::new(retention, now);
    let limit = at_most(*limit);
    let rows: Vec<HeadRow> = tasks::table
        .filter(tasks::id.gt(after.unwrap_or(i64::MIN)))
        .order(tasks::id)
        .limit(limit as i64)
        .select(HeadRow::as_select())
        .load(conn)
        .await?;
    let is_last = rows.len() < limit;
    let mut found = Purgeable {
        now,
        tasks: Vec::new(),
        next: None,
    };
    for row in rows {
        let task = row.decode()?;
        if cutoff.is_beyond(&task) {
            found.next = None;
            return Ok(found);
        }
        found.next = Some(task.id);
        if cutoff.allows(&task) {
            found.tasks.push(task);
        }
    }
    found.next = found.next.filter(|_| !is_last);
    Ok(found)
}

pub(super) async fn purge(conn: &mut Conn, order: &PurgeOrder) -> Result<Vec<TaskId>, Failure> {
    let now = now(conn).await?;
    let cutoff = Cutoff::new(&order.retention, now);
    let tasks = lock_tasks(conn, order.tasks.clone()).await?;
    let mut over: Vec<TaskId> = tasks
        .values()
        .filter(|task| cutoff.allows(task))
        .map(|task| task.id)
        .collect();
    if let Some(copied_at) = order.copied_at {
        let known_until = copied_at - COMMIT_LAG;
        let changed = changed_since(conn, &over, known_until).await?;
        over.retain(|id| {
            let settled_at = tasks.get(id).and_then(|task| task.settled_at);
            !changed.contains(id) && settled_at.is_some_and(|at| at <= known_until)
        });
    }
    for part in over.chunks(MAX_LIST) {
        diesel::delete(tasks::table.filter(tasks::id.eq_any(part)))
            .execute(conn)
            .await?;
        insert_purged(conn, part.to_vec()).await?;
    }
    let is_told = |id: &TaskId| {
        tasks
            .get(id)
            .is_some_and(|task| task.callback_url.is_some())
    };
    let told: Vec<TaskId> = over.iter().copied().filter(is_told).collect();
    notices::forget(conn, &told).await?;
    Ok(over)
}

/// Those of the tasks of which a response may have changed since. Their tasks are locked.
async fn changed_since(
    conn: &mut Conn,
    ids: &[TaskId],
    since: DateTime<Utc>,
) -> Result<Vec<TaskId>, Failure> {
    let mut changed = Vec::new();
    for part in ids.chunks(MAX_LIST) {
        let found: Vec<TaskId> = responses::table
            .filter(responses::task_id.eq_any(part))
            .filter(responses::last_modified_at.gt(stored(since)))
            .select(responses::task_id)
            .distinct()
            .load(conn)
            .await?;
        changed.extend(found);
    }
    Ok(changed)
}

pub(super) async fn sweep(conn: &mut Conn, limit: &u32) -> Result<(u32, bool), Failure> {
    let limit = at_most(*limit);
    // Several sweepers share the notes.
    let notes: Vec<TaskId> = lock_what_is_free!(
        purged_tasks::table
            .order(purged_tasks::task_id)
            .limit(NOTES)
            .select(purged_tasks::task_id)
    )
    .load(conn)
    .await?;
    let mut ids: Vec<i64> = Vec::new();
    let mut swept = Vec::new();
    for task in &notes {
        let room = limit - ids.len();
        // In the order of the unique index, so that no task's rows are sorted.
        let found: Vec<i64> = responses::table
            .filter(responses::task_id.eq(*task))
            .order((responses::task_id, responses::endpoint))
            .limit((room + 1) as i64)
            .select(responses::id)
            .load(conn)
            .await?;
        let is_all = found.len() <= room;
        ids.extend(found.into_iter().take(room));
        if !is_all {
            break;
        }
        swept.push(*task);
    }
    ids.sort_unstable();
    diesel::delete(responses::table.filter(responses::id.eq_any(&ids)))
        .execute(conn)
        .await?;
    diesel::delete(purged_tasks::table.filter(purged_tasks::task_id.eq_any(&swept)))
        .execute(conn)
        .await?;
    let is_more = swept.len() < notes.len() || notes.len() as i64 == NOTES;
    Ok((u32::try_from(ids.len()).unwrap_or(u32::MAX), is_more))
}
