//! A client's retry: a new attempt for responses that are finished or were never given.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::id::TaskId;
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::{Changed, RetryOrder};
use tasker_core::task::TaskHead;
use tasker_core::wire::WireTask;

use super::locked::{lock_task, save_tasks};
use super::{Conn, now, unheard};
use crate::batch::MAX_LIST;
use crate::failure::Failure;
use crate::rows::{TaskChange, int, seconds, stored};
use crate::schema::{responses, tasks};

/// A response that is tried again.
struct Again {
    id: i64,
    state: ResponseState,
    expected: bool,
}

pub(super) async fn retry(
    conn: &mut Conn,
    (task, order, ask_every): &(TaskId, RetryOrder, Duration),
) -> Result<Changed, Failure> {
    let now = now(conn).await?;
    let Some(mut task) = lock_task(conn, *task).await? else {
        return Ok(Changed::Gone);
    };
    if !matches!(task.status, TaskStatus::Done | TaskStatus::Incomplete) {
        return Ok(Changed::Illegal(task));
    }
    unheard::write_down(conn, [&mut task], now, *ask_every).await?;
    let again = choose(conn, task.id, order).await?;
    if again.is_empty() {
        return Ok(Changed::Changed(task, 0));
    }
    for part in again.chunks(MAX_LIST) {
        restart(conn, part, &task, now).await?;
    }
    for row in again.iter().filter(|row| row.expected) {
        task.counts.step(row.state, ResponseState::Waiting);
    }
    task.status = TaskStatus::Sent;
    task.settled_at = None;
    task.wait_until = now + seconds(order.wait_s);
    if task.expires_at <= now {
        renew(conn, &mut task, now).await?;
    }
    // Not settled here, even if no time was given: its endpoints could not have answered yet.
    let due_at = task.wait_until.min(task.expires_at);
    diesel::update(tasks::table.find(task.id))
        .set((
            tasks::wait_until.eq(stored(task.wait_until)),
            tasks::expires_at.eq(stored(task.expires_at)),
        ))
        .execute(conn)
        .await?;
    let change = TaskChange::new(&task, Some(due_at)).settled(&task);
    save_tasks(conn, vec![(task.id, change)]).await?;
    let count = u32::try_from(again.len()).unwrap_or(u32::MAX);
    Ok(Changed::Changed(task, count))
}

async fn choose(conn: &mut Conn, task: TaskId, order: &RetryOrder) -> Result<Vec<Again>, Failure> {
    let may_retry = |s: &ResponseState| s.is_finished() || *s == ResponseState::Expired;
    let wanted = order.states.iter().copied().filter(may_retry);
    let wanted: Vec<i16> = wanted.map(ResponseState::code).collect();
    let of_states = responses::table
        .filter(responses::task_id.eq(task))
        .filter(responses::state.eq_any(&wanted))
        .select((responses::id, responses::state, responses::expected))
        .order(responses::id);
    let mut rows: Vec<(i64, i16, bool)> = Vec::new();
    match &order.endpoints {
        None => rows = of_states.load(conn).await?,
        Some(names) => {
            for part in names.chunks(MAX_LIST) {
                let names = part.iter().map(|name| name.as_str());
                let found: Vec<(i64, i16, bool)> = of_states
                    .clone()
                    .filter(responses::endpoint.eq_any(names))
                    .load(conn)
                    .await?;
                rows.extend(found);
            }
            rows.sort_unstable();
            rows.dedup();
        }
    }
    rows.into_iter()
        .map(|(id, code, expected)| {
            let state = ResponseState::from_code(code).ok_or_else(|| Failure::Corrupt {
                table: "responses",
                what: format!("id {id}: state"),
            })?;
            Ok(Again {
                id,
                state,
                expected,
            })
        })
        .collect()
}

/// Orders the next attempt, with a fresh budget of automatic ones, and forgets what came of the last
/// one.
async fn restart(
    conn: &mut Conn,
    rows: &[Again],
    task: &TaskHead,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let never = None::<chrono::NaiveDateTime>;
    diesel::update(responses::table)
        .filter(responses::id.eq_any(rows.iter().map(|row| row.id)))
        .set((
            // Before `attempt`: MySQL assigns from left to right and reads what it has assigned.
            responses::final_attempt.eq(responses::attempt + int(task.retry.max_attempts)),
            responses::attempt.eq(responses::attempt + 1),
            responses::run.eq(0),
            responses::state.eq(ResponseState::Waiting.code()),
            responses::presumed.eq(false),
            responses::late.eq(false),
            responses::errnr.eq(None::<i32>),
            responses::errmsg.eq(None::<String>),
            responses::payload.eq(None::<Vec<u8>>),
            responses::progress_percent.eq(None::<i16>),
            responses::progress_note.eq(None::<String>),
            responses::received_at.eq(never),
            responses::started_at.eq(never),
            responses::finished_at.eq(never),
            responses::elapsed_ms.eq(None::<i64>),
            responses::last_modified_at.eq(stored(now)),
            responses::ask_at.eq(stored(now)),
            responses::retry_at.eq(never),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Gives an expired task a new life span, as long as its last one.
async fn renew(conn: &mut Conn, task: &mut TaskHead, now: DateTime<Utc>) -> Result<(), Failure> {
    let corrupt = |e: tasker_core::wire::WireError| Failure::Corrupt {
        table: "tasks",
        what: format!("wire: {e}"),
    };
    let wire: Vec<u8> = tasks::table
        .find(task.id)
        .select(tasks::wire)
        .first(conn)
        .await?;
    let old = WireTask::parse(&wire).map_err(corrupt)?;
    task.expires_at = now + (old.expires_at - old.issued_at);
    let renewed = WireTask::renew(&wire, now, task.expires_at).map_err(corrupt)?;
    diesel::update(tasks::table.find(task.id))
        .set((
            tasks::wire.eq(renewed),
            // The relay publishes first attempts; journals may have forgotten that they ran this one.
            tasks::publish_due_at.eq(None::<chrono::NaiveDateTime>),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
