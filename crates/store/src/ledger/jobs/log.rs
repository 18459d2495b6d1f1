//! A datasource under lock, and what is added to its logs.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::jobs::{Job, Log, Mark};
use tasker_core::name::{Client, Identifier, TaskType};

use super::{Conn, now};
use crate::failure::Failure;
use crate::rows::{ChangeRow, RequestRow, SourceRow, stored};
use crate::schema::{job_changes, job_requests, job_sources};

/// The shortest difference of two times in the tables.
const TICK: TimeDelta = TimeDelta::microseconds(1);

/// The logs of a datasource. Their row is locked until the end of the transaction, so the numbers
/// and times given out here become visible in their order.
pub(super) struct Logs {
    datasource: TaskType,
    row: SourceRow,
    /// The database's clock, or a little more: later than every entry.
    pub(super) now: DateTime<Utc>,
    pub(super) marks: Vec<Mark>,
}

impl Logs {
    pub(super) async fn lock(conn: &mut Conn, datasource: &TaskType) -> Result<Self, Failure> {
        let row = match find(conn, datasource).await? {
            Some(row) => row,
            None => {
                let first = SourceRow {
                    datasource: datasource.as_str().to_owned(),
                    requests: 0,
                    changes: 0,
                    last_at: stored(now(conn).await?),
                };
                // Another process may do the same; one of them wins, both go on with its row.
                diesel::insert_or_ignore_into(job_sources::table)
                    .values(&first)
                    .execute(conn)
                    .await?;
                let made = find(conn, datasource).await?;
                made.ok_or_else(|| Failure::Corrupt {
                    table: "job_sources",
                    what: format!("datasource {datasource} was stored and is not there"),
                })?
            }
        };
        // Read under the lock: what committed before has an earlier time.
        let now = now(conn).await?.max(row.last_at.and_utc() + TICK);
        Ok(Self {
            datasource: datasource.clone(),
            row,
            now,
            marks: Vec::new(),
        })
    }

    /// The time of the next entry.
    fn next_time(&mut self) -> chrono::NaiveDateTime {
        let at = stored(self.now);
        self.row.last_at = at;
        self.now += TICK;
        at
    }

    fn mark(&mut self, log: Log, sequence: i64, client: &Client) {
        self.marks.push(Mark {
            datasource: self.datasource.clone(),
            log,
            sequence: u64::try_from(sequence).unwrap_or(0),
            client: client.clone(),
        });
    }

    /// A client asks something of the server. `bytes`: the length of the request.
    pub(super) async fn ask(
        &mut self,
        conn: &mut Conn,
        job: &Identifier,
        client: &Client,
        is_cancel: bool,
        bytes: usize,
    ) -> Result<(), Failure> {
        self.row.requests += 1;
        let sequence = self.row.requests;
        let entry = RequestRow {
            datasource: self.row.datasource.clone(),
            sequence,
            at: self.next_time(),
            job: job.as_str().to_owned(),
            client: client.as_str().to_owned(),
            is_cancel,
            bytes: length(bytes),
        };
        diesel::insert_into(job_requests::table)
            .values(&entry)
            .execute(conn)
            .await?;
        self.mark(Log::Requests, sequence, client);
        Ok(())
    }

    /// A job has changed.
    pub(super) async fn change(&mut self, conn: &mut Conn, job: &Job) -> Result<(), Failure> {
        self.row.changes += 1;
        let sequence = self.row.changes;
        let entry = ChangeRow {
            datasource: self.row.datasource.clone(),
            sequence,
            at: self.next_time(),
            job: job.job.as_str().to_owned(),
            client: job.client.as_str().to_owned(),
            status: job.outcome.status.code(),
            error: job.outcome.error.clone(),
            bytes: length(job.outcome.response.as_ref().map_or(0, |bytes| bytes.len())),
        };
        diesel::insert_into(job_changes::table)
            .values(&entry)
            .execute(conn)
            .await?;
        self.mark(Log::Changes, sequence, &job.client);
        Ok(())
    }

    /// Writes the numbers back, and tells what was added.
    pub(super) async fn end(self, conn: &mut Conn) -> Result<Vec<Mark>, Failure> {
        if !self.marks.is_empty() {
            diesel::update(job_sources::table.find(self.row.datasource))
                .set((
                    job_sources::requests.eq(self.row.requests),
                    job_sources::changes.eq(self.row.changes),
                    job_sources::last_at.eq(self.row.last_at),
                ))
                .execute(conn)
                .await?;
        }
        Ok(self.marks)
    }
}

async fn find(conn: &mut Conn, datasource: &TaskType) -> Result<Option<SourceRow>, Failure> {
    let row = lock!(
        job_sources::table
            .filter(job_sources::datasource.eq(datasource.as_str()))
            .select(SourceRow::as_select())
    )
    .first(conn)
    .await;
    Ok(row.optional()?)
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
