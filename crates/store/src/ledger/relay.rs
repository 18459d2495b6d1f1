//! Step 4 of the line, publish: what is due, and what the broker confirmed.

use std::time::Duration;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::id::{ProcessId, TaskId};
use tasker_core::state::TaskStatus;
use tasker_core::task::Task;

use super::locked::lock_tasks;
use super::{Conn, now};
use crate::batch::{MAX_LIST, at_most};
use crate::failure::Failure;
use crate::rows::{StoredRow, span, stored};
use crate::schema::tasks;

pub(super) async fn take_unsent(
    conn: &mut Conn,
    (owner, limit, lease): &(ProcessId, u32, Duration),
) -> Result<Vec<Task>, Failure> {
    let now = now(conn).await?;
    let due = tasks::publish_due_at.le(stored(now));
    let candidates: Vec<TaskId> = tasks::table
        .filter(due)
        .filter(
            tasks::expires_at
                .gt(stored(now))
                .or(tasks::cancel_requested_at.is_not_null()),
        )
        .order((tasks::publish_due_at, tasks::id))
        .limit(at_most(*limit) as i64)
        .select(tasks::id)
        .load(conn)
        .await?;
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    // Another relay may have taken some meanwhile, or be about to.
    let taken: Vec<TaskId> = lock_what_is_free!(
        tasks::table
            .filter(tasks::id.eq_any(&candidates))
            .filter(due)
            .order(tasks::id)
            .select(tasks::id)
    )
    .load(conn)
    .await?;
    diesel::update(tasks::table.filter(tasks::id.eq_any(&taken)))
        .set((
            tasks::publish_due_at.eq(stored(now + span(*lease))),
            tasks::publish_owner.eq(owner.0.as_bytes().to_vec()),
        ))
        .execute(conn)
        .await?;
    let rows: Vec<StoredRow> = tasks::table
        .filter(tasks::id.eq_any(&taken))
        .order(tasks::id)
        .select(StoredRow::as_select())
        .load(conn)
        .await?;
    rows.into_iter().map(|row| Ok(row.decode()?.0)).collect()
}

pub(super) async fn mark_sent(conn: &mut Conn, sent: &Vec<(TaskId, bool)>) -> Result<(), Failure> {
    let now = now(conn).await?;
    let tasks = lock_tasks(conn, sent.iter().map(|(id, _)| *id).collect()).await?;
    let mut newly_sent = Vec::new();
    let mut first_sent = Vec::new();
    let mut nothing_due = Vec::new();
    for (id, is_cancel) in sent {
        let Some(task) = tasks.get(id) else { continue };
        // A cancel that came while the task was on its way is still to be published.
        if task.cancel_requested_at.is_some() == *is_cancel {
            nothing_due.push(*id);
        }
        if *is_cancel {
            continue;
        }
        if task.status == TaskStatus::Created {
            newly_sent.push(*id);
        }
        if task.sent_at.is_none() {
            first_sent.push(*id);
        }
    }
    for part in newly_sent.chunks(MAX_LIST) {
        diesel::update(tasks::table.filter(tasks::id.eq_any(part)))
            .set(tasks::status.eq(TaskStatus::Sent.code()))
            .execute(conn)
            .await?;
    }
    for part in first_sent.chunks(MAX_LIST) {
        diesel::update(tasks::table.filter(tasks::id.eq_any(part)))
            .set(tasks::sent_at.eq(stored(now)))
            .execute(conn)
            .await?;
    }
    for part in nothing_due.chunks(MAX_LIST) {
        diesel::update(tasks::table.filter(tasks::id.eq_any(part)))
            .set(tasks::publish_due_at.eq(None::<chrono::NaiveDateTime>))
            .execute(conn)
            .await?;
    }
    Ok(())
}
