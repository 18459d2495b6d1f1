//! A client's cancel: stored, due to be published, due to be asked.

use std::time::Duration;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::id::{ProcessId, TaskId};
use tasker_core::notice::NewNotice;
use tasker_core::state::TaskStatus;
use tasker_core::store::Changed;

use super::locked::lock_task;
use super::{Conn, notices, now, unheard};
use crate::apply::next_deadline;
use crate::failure::Failure;
use crate::rows::{span, stored};
use crate::schema::{responses, tasks};

pub(super) async fn cancel(
    conn: &mut Conn,
    (task, owner, lease, ask_every): &(TaskId, ProcessId, Duration, Duration),
) -> Result<Changed, Failure> {
    let now = now(conn).await?;
    let Some(mut task) = lock_task(conn, *task).await? else {
        return Ok(Changed::Gone);
    };
    match task.status {
        TaskStatus::Cancelled => return Ok(Changed::Changed(task, 0)),
        status if !status.may_become(TaskStatus::Cancelled) => return Ok(Changed::Illegal(task)),
        _ => {}
    }
    unheard::write_down(conn, [&mut task], now, *ask_every).await?;
    task.status = TaskStatus::Cancelled;
    task.cancel_requested_at = Some(now);
    task.settled_at = Some(now);
    diesel::update(tasks::table.find(task.id))
        .set((
            tasks::status.eq(task.status.code()),
            tasks::cancel_requested_at.eq(stored(now)),
            tasks::settled_at.eq(stored(now)),
            tasks::publish_due_at.eq(stored(now + span(*lease))),
            tasks::publish_owner.eq(owner.0.as_bytes().to_vec()),
            tasks::due_at.eq(next_deadline(&task, now, false).map(stored)),
        ))
        .execute(conn)
        .await?;
    notices::add(conn, NewNotice::of_task(&task).into_iter().collect(), now).await?;
    let open = diesel::update(responses::table)
        .filter(responses::task_id.eq(task.id))
        .filter(responses::is_open.eq(true))
        // Nothing is tried again: the answer is asked for at once, not when a pause is over.
        .set((
            responses::ask_at.eq(stored(now)),
            responses::retry_at.eq(None::<chrono::NaiveDateTime>),
        ))
        .execute(conn)
        .await?;
    Ok(Changed::Changed(
        task,
        u32::try_from(open).unwrap_or(u32::MAX),
    ))
}
