//! Deadlines that have passed: the end of the wait, and the end of a task's life.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::id::TaskId;
use tasker_core::state::ResponseState;

use super::locked::{Settled, lock_tasks, settle_and_save};
use super::{Conn, now, unheard};
use crate::batch::at_most;
use crate::failure::Failure;
use crate::rows::stored;
use crate::schema::{responses, tasks};

/// The states of a row that nobody has taken (again).
const NOT_TAKEN: [i16; 2] = [
    ResponseState::Waiting.code(),
    ResponseState::Retrying.code(),
];

pub(super) async fn settle_due(
    conn: &mut Conn,
    (limit, ask_every): &(u32, Duration),
) -> Result<(Settled, bool), Failure> {
    let now = now(conn).await?;
    let limit = at_most(*limit);
    let mut due = due(conn, now, limit + 1).await?;
    let mut is_more_due = due.len() > limit;
    due.truncate(limit);
    let mut tasks = lock_tasks(conn, due).await?;
    is_more_due |= unheard::leave_what_is_too_much(&mut tasks);
    unheard::write_down(conn, tasks.values_mut(), now, *ask_every).await?;
    let expired: Vec<TaskId> = tasks
        .values()
        .filter(|task| task.expires_at <= now)
        .map(|task| task.id)
        .collect();
    let left = expire(conn, &expired, now).await?;
    for task in tasks.values_mut() {
        // Rows that were received in an earlier attempt and are missing in the last one.
        let left = left.get(&task.id).copied().unwrap_or(0);
        task.counts.received = task.counts.received.saturating_sub(left);
    }
    let mut settled = Settled::new();
    settle_and_save(conn, tasks.values_mut(), now, true, &mut settled).await?;
    Ok((settled, is_more_due))
}

async fn due(conn: &mut Conn, now: DateTime<Utc>, limit: usize) -> Result<Vec<TaskId>, Failure> {
    Ok(tasks::table
        .filter(tasks::due_at.le(stored(now)))
        .order((tasks::due_at, tasks::id))
        .limit(limit as i64)
        .select(tasks::id)
        .load(conn)
        .await?)
}

/// Nobody can start these tasks any more. Tells how many expected rows of each were RETRYING.
async fn expire(
    conn: &mut Conn,
    expired: &[TaskId],
    now: DateTime<Utc>,
) -> Result<HashMap<TaskId, u32>, Failure> {
    if expired.is_empty() {
        return Ok(HashMap::new());
    }
    let retrying: Vec<(TaskId, i64)> = responses::table
        .filter(responses::task_id.eq_any(expired))
        .filter(responses::state.eq(ResponseState::Retrying.code()))
        .filter(responses::expected.eq(true))
        .group_by(responses::task_id)
        .select((responses::task_id, count_star()))
        .load(conn)
        .await?;
    diesel::update(responses::table)
        .filter(responses::task_id.eq_any(expired))
        .filter(responses::state.eq_any(NOT_TAKEN))
        .set((
            responses::state.eq(ResponseState::Expired.code()),
            responses::ask_at.eq(None::<chrono::NaiveDateTime>),
            responses::retry_at.eq(None::<chrono::NaiveDateTime>),
            responses::last_modified_at.eq(stored(now)),
        ))
        .execute(conn)
        .await?;
    // A cancel still goes out: it stops runs, and runs may outlive the task.
    diesel::update(tasks::table)
        .filter(tasks::id.eq_any(expired))
        .filter(tasks::cancel_requested_at.is_null())
        .set(tasks::publish_due_at.eq(None::<chrono::NaiveDateTime>))
        .execute(conn)
        .await?;
    let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(retrying.into_iter().map(|(id, n)| (id, count(n))).collect())
}
