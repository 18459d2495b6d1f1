//! Tasks under lock: read, changed, written back.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::dsl::case_when;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Timestamp};
use diesel_async::RunQueryDsl;
use tasker_core::id::{TaskId, TaskUid};
use tasker_core::notice::NewNotice;
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::task::TaskHead;

use super::{Conn, notices};
use crate::apply::{next_deadline, settle_now};
use crate::batch::{MAX_KEPT, MAX_LIST};
use crate::failure::Failure;
use crate::rows::{Due, HeadRow, ResponseRow, TaskChange};
use crate::schema::{responses, tasks};

/// Tasks that the operation settled, for whoever waits for them.
pub(super) type Settled = Vec<(TaskUid, TaskStatus)>;

/// Locks tasks until the end of the transaction, by id. Numbers that no task has are left out.
pub(super) async fn lock_tasks(
    conn: &mut Conn,
    mut ids: Vec<TaskId>,
) -> Result<BTreeMap<TaskId, TaskHead>, Failure> {
    ids.sort_unstable();
    ids.dedup();
    let mut locked = BTreeMap::new();
    for part in ids.chunks(MAX_LIST) {
        let rows: Vec<HeadRow> = lock!(
            tasks::table
                .filter(among!(tasks.id, part))
                .order(tasks::id)
                .select(HeadRow::as_select())
        )
        .load(conn)
        .await?;
        for row in rows {
            let head = row.decode()?;
            locked.insert(head.id, head);
        }
    }
    Ok(locked)
}

/// Locks one task; `None` if there is none (any more).
pub(super) async fn lock_task(conn: &mut Conn, id: TaskId) -> Result<Option<TaskHead>, Failure> {
    Ok(lock_tasks(conn, vec![id]).await?.remove(&id))
}

/// Settles tasks if it is time, stores whom to tell, and writes them back. `is_end_handled`: see [`next_deadline`].
pub(super) async fn settle_and_save<'a>(
    conn: &mut Conn,
    tasks: impl IntoIterator<Item = &'a mut TaskHead>,
    now: DateTime<Utc>,
    is_end_handled: bool,
    settled: &mut Settled,
) -> Result<(), Failure> {
    let (mut changes, mut completed) = (Vec::new(), Vec::new());
    for task in tasks {
        let status = settle_now(task, now);
        let change = TaskChange::new(task, next_deadline(task, now, is_end_handled));
        changes.push(match status {
            None => (task.id, change),
            Some(_) => {
                completed.extend(NewNotice::of_task(task));
                (task.id, change.settled(task))
            }
        });
        settled.extend(status.map(|status| (task.uid, status)));
    }
    save_tasks(conn, changes).await?;
    notices::add(conn, completed, now).await
}

/// Writes back what changed of tasks: those that change alike, as nearly all of a batch do, in one
/// statement.
pub(super) async fn save_tasks(
    conn: &mut Conn,
    changes: Vec<(TaskId, TaskChange)>,
) -> Result<(), Failure> {
    let mut alike: BTreeMap<TaskChange, Vec<TaskId>> = BTreeMap::new();
    for (id, change) in changes {
        alike.entry(change).or_default().push(id);
    }
    for (change, ids) in alike {
        for part in ids.chunks(MAX_KEPT) {
            save_alike(conn, change, part).await?;
        }
    }
    Ok(())
}

async fn save_alike(conn: &mut Conn, change: TaskChange, ids: &[TaskId]) -> Result<(), Failure> {
    type Time = Nullable<Timestamp>;
    let is = |yes: bool| yes.into_sql::<Bool>();
    let settled_at = change.settled_at.flatten();
    let never = None::<NaiveDateTime>;
    let update = diesel::update(tasks::table.filter(among!(tasks.id, ids))).set((
        tasks::status.eq(change.status),
        tasks::expected.eq(change.expected),
        tasks::received.eq(change.received),
        tasks::finished.eq(change.finished),
        tasks::failed.eq(change.failed),
        tasks::settled_at.eq(case_when(
            is(change.settled_at.is_some()),
            settled_at.into_sql::<Time>(),
        )
        .otherwise(tasks::settled_at)),
        tasks::due_at.eq(case_when(
            is(change.due == Due::WaitUntil),
            tasks::wait_until.nullable(),
        )
        .when(is(change.due == Due::RowsDueAt), tasks::rows_due_at)
        .when(
            is(change.due == Due::ExpiresAt),
            tasks::expires_at.nullable(),
        )
        .otherwise(never.into_sql::<Time>())),
    ));
    kept!(update).execute(conn).await?;
    Ok(())
}

/// Reads those of the rows that their endpoint has and has not finished; their tasks are locked.
pub(super) async fn load_under_way(
    conn: &mut Conn,
    ids: &[i64],
) -> Result<Vec<ResponseRow>, Failure> {
    let mut rows = Vec::new();
    for part in ids.chunks(MAX_LIST) {
        let found: Vec<ResponseRow> = responses::table
            .filter(among!(responses.id, part))
            .filter(responses::state.eq_any(UNDER_WAY.map(ResponseState::code)))
            .select(ResponseRow::as_select())
            .load(conn)
            .await?;
        rows.extend(found);
    }
    Ok(rows)
}

/// The states of a row that its endpoint has and has not finished.
pub(super) const UNDER_WAY: [ResponseState; 2] = [ResponseState::Received, ResponseState::Running];
