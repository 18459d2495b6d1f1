//! The open rows of live endpoints that have not moved for a while.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use chrono::NaiveDateTime;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::id::{TaskId, TaskUid};
use tasker_core::name::{EndpointName, TaskType};
use tasker_core::state::TaskStatus;
use tasker_core::store::{Ask, Asked};
use tasker_core::wire::CancelEntry;

use super::{Conn, now, open};
use crate::batch::{MAX_LIST, at_most};
use crate::failure::Failure;
use crate::rows::{span, stored};
use crate::schema::{responses, tasks};

/// What decides how a task is asked about: its id, uid, status, end, and bytes.
type Sent = (TaskId, Vec<u8>, i16, NaiveDateTime, Vec<u8>);

/// A row that is due: its task, its type, its endpoint, its attempt.
type Due = (TaskId, String, String, i32);

pub(super) async fn take_asks(
    conn: &mut Conn,
    (limit, offline_after, ask_every): &(u32, Duration, Duration),
) -> Result<Vec<Ask>, Failure> {
    let now = now(conn).await?;
    let seen_since = stored(now - span(*offline_after));
    let found = open::due_to_be_asked(conn, seen_since, stored(now), at_most(*limit)).await?;
    let candidates: Vec<i64> = found.iter().map(|row| row.id).collect();
    let mut due: Vec<Due> = Vec::with_capacity(candidates.len());
    for part in candidates.chunks(MAX_LIST) {
        due.extend(take(conn, part, stored(now), stored(now + span(*ask_every))).await?);
    }
    let mut tasks = load_tasks(conn, &due).await?;
    let mut asks = Vec::with_capacity(due.len());
    for (task, task_type, endpoint, attempt) in due {
        let Some(what) = tasks.get_mut(&task) else {
            continue;
        };
        let bad = |what: &str| Failure::Corrupt {
            table: "responses",
            what: format!("task {task}: {what}"),
        };
        asks.push(Ask {
            task_type: TaskType::parse(&task_type).map_err(|_| bad("task_type"))?,
            endpoint: EndpointName::parse(&endpoint).map_err(|_| bad("endpoint"))?,
            what: match what {
                Asked::Entry { task, .. } => Asked::Entry {
                    attempt: attempt.unsigned_abs(),
                    task: task.clone(),
                },
                Asked::Cancel(entry) => Asked::Cancel(entry.clone()),
            },
        });
    }
    Ok(asks)
}

/// Takes those rows that are still due and that no other scheduler is taking.
async fn take(
    conn: &mut Conn,
    candidates: &[i64],
    now: NaiveDateTime,
    next: NaiveDateTime,
) -> Result<Vec<Due>, Failure> {
    let rows: Vec<(i64, Due)> = lock_what_is_free!(
        responses::table
            .filter(among!(responses.id, candidates))
            .filter(responses::ask_at.le(now))
            .order(responses::id)
            .select((
                responses::id,
                (
                    responses::task_id,
                    responses::task_type,
                    responses::endpoint,
                    responses::attempt,
                ),
            ))
    )
    .load(conn)
    .await?;
    let (ids, due): (Vec<i64>, Vec<Due>) = rows.into_iter().unzip();
    diesel::update(responses::table.filter(among!(responses.id, ids)))
        .set(responses::ask_at.eq(next))
        .execute(conn)
        .await?;
    Ok(due)
}

/// What is sent of each task; its bytes are read once, however many endpoints are asked.
async fn load_tasks(conn: &mut Conn, due: &[Due]) -> Result<HashMap<TaskId, Asked>, Failure> {
    let ids: BTreeMap<TaskId, ()> = due.iter().map(|row| (row.0, ())).collect();
    let ids: Vec<TaskId> = ids.into_keys().collect();
    let mut found = HashMap::with_capacity(ids.len());
    for part in ids.chunks(MAX_LIST) {
        let rows: Vec<Sent> = tasks::table
            .filter(among!(tasks.id, part))
            .select((
                tasks::id,
                tasks::uid,
                tasks::status,
                tasks::expires_at,
                tasks::wire,
            ))
            .load(conn)
            .await?;
        for (id, uid, status, expires_at, wire) in rows {
            let uid = uuid::Uuid::from_slice(&uid).map_err(|e| Failure::Corrupt {
                table: "tasks",
                what: format!("id {id}: {e}"),
            })?;
            let asked = if status == TaskStatus::Cancelled.code() {
                Asked::Cancel(CancelEntry {
                    uid: TaskUid(uid),
                    expires_at: expires_at.and_utc(),
                })
            } else {
                Asked::Entry {
                    attempt: 1,
                    task: Bytes::from(wire),
                }
            };
            found.insert(id, asked);
        }
    }
    Ok(found)
}
