//! What changes jobs: submit, cancel, update, forget.
//!
//! What ends a job stores also whom to tell, in the same transaction.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::account::ClientScope;
use tasker_core::callback::CallbackUrl;
use tasker_core::jobs::{
    Cancelled, Job, JobStatus, MAX_CHANGES, Marked, Move, NewJob, Outcome, Submitted, Update,
    Updated, judge,
};
use tasker_core::name::{Identifier, TaskType};
use tasker_core::notice::NewNotice;

use super::log::Logs;
use super::{Conn, notices, now};
use crate::batch::at_most;
use crate::failure::Failure;
use crate::rows::{JobRow, span, stored};
use crate::schema::{job_changes, job_requests, jobs};

/// A job. Its datasource is locked, so nobody else changes it.
pub(super) async fn find(
    conn: &mut Conn,
    datasource: &TaskType,
    job: &Identifier,
) -> Result<Option<JobRow>, Failure> {
    let row = jobs::table
        .filter(jobs::datasource.eq(datasource.as_str()))
        .filter(jobs::job.eq(job.as_str()))
        .select(JobRow::as_select())
        .first(conn)
        .await;
    Ok(row.optional()?)
}

pub(super) async fn submit(conn: &mut Conn, new: &NewJob) -> Result<Marked<Submitted>, Failure> {
    let mut logs = Logs::lock(conn, &new.datasource).await?;
    if let Some(row) = find(conn, &new.datasource, &new.job).await? {
        let told = row.callback()?;
        let known = row.decode()?;
        let asked: Option<Vec<u8>> = jobs::table
            .filter(jobs::datasource.eq(new.datasource.as_str()))
            .filter(jobs::job.eq(new.job.as_str()))
            .select(jobs::request)
            .first(conn)
            .await?;
        let is_same = known.client == new.client
            && asked.as_deref() == new.request.as_deref()
            && told == new.callback_url;
        let answer = if is_same {
            Submitted::Same(known)
        } else {
            Submitted::Reused
        };
        let marks = logs.end(conn).await?;
        return Ok(Marked { answer, marks });
    }
    let job = Job {
        datasource: new.datasource.clone(),
        job: new.job.clone(),
        client: new.client.clone(),
        outcome: Outcome::of(JobStatus::Submitted),
    };
    diesel::insert_into(jobs::table)
        .values((
            jobs::datasource.eq(new.datasource.as_str()),
            jobs::job.eq(new.job.as_str()),
            jobs::client.eq(new.client.as_str()),
            jobs::status.eq(JobStatus::Submitted.code()),
            jobs::request.eq(new.request.as_deref()),
            jobs::changed.eq(0),
            jobs::created_at.eq(stored(logs.now)),
            jobs::task_uid.eq(new.task.map(|uid| uid.0.as_bytes().to_vec())),
            jobs::callback_url.eq(new.callback_url.as_ref().map(CallbackUrl::as_str)),
        ))
        .execute(conn)
        .await?;
    let bytes = new.request.as_ref().map_or(0, Bytes::len);
    logs.ask(conn, &new.job, &new.client, false, bytes).await?;
    logs.change(conn, &job).await?;
    let marks = logs.end(conn).await?;
    let answer = Submitted::New(job);
    Ok(Marked { answer, marks })
}

pub(super) async fn cancel(
    conn: &mut Conn,
    (scope, datasource, name): &(ClientScope, TaskType, Identifier),
) -> Result<Marked<Cancelled>, Failure> {
    let mut logs = Logs::lock(conn, datasource).await?;
    let Some(row) = find(conn, datasource, name).await? else {
        let (answer, marks) = (Cancelled::Unknown, logs.end(conn).await?);
        return Ok(Marked { answer, marks });
    };
    let was_asked = row.cancel_requested_at.is_some();
    let job = row.decode()?;
    if !scope.covers(&job.client) {
        let (answer, marks) = (Cancelled::Foreign, logs.end(conn).await?);
        return Ok(Marked { answer, marks });
    }
    if !was_asked && !job.outcome.status.is_final() {
        diesel::update(jobs::table.find((datasource.as_str(), name.as_str())))
            .set(jobs::cancel_requested_at.eq(stored(logs.now)))
            .execute(conn)
            .await?;
        logs.ask(conn, name, &job.client, true, 0).await?;
    }
    let marks = logs.end(conn).await?;
    let answer = Cancelled::Asked(job);
    Ok(Marked { answer, marks })
}

