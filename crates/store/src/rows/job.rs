//! Rows of the tables of jobs.

use bytes::Bytes;
use chrono::NaiveDateTime;
use diesel::prelude::*;
use tasker_core::callback::CallbackUrl;
use tasker_core::jobs::{Asked, Change, Job, JobStatus, Outcome, Request};
use tasker_core::name::{Client, Identifier, TaskType};

use crate::failure::Failure;
use crate::schema::{job_changes, job_requests, job_sources, jobs};

fn corrupt(table: &'static str, what: impl std::fmt::Display) -> Failure {
    Failure::Corrupt {
        table,
        what: what.to_string(),
    }
}

fn status(table: &'static str, code: i16) -> Result<JobStatus, Failure> {
    JobStatus::from_code(code).ok_or_else(|| corrupt(table, format!("status {code}")))
}

fn sequence(table: &'static str, number: i64) -> Result<u64, Failure> {
    u64::try_from(number).map_err(|error| corrupt(table, error))
}

/// The logs of a datasource.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = job_sources)]
pub(crate) struct SourceRow {
    pub datasource: String,
    pub requests: i64,
    pub changes: i64,
    pub last_at: NaiveDateTime,
}

/// A job, without its request.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = jobs)]
pub(crate) struct JobRow {
    pub datasource: String,
    pub job: String,
    pub client: String,
    pub status: i16,
    pub response: Option<Vec<u8>>,
    pub error: Option<String>,
    pub changed: i32,
    pub cancel_requested_at: Option<NaiveDateTime>,
    pub task_uid: Option<Vec<u8>>,
    pub callback_url: Option<String>,
}

impl JobRow {
    /// Where its end is told.
    pub(crate) fn callback(&self) -> Result<Option<CallbackUrl>, Failure> {
        let url = self.callback_url.as_deref().map(CallbackUrl::parse);
        url.transpose().map_err(|e| corrupt("jobs", e))
    }

    pub(crate) fn decode(self) -> Result<Job, Failure> {
        let table = "jobs";
        Ok(Job {
            datasource: TaskType::parse(&self.datasource).map_err(|e| corrupt(table, e))?,
            job: Identifier::parse(&self.job).map_err(|e| corrupt(table, e))?,
            client: Client::parse(&self.client).map_err(|e| corrupt(table, e))?,
            outcome: Outcome {
                status: status(table, self.status)?,
                response: self.response.map(Bytes::from),
                error: self.error,
            },
        })
    }
}

/// An entry of the log of requests.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = job_requests)]
pub(crate) struct RequestRow {
    pub datasource: String,
    pub sequence: i64,
    pub at: NaiveDateTime,
    pub job: String,
    pub client: String,
    pub is_cancel: bool,
    pub bytes: i64,
}

impl RequestRow {
    /// `request`: what the job asks.
    pub(crate) fn decode(self, request: Option<Vec<u8>>) -> Result<Request, Failure> {
        let table = "job_requests";
        Ok(Request {
            sequence: sequence(table, self.sequence)?,
            at: self.at.and_utc(),
            job: Identifier::parse(&self.job).map_err(|e| corrupt(table, e))?,
            client: Client::parse(&self.client).map_err(|e| corrupt(table, e))?,
            asked: if self.is_cancel {
                Asked::Cancel
            } else {
                Asked::Submit(request.map(Bytes::from))
            },
        })
    }
}

/// An entry of the log of changes.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = job_changes)]
pub(crate) struct ChangeRow {
    pub datasource: String,
    pub sequence: i64,
    pub at: NaiveDateTime,
    pub job: String,
    pub client: String,
    pub status: i16,
    pub error: Option<String>,
    pub bytes: i64,
}

impl ChangeRow {
    /// `response`: the job's.
    pub(crate) fn decode(self, response: Option<Vec<u8>>) -> Result<Change, Failure> {
        let table = "job_changes";
        let status = status(table, self.status)?;
        Ok(Change {
            sequence: sequence(table, self.sequence)?,
            at: self.at.and_utc(),
            job: Job {
                datasource: TaskType::parse(&self.datasource).map_err(|e| corrupt(table, e))?,
                job: Identifier::parse(&self.job).map_err(|e| corrupt(table, e))?,
                client: Client::parse(&self.client).map_err(|e| corrupt(table, e))?,
                outcome: Outcome {
                    status,
                    response: response.filter(|_| status.has_response()).map(Bytes::from),
                    error: self.error,
                },
            },
        })
    }
}
