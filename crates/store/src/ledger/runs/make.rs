//! Runs and workers: made, restarted, deleted.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::id::RunUid;
use tasker_core::runs::{NewPuller, NewRun, Payloads, Restart, Run, RunKey};

use super::super::{Conn, insert_run_payloads, now};
use super::lock;
use crate::batch::at_most;
use crate::failure::{Failure, raced};
use crate::rows::{NewRunRow, RunPayloadRow, RunRow, int, payloads, stored};
use crate::schema::{deleted_runs, pull_workers, run_payloads, run_tasks, runs};

pub(super) async fn create(conn: &mut Conn, new: &NewRun) -> Result<Run, Failure> {
    let now = now(conn).await?;
    let (kind, payload) = match &new.payloads {
        Payloads::None => (payloads::NONE, None),
        Payloads::Same(payload) => (payloads::SAME, Some(payload.to_vec())),
        Payloads::Each(_) => (payloads::EACH, None),
    };
    let row = NewRunRow {
        uid: new.uid.0.as_bytes().to_vec(),
        client: new.client.as_str().to_owned(),
        num_tasks: int(new.num_tasks),
        next_task: 0,
        epoch: 0,
        reset_epoch: 0,
        payloads: kind,
        payload,
        created_at: stored(now),
    };
    diesel::insert_into(runs::table)
        .values(row)
        .execute(conn)
        .await?;
    let run = by_uid(conn, new.uid).await?;
    if let Payloads::Each(list) = &new.payloads {
        let rows = list.iter().zip(0..).map(|(payload, task)| RunPayloadRow {
            run_id: run.id,
            task,
            payload: payload.to_vec(),
        });
        insert_run_payloads(conn, rows.collect()).await?;
    }
    Ok(run)
}

async fn by_uid(conn: &mut Conn, uid: RunUid) -> Result<Run, Failure> {
    let row: RunRow = runs::table
        .filter(runs::uid.eq(uid.0.as_bytes().to_vec()))
        .select(RunRow::as_select())
        .first(conn)
        .await?;
    row.decode()
}

pub(super) async fn restart(
    conn: &mut Conn,
    (key, restart): &(RunKey, Restart),
) -> Result<bool, Failure> {
    let Some(run) = lock(conn, key).await? else {
        return Ok(false);
    };
    let epoch = run.epoch.saturating_add(1);
    let (reset_epoch, next_task) = match restart {
        Restart::Everything => (epoch, 0),
        Restart::Incomplete => (run.reset_epoch, run.next_task),
    };
    diesel::update(runs::table.find(run.id))
        .set((
            runs::epoch.eq(epoch),
            runs::reset_epoch.eq(reset_epoch),
            runs::next_task.eq(next_task),
        ))
        .execute(conn)
        .await?;
    Ok(true)
}

/// The run goes first; what is left of it nobody finds any more.
pub(super) async fn delete(conn: &mut Conn, key: &RunKey) -> Result<bool, Failure> {
    let Some(run) = lock(conn, key).await? else {
        return Ok(false);
    };
    diesel::delete(runs::table.find(run.id))
        .execute(conn)
        .await?;
    diesel::insert_into(deleted_runs::table)
        .values(deleted_runs::run_id.eq(run.id))
        .execute(conn)
        .await?;
    Ok(true)
}

/// Removes rows of one deleted run.
pub(super) async fn sweep(conn: &mut Conn, limit: &u32) -> Result<bool, Failure> {
    let limit = at_most(*limit);
    // Several sweepers share the notes.
    let notes: Vec<i64> = lock_what_is_free!(
        deleted_runs::table
            .order(deleted_runs::run_id)
            .limit(1)
            .select(deleted_runs::run_id)
    )
    .load(conn)
    .await?;
    let [run] = notes[..] else {
        return Ok(false);
    };
    let tasks: Vec<i32> = run_tasks::table
        .filter(run_tasks::run_id.eq(run))
        .order((run_tasks::run_id, run_tasks::task))
        .limit(limit as i64)
        .select(run_tasks::task)
        .load(conn)
        .await?;
    if let (Some(first), Some(last)) = (tasks.iter().min(), tasks.iter().max()) {
        diesel::delete(
            run_tasks::table
                .filter(run_tasks::run_id.eq(run))
                .filter(run_tasks::task.between(first, last)),
        )
        .execute(conn)
        .await?;
    }
    if tasks.len() == limit {
        return Ok(true);
    }
    diesel::delete(run_payloads::table.filter(run_payloads::run_id.eq(run)))
        .execute(conn)
        .await?;
    diesel::delete(deleted_runs::table.find(run))
        .execute(conn)
        .await?;
    Ok(true)
}

pub(super) async fn register(conn: &mut Conn, worker: &NewPuller) -> Result<i64, Failure> {
    let now = now(conn).await?;
    let session = worker.session.map(|session| session.to_vec());
    let known = async |conn: &mut Conn| -> Result<Option<i64>, Failure> {
        Ok(pull_workers::table
            .filter(pull_workers::client.eq(worker.client.as_str()))
            .filter(pull_workers::uuid.eq(worker.name.as_str()))
            .select(pull_workers::id)
            .first(conn)
            .await
            .optional()?)
    };
    if let Some(id) = known(conn).await? {
        diesel::update(pull_workers::table.find(id))
            .set((
                pull_workers::hostname.eq(&worker.hostname),
                pull_workers::pid.eq(worker.pid),
                pull_workers::session.eq(session),
                pull_workers::registered_at.eq(stored(now)),
            ))
            .execute(conn)
            .await?;
        return Ok(id);
    }
    diesel::insert_into(pull_workers::table)
        .values((
            pull_workers::client.eq(worker.client.as_str()),
            pull_workers::uuid.eq(worker.name.as_str()),
            pull_workers::hostname.eq(&worker.hostname),
            pull_workers::pid.eq(worker.pid),
            pull_workers::session.eq(session),
            pull_workers::registered_at.eq(stored(now)),
        ))
        .execute(conn)
        .await
        .map_err(raced)?;
    known(conn).await?.ok_or(Failure::Raced)
}
