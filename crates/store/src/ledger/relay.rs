//! Step 4 of the line, publish: what is due, and what the broker confirmed.

use std::time::Duration;

use chrono::NaiveDateTime;
use diesel::dsl::case_when;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, SmallInt, Timestamp};
use diesel_async::RunQueryDsl;
use tasker_core::id::{ProcessId, TaskId};
use tasker_core::state::TaskStatus;
use tasker_core::task::Task;

use super::{Conn, now};
use crate::batch::{MAX_KEPT, MAX_LIST, at_most};
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
            .filter(among!(tasks.id, &candidates))
            .filter(due)
            .order(tasks::id)
            .select(tasks::id)
    )
    .load(conn)
    .await?;
    diesel::update(tasks::table.filter(among!(tasks.id, &taken)))
        .set((
            tasks::publish_due_at.eq(stored(now + span(*lease))),
            tasks::publish_owner.eq(owner.0.as_bytes().to_vec()),
        ))
        .execute(conn)
        .await?;
    let rows: Vec<StoredRow> = tasks::table
        .filter(among!(tasks.id, &taken))
        .order(tasks::id)
        .select(StoredRow::as_select())
        .load(conn)
        .await?;
    rows.into_iter().map(|row| Ok(row.decode()?.0)).collect()
}

/// A cancel that came while the task was on its way is still to be published.
pub(super) async fn mark_sent(conn: &mut Conn, sent: &[(TaskId, bool)]) -> Result<(), Failure> {
    type Time = Nullable<Timestamp>;
    let now = Some(stored(now(conn).await?));
    let nothing = None::<NaiveDateTime>;
    let (mut cancels, mut firsts): (Vec<_>, Vec<_>) =
        sent.iter().copied().partition(|(_, is_cancel)| *is_cancel);
    // Locks are taken by id.
    cancels.sort_unstable();
    firsts.sort_unstable();
    for part in firsts.chunks(MAX_KEPT) {
        let is_new = tasks::status.eq(TaskStatus::Created.code());
        let sent = TaskStatus::Sent.code().into_sql::<SmallInt>();
        let is_done = tasks::cancel_requested_at.is_null();
        let is_first = tasks::sent_at.is_null();
        let ids = part.iter().map(|(id, _)| *id);
        let update =
            diesel::update(tasks::table.filter(among!(tasks.id, ids))).set((
                tasks::status.eq(case_when(is_new, sent).otherwise(tasks::status)),
                tasks::sent_at
                    .eq(case_when(is_first, now.into_sql::<Time>()).otherwise(tasks::sent_at)),
                tasks::publish_due_at
                    .eq(case_when(is_done, nothing.into_sql::<Time>())
                        .otherwise(tasks::publish_due_at)),
            ));
        kept!(update).execute(conn).await?;
    }
    for part in cancels.chunks(MAX_LIST) {
        diesel::update(tasks::table.filter(among!(tasks.id, part.iter().map(|(id, _)| *id))))
            .filter(tasks::cancel_requested_at.is_not_null())
            .set(tasks::publish_due_at.eq(nothing))
            .execute(conn)
            .await?;
    }
    Ok(())
}
