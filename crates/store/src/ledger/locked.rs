//! Tasks under lock: read, changed, written back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::id::{TaskId, TaskUid};
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::task::TaskHead;

use super::{Conn, save_tasks};
use crate::apply::{next_deadline, settle_now};
use crate::batch::MAX_LIST;
use crate::failure::Failure;
use crate::rows::{HeadRow, ResponseRow, TaskChange};
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

/// Settles tasks if it is time, and writes them back.
pub(super) async fn settle_and_save<'a>(
    conn: &mut Conn,
    tasks: impl IntoIterator<Item = &'a mut TaskHead>,
    now: DateTime<Utc>,
    settled: &mut Settled,
) -> Result<(), Failure> {
    let mut changes = Vec::new();
    for task in tasks {
        if let Some(status) = settle_now(task, now) {
            settled.push((task.uid, status));
        }
        changes.push(TaskChange::new(task, next_deadline(task, now, false)));
    }
    Ok(save_tasks(conn, changes).await?)
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
            .filter(responses::state.eq_any(UNDER_WAY))
            .select(ResponseRow::as_select())
            .load(conn)
            .await?;
        rows.extend(found);
    }
    Ok(rows)
}

/// The states of a row that its endpoint has and has not finished.
pub(super) const UNDER_WAY: [i16; 2] = [
    ResponseState::Received.code(),
    ResponseState::Running.code(),
];