pub(super) async fn update(conn: &mut Conn, update: &Update) -> Result<Marked<Updated>, Failure> {
    let mut logs = Logs::lock(conn, &update.datasource).await?;
    let found = find(conn, &update.datasource, &update.job).await?;
    let answer = match found {
        None => Updated::Unknown,
        Some(row) => move_job(conn, &mut logs, row, update).await?,
    };
    let marks = logs.end(conn).await?;
    Ok(Marked { answer, marks })
}

async fn move_job(
    conn: &mut Conn,
    logs: &mut Logs,
    row: JobRow,
    update: &Update,
) -> Result<Updated, Failure> {
    let (changed, callback) = (row.changed, row.callback()?);
    let mut job = row.decode()?;
    if update.client.as_ref().is_some_and(|c| *c != job.client) {
        return Ok(Updated::Foreign);
    }
    match judge(&job.outcome, &update.outcome) {
        Move::Same => return Ok(Updated::Same(job)),
        Move::Illegal => return Ok(Updated::Illegal(job)),
        Move::Legal => {}
    }
    if is_often(changed) && !update.outcome.status.is_final() {
        return Ok(Updated::TooOften(job));
    }
    job.outcome = update.outcome.clone();
    save(conn, logs, &job, callback).await?;
    Ok(Updated::Moved(job))
}

/// Whether a job has changed so often that it may only end.
pub(super) fn is_often(changed: i32) -> bool {
    i64::from(changed) >= i64::from(MAX_CHANGES)
}

/// Writes a job back that has changed, logs it, and if it ended so stores whom to tell.
pub(super) async fn save(
    conn: &mut Conn,
    logs: &mut Logs,
    job: &Job,
    callback: Option<CallbackUrl>,
) -> Result<(), Failure> {
    let outcome = &job.outcome;
    let final_at = outcome.status.is_final().then(|| stored(logs.now));
    diesel::update(jobs::table.find((job.datasource.as_str(), job.job.as_str())))
        .set((
            jobs::status.eq(outcome.status.code()),
            jobs::response.eq(outcome.response.as_deref()),
            jobs::error.eq(outcome.error.as_deref()),
            jobs::changed.eq(jobs::changed + 1),
            jobs::final_at.eq(final_at),
        ))
        .execute(conn)
        .await?;
    let callback = callback.filter(|_| outcome.status.is_final());
    let told = callback.map(|url| NewNotice::of_job(job, url, logs.now));
    notices::add(conn, Vec::from_iter(told), logs.now).await?;
    logs.change(conn, job).await
}

/// Final jobs are changed by nobody, so no datasource is locked.
pub(super) async fn forget(
    conn: &mut Conn,
    (final_for, limit): &(Duration, u32),
) -> Result<(u32, bool), Failure> {
    let limit = at_most(*limit);
    let until = now(conn).await? - span(*final_for);
    let old: Vec<(String, String)> = lock_what_is_free!(
        jobs::table
            .filter(jobs::final_at.le(stored(until)))
            .order(jobs::final_at)
            .limit(limit as i64)
            .select((jobs::datasource, jobs::job))
    )
    .load(conn)
    .await?;
    let count = old.len();
    let mut by_source: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (datasource, job) in old {
        by_source.entry(datasource).or_default().push(job);
    }
    for (datasource, names) in by_source {
        let requests = job_requests::table
            .filter(job_requests::datasource.eq(&datasource))
            .filter(job_requests::job.eq_any(&names));
        diesel::delete(requests).execute(conn).await?;
        let changes = job_changes::table
            .filter(job_changes::datasource.eq(&datasource))
            .filter(job_changes::job.eq_any(&names));
        diesel::delete(changes).execute(conn).await?;
        notices::forget_jobs(conn, &datasource, &names).await?;
        let gone = jobs::table
            .filter(jobs::datasource.eq(&datasource))
            .filter(jobs::job.eq_any(&names));
        diesel::delete(gone).execute(conn).await?;
    }
    Ok((u32::try_from(count).unwrap_or(u32::MAX), count == limit))
}
