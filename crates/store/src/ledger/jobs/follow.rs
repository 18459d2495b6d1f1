//! Jobs whose server is a worker: which of them wait for a step, and how they follow their task.

use std::time::Duration;

use bytes::Bytes;
use chrono::NaiveDateTime;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text, Timestamp};
use diesel_async::RunQueryDsl;
use tasker_core::id::{TaskId, TaskUid};
use tasker_core::jobs::{Due, Job, JobStatus, Marked, Outcome, Unfollowed, outcome_of};
use tasker_core::name::{Client, Identifier, TaskType};
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::task::TaskResponse;

use super::log::Logs;
use super::write::{find, is_often, save};
use super::{Conn, now};
use crate::batch::at_most;
use crate::failure::Failure;
use crate::rows::{ResponseRow, span, stored};
use crate::schema::{responses, tasks};

/// An open job of which its task, or its task's response, knows more, or less.
#[derive(Debug, QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    job: String,
    #[diesel(sql_type = Text)]
    client: String,
    #[diesel(sql_type = Binary)]
    task_uid: Vec<u8>,
    #[diesel(sql_type = Timestamp)]
    created_at: NaiveDateTime,
    /// Read only if there is no task.
    #[diesel(sql_type = Nullable<Binary>)]
    request: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    task_id: Option<TaskId>,
    #[diesel(sql_type = BigInt)]
    is_moved: i64,
}

impl Found {
    /// `since`: older jobs get no task any more.
    fn decode(self, since: NaiveDateTime) -> Result<Unfollowed, Failure> {
        let corrupt = |what: String| Failure::Corrupt {
            table: "jobs",
            what,
        };
        let due = match self.task_id {
            None if self.created_at < since => Due::GiveUp,
            None => {
                let uid = uuid::Uuid::from_slice(&self.task_uid);
                Due::Perform {
                    task: TaskUid(uid.map_err(|e| corrupt(e.to_string()))?),
                    client: Client::parse(&self.client).map_err(|e| corrupt(e.to_string()))?,
                    request: self.request.map(Bytes::from),
                }
            }
            Some(_) if self.is_moved != 0 => Due::Follow,
            Some(id) => Due::Cancel(id),
        };
        Ok(Unfollowed {
            job: Identifier::parse(&self.job).map_err(|e| corrupt(e.to_string()))?,
            due,
        })
    }
}

pub(super) async fn unfollowed(
    conn: &mut Conn,
    (datasource, within, limit): &(TaskType, Duration, u32),
) -> Result<Vec<Unfollowed>, Failure> {
    let since = stored(now(conn).await? - span(*within));
    let found: Vec<Found> = diesel::sql_query(unfollowed_text())
        .bind::<Text, _>(datasource.as_str())
        .bind::<BigInt, _>(at_most(*limit) as i64)
        .load(conn)
        .await?;
    found.into_iter().map(|found| found.decode(since)).collect()
}

/// Finished and cancelled tasks are not cancelled any more, so a job has one thing to be done with at a time.
fn unfollowed_text() -> String {
    let (accepted, retrying) = (JobStatus::Accepted.code(), JobStatus::Retrying.code());
    let moved = format!(
        "(responses.state <> {waiting} \
         AND NOT (jobs.status = {accepted} AND responses.state IN ({received}, {running})) \
         AND NOT (jobs.status = {retrying} AND responses.state = {retry}))",
        waiting = ResponseState::Waiting.code(),
        received = ResponseState::Received.code(),
        running = ResponseState::Running.code(),
        retry = ResponseState::Retrying.code(),
    );
    let cancel = format!(
        "(jobs.cancel_requested_at IS NOT NULL AND tasks.cancel_requested_at IS NULL \
         AND tasks.status <> {done})",
        done = TaskStatus::Done.code(),
    );
    format!(
        "SELECT jobs.job, jobs.client, jobs.task_uid, jobs.created_at, \
         CASE WHEN tasks.id IS NULL THEN jobs.request END AS request, tasks.id AS task_id, \
         CASE WHEN {moved} THEN 1 ELSE 0 END AS is_moved \
         FROM jobs {by_index} LEFT JOIN tasks ON tasks.uid = jobs.task_uid \
         LEFT JOIN responses ON responses.task_id = tasks.id \
         WHERE jobs.datasource = ? AND jobs.final_at IS NULL AND jobs.task_uid IS NOT NULL \
         AND (tasks.id IS NULL OR {moved} OR {cancel}) LIMIT ?",
        by_index = by_index!("jobs_open"),
    )
}

pub(super) async fn follow(
    conn: &mut Conn,
    (datasource, names): &(TaskType, Vec<Identifier>),
) -> Result<Marked<()>, Failure> {
    let mut logs = Logs::lock(conn, datasource).await?;
    for name in names {
        let Some(row) = find(conn, datasource, name).await? else {
            continue;
        };
        let (changed, callback) = (row.changed, row.callback()?);
        let Some(uid) = row.task_uid.clone() else {
            continue;
        };
        let mut job = row.decode()?;
        // Read under the datasource's lock: who comes later has seen no less.
        let Some(response) = response_of(conn, &uid).await? else {
            continue;
        };
        for outcome in way(&job, &response) {
            if is_often(changed) && !outcome.status.is_final() {
                continue;
            }
            job.outcome = outcome;
            save(conn, &mut logs, &job, callback.clone()).await?;
        }
    }
    let marks = logs.end(conn).await?;
    Ok(Marked { answer: (), marks })
}

/// The steps that lead a job to where its response says; none, if it stands there or no way leads there.
fn way(job: &Job, response: &TaskResponse) -> Vec<Outcome> {
    let now = job.outcome.status;
    let Some(goal) = outcome_of(now, response) else {
        return Vec::new();
    };
    let step = |status| match status == goal.status {
        true => goal.clone(),
        false => Outcome::of(status),
    };
    now.way_to(goal.status).into_iter().map(step).collect()
}

async fn response_of(conn: &mut Conn, task: &[u8]) -> Result<Option<TaskResponse>, Failure> {
    let row: Option<ResponseRow> = responses::table
        .inner_join(tasks::table)
        .filter(tasks::uid.eq(task))
        .select(ResponseRow::as_select())
        .first(conn)
        .await
        .optional()?;
    row.map(ResponseRow::decode).transpose()
}
