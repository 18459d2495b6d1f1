//! What workers say of themselves.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Binary, Text, Timestamp};
use diesel_async::RunQueryDsl;
use tasker_core::errnr;
use tasker_core::id::TaskUid;
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::{HelloAnswer, WorkerSign};
use tasker_core::task::{Audience, MAX_EXPIRES_IN_S, RunPolicy, TaskHead};
use tasker_core::wire::{CancelEntry, Had};

use super::locked::{Settled, UNDER_WAY, load_under_way, lock_tasks, settle_and_save};
use super::{Conn, now, open, save_responses};
use crate::batch::MAX_LIST;
use crate::failure::{Failure, raced};
use crate::rows::{EndpointRow, ResponseBody, seconds, stored};
use crate::schema::{endpoints, responses, tasks};

pub(super) async fn hello(
    conn: &mut Conn,
    (sign, fresh): &(WorkerSign, bool),
) -> Result<HelloAnswer, Failure> {
    let now = now(conn).await?;
    let heard = note_worker(conn, sign, now).await?;
    let mut settled = Settled::new();
    if heard == Heard::NewJournal {
        give_up_runs(conn, sign, now, &mut settled).await?;
        stop_doubting(conn, sign, now).await?;
    }
    if heard != Heard::Stale {
        open::ask_now(conn, sign, stored(now)).await?;
    }
    let had = if heard == Heard::NewJournal || *fresh {
        had(conn, sign, now).await?
    } else {
        Vec::new()
    };
    Ok(HelloAnswer {
        now,
        cancelled: cancelled(conn, sign, now).await?,
        had,
        settled,
    })
}

/// What a hello tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// A first start, a restart or a reconnect.
    Known,
    /// The endpoint had another journal before.
    NewJournal,
    /// It was overtaken by that of a later start: the broker delivered it again.
    Stale,
}

/// What is known of the worker before its hello: journal, boot, the boots before.
type Before = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>);

/// How many bytes a boot has, and how many boots before the present one are remembered.
const BOOT_BYTES: usize = 16;
const OLD_BOOTS: usize = 8;

/// Writes down who the worker is. Two hellos of one endpoint wait for each other here.
async fn note_worker(
    conn: &mut Conn,
    sign: &WorkerSign,
    now: DateTime<Utc>,
) -> Result<Heard, Failure> {
    let key = (sign.task_type.as_str(), sign.endpoint.as_str());
    let journal = sign.journal.0.as_bytes().to_vec();
    let boot = sign.boot.0.as_bytes().to_vec();
    let before: Option<Before> = lock!(
        endpoints::table
            .filter(endpoints::task_type.eq(key.0))
            .filter(endpoints::name.eq(key.1))
            .select((endpoints::journal, endpoints::boot, endpoints::old_boots))
    )
    .first(conn)
    .await
    .optional()?;
    let Some((old_journal, old_boot, mut old_boots)) = before else {
        let row = EndpointRow {
            journal: Some(journal),
            boot: Some(boot),
            hello_at: Some(stored(now)),
            ..EndpointRow::unnamed(&sign.task_type, &sign.endpoint, stored(now))
        };
        diesel::insert_into(endpoints::table)
            .values(row)
            .execute(conn)
            .await
            .map_err(raced)?;
        return Ok(Heard::Known);
    };
    if old_boots.chunks(BOOT_BYTES).any(|old| old == boot) {
        return Ok(Heard::Stale);
    }
    if let Some(old) = old_boot.filter(|old| *old != boot) {
        old_boots.splice(0..0, old);
        old_boots.truncate(OLD_BOOTS * BOOT_BYTES);
    }
    let is_new_journal = old_journal.is_some_and(|old| old != journal);
    let update = diesel::update(endpoints::table.find(key)).set((
        endpoints::journal.eq(journal),
        endpoints::boot.eq(boot),
        endpoints::old_boots.eq(old_boots),
        endpoints::last_seen_at.eq(stored(now)),
        endpoints::hello_at.eq(stored(now)),
    ));
    kept!(update).execute(conn).await?;
    Ok(if is_new_journal {
        Heard::NewJournal
    } else {
        Heard::Known
    })
}

