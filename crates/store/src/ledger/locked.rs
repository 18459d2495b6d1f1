//! Tasks under lock: read, changed, written back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::id::{TaskId, TaskUid};
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::task::TaskHead;

use super::Conn;
use crate::apply::{next_deadline, settle_now};
use crate::batch::MAX_LIST;
use crate::failure::Failure;
use crate::rows::{HeadRow, ResponseRow, int, stored};
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
                .filter(tasks::id.eq_any(part))
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

/// Settles a task if it is time, and writes it back.
pub(super) async fn settle_and_save(
    conn: &mut Conn,
    task: &mut TaskHead,
    now: DateTime<Utc>,
    settled: &mut Settled,
) -> Result<(), Failure> {
    if let Some(status) = settle_now(task, now) {
        settled.push((task.uid, status));
    }
    save_task(conn, task, next_deadline(task, now, false)).await
}

/// Writes back what operations change of a task: status, counters, deadlines.
pub(super) async fn save_task(
    conn: &mut Conn,
    task: &TaskHead,
    due_at: Option<DateTime<Utc>>,
) -> Result<(), Failure> {
    diesel::update(tasks::table.find(task.id))
        .set((
            tasks::status.eq(task.status.code()),
            tasks::expected.eq(int(task.counts.expected)),
            tasks::received.eq(int(task.counts.received)),
            tasks::finished.eq(int(task.counts.finished)),
            tasks::failed.eq(int(task.counts.failed)),
            tasks::wait_until.eq(stored(task.wait_until)),
            tasks::expires_at.eq(stored(task.expires_at)),
            tasks::settled_at.eq(task.settled_at.map(stored)),
            tasks::due_at.eq(due_at.map(stored)),
        ))
        .execute(conn)
        .await?;
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
            .filter(responses::id.eq_any(part))
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

/// Writes a row back.
pub(super) async fn save_response(conn: &mut Conn, row: &ResponseRow) -> Result<(), Failure> {
    diesel::update(responses::table.find(row.id))
        .set(&row.body)
        .execute(conn)
        .await?;
    Ok(())
}