/// The old journal is gone, and with it whoever could tell that silence was misread.
async fn stop_doubting(
    conn: &mut Conn,
    sign: &WorkerSign,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let doubted = open::of_endpoint(conn, sign, &[ResponseState::Interrupted]).await?;
    let ids: Vec<i64> = doubted.iter().map(|row| row.id).collect();
    for part in ids.chunks(MAX_LIST) {
        diesel::update(responses::table.filter(among!(responses.id, part)))
            .set((
                responses::presumed.eq(false),
                responses::errnr.eq(errnr::JOURNAL_LOST),
                responses::errmsg.eq(errnr::meaning(errnr::JOURNAL_LOST)),
                responses::last_modified_at.eq(stored(now)),
                responses::ask_at.eq(None::<chrono::NaiveDateTime>),
            ))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// The old journal is gone, and with it the knowledge of what was running.
async fn give_up_runs(
    conn: &mut Conn,
    sign: &WorkerSign,
    now: DateTime<Utc>,
    settled: &mut Settled,
) -> Result<(), Failure> {
    let found = open::of_endpoint(conn, sign, &UNDER_WAY).await?;
    let (ids, tasks): (Vec<_>, Vec<_>) = found.iter().map(|row| (row.id, row.task_id)).unzip();
    let mut tasks = lock_tasks(conn, tasks).await?;
    let (mut touched, mut changed) = (BTreeSet::new(), Vec::new());
    for mut row in load_under_way(conn, &ids).await? {
        let Some(task) = tasks.get_mut(&row.body.task_id) else {
            continue;
        };
        give_up_run(task, &mut row.body, now)?;
        touched.insert(task.id);
        changed.push(row);
    }
    save_responses(conn, changed).await?;
    let touched = tasks.values_mut().filter(|task| touched.contains(&task.id));
    settle_and_save(conn, touched, now, false, settled).await
}

fn give_up_run(
    task: &mut TaskHead,
    row: &mut ResponseBody,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let from = row.state()?;
    let may_rerun = task.run_policy == RunPolicy::Idempotent
        && task.status != TaskStatus::Cancelled
        && now < task.expires_at;
    let to = if may_rerun {
        // Ordered by the lost journal, not by the budget of automatic retries.
        row.attempt += 1;
        row.final_attempt += 1;
        row.run = 0;
        row.ask_at = Some(stored(now));
        row.retry_at = row.ask_at;
        ResponseState::Retrying
    } else {
        row.errnr = Some(errnr::JOURNAL_LOST);
        row.errmsg = errnr::meaning(errnr::JOURNAL_LOST).map(str::to_owned);
        row.finished_at = Some(stored(now));
        row.ask_at = None;
        ResponseState::Interrupted
    };
    row.state = to.code();
    row.last_modified_at = stored(now);
    if row.expected {
        task.counts.step(from, to);
    }
    Ok(())
}

/// Unexpired tasks that the endpoint has had, up to which attempt it must not run them (again).
/// What it has now it knows from its own journal.
async fn had(conn: &mut Conn, sign: &WorkerSign, now: DateTime<Utc>) -> Result<Vec<Had>, Failure> {
    let rows: Vec<(Vec<u8>, i16, i32)> = responses::table
        .inner_join(tasks::table)
        .filter(responses::task_type.eq(sign.task_type.as_str()))
        .filter(responses::endpoint.eq(sign.endpoint.as_str()))
        .filter(tasks::expires_at.gt(stored(now)))
        .order(tasks::id)
        .select((tasks::uid, responses::state, responses::attempt))
        .load(conn)
        .await?;
    let mut had = Vec::new();
    for (uid, state, attempt) in rows {
        let is_finished = ResponseState::from_code(state).is_some_and(ResponseState::is_finished);
        let attempt = attempt
            .unsigned_abs()
            .saturating_sub(u32::from(!is_finished));
        if attempt > 0 {
            let uid = task_uid(&uid)?;
            had.push(Had { uid, attempt });
        }
    }
    Ok(had)
}

/// Unexpired cancelled tasks that the worker may have or may still get. The index is named, because
/// databases that look at their statistics rather read all tasks there are.
async fn cancelled(
    conn: &mut Conn,
    sign: &WorkerSign,
    now: DateTime<Utc>,
) -> Result<Vec<CancelEntry>, Failure> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Binary)]
        uid: Vec<u8>,
        #[diesel(sql_type = Timestamp)]
        expires_at: chrono::NaiveDateTime,
    }
    // No task that was cancelled before can be alive.
    let since = now - seconds(MAX_EXPIRES_IN_S);
    let text = format!(
        "SELECT tasks.uid, tasks.expires_at FROM tasks {by_index} \
         LEFT JOIN responses ON responses.task_id = tasks.id AND responses.endpoint = ? \
         WHERE tasks.task_type = ? AND tasks.cancel_requested_at >= ? \
         AND tasks.status = {cancelled} AND tasks.expires_at > ? \
         AND (tasks.audience <> {listed} OR responses.is_open = 1) ORDER BY tasks.id",
        by_index = by_index!("tasks_cancelled"),
        cancelled = TaskStatus::Cancelled.code(),
        listed = Audience::Listed.code(),
    );
    let query = diesel::sql_query(text)
        .bind::<Text, _>(sign.endpoint.as_str())
        .bind::<Text, _>(sign.task_type.as_str())
        .bind::<Timestamp, _>(stored(since))
        .bind::<Timestamp, _>(stored(now));
    let found: Vec<Found> = kept!(query).load(conn).await?;
    let entry = |found: Found| {
        Ok(CancelEntry {
            uid: task_uid(&found.uid)?,
            expires_at: found.expires_at.and_utc(),
        })
    };
    found.into_iter().map(entry).collect()
}

fn task_uid(bytes: &[u8]) -> Result<TaskUid, Failure> {
    let uid = uuid::Uuid::from_slice(bytes).map_err(|e| Failure::Corrupt {
        table: "tasks",
        what: format!("uid: {e}"),
    })?;
    Ok(TaskUid(uid))
}
