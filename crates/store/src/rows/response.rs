//! Rows of `responses` and `endpoints`.

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use tasker_core::id::{BootId, JournalUid};
use tasker_core::name::{EndpointName, TaskType};
use tasker_core::state::ResponseState;
use tasker_core::store::Endpoint;
use tasker_core::task::{Progress, TaskHead, TaskResponse};

use super::{corrupt, int, stored, unsigned, uuid};
use crate::failure::Failure;
use crate::schema::{endpoints, responses};

const TABLE: &str = "responses";

/// A response without its number: what is inserted, changed and written back.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = responses, treat_none_as_null = true)]
pub(crate) struct ResponseBody {
    pub task_id: i64,
    pub task_type: String,
    pub endpoint: String,
    pub state: i16,
    pub attempt: i32,
    pub final_attempt: i32,
    pub run: i32,
    pub expected: bool,
    pub presumed: bool,
    pub late: bool,
    pub errnr: Option<i32>,
    pub errmsg: Option<String>,
    pub payload: Option<Vec<u8>>,
    pub progress_percent: Option<i16>,
    pub progress_note: Option<String>,
    pub created_at: NaiveDateTime,
    pub received_at: Option<NaiveDateTime>,
    pub started_at: Option<NaiveDateTime>,
    pub finished_at: Option<NaiveDateTime>,
    pub last_modified_at: NaiveDateTime,
    pub elapsed_ms: Option<i64>,
    pub ask_at: Option<NaiveDateTime>,
    pub retry_at: Option<NaiveDateTime>,
}

impl ResponseBody {
    /// A row of which nothing has been heard yet.
    pub(crate) fn waiting(
        task: &TaskHead,
        endpoint: &EndpointName,
        expected: bool,
        now: DateTime<Utc>,
        ask_at: DateTime<Utc>,
    ) -> Self {
        Self {
            task_id: task.id,
            task_type: task.task_type.as_str().to_owned(),
            endpoint: endpoint.as_str().to_owned(),
            state: ResponseState::Waiting.code(),
            attempt: 1,
            final_attempt: int(task.retry.max_attempts),
            run: 0,
            expected,
            presumed: false,
            late: false,
            errnr: None,
            errmsg: None,
            payload: None,
            progress_percent: None,
            progress_note: None,
            created_at: stored(now),
            received_at: None,
            started_at: None,
            finished_at: None,
            last_modified_at: stored(now),
            elapsed_ms: None,
            ask_at: Some(stored(ask_at)),
            retry_at: None,
        }
    }

    /// About how many bytes it adds to a statement.
    pub(crate) fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.payload.as_ref().map_or(0, Vec::len)
            + text(&self.errmsg)
            + text(&self.progress_note)
            + self.endpoint.len()
            + 320
    }

    pub(crate) fn state(&self) -> Result<ResponseState, Failure> {
        ResponseState::from_code(self.state).ok_or_else(|| Failure::Corrupt {
            table: TABLE,
            what: format!("task {}, endpoint {}: state", self.task_id, self.endpoint),
        })
    }
}

/// A stored response.
#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = responses)]
pub(crate) struct ResponseRow {
    pub id: i64,
    #[diesel(embed)]
    pub body: ResponseBody,
}

impl ResponseRow {
    pub(crate) fn decode(self) -> Result<TaskResponse, Failure> {
        let id = self.id;
        let state = self.body.state()?;
        let body = self.body;
        let utc = |at: Option<NaiveDateTime>| at.map(|at| at.and_utc());
        let progress = match body.progress_percent {
            None => None,
            Some(percent) => Some(Progress {
                percent: u8::try_from(percent).map_err(|e| corrupt(TABLE, id, e))?,
                note: body.progress_note,
            }),
        };
        Ok(TaskResponse {
            id,
            task_id: body.task_id,
            endpoint: EndpointName::parse(&body.endpoint)
                .map_err(|_| corrupt(TABLE, id, "endpoint"))?,
            state,
            attempt: unsigned(TABLE, id, body.attempt)?,
            run: unsigned(TABLE, id, body.run)?,
            expected: body.expected,
            presumed: body.presumed,
            late: body.late,
            retry_at: utc(body.retry_at),
            errnr: body.errnr,
            errmsg: body.errmsg,
            payload: body.payload.map(Bytes::from),
            progress,
            created_at: body.created_at.and_utc(),
            received_at: utc(body.received_at),
            started_at: utc(body.started_at),
            finished_at: utc(body.finished_at),
            last_modified_at: body.last_modified_at.and_utc(),
            elapsed_ms: body.elapsed_ms.and_then(|ms| u64::try_from(ms).ok()),
        })
    }
}

/// A worker that has been heard of.
#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = endpoints)]
pub(crate) struct EndpointRow {
    pub task_type: String,
    pub name: String,
    pub journal: Option<Vec<u8>>,
    pub boot: Option<Vec<u8>>,
    pub old_boots: Vec<u8>,
    pub first_seen_at: NaiveDateTime,
    pub last_seen_at: NaiveDateTime,
    pub hello_at: Option<NaiveDateTime>,
}

impl EndpointRow {
    /// One that was never heard of before and has not said who it is.
    pub(crate) fn unnamed(task_type: &TaskType, name: &EndpointName, now: NaiveDateTime) -> Self {
        Self {
            task_type: task_type.as_str().to_owned(),
            name: name.as_str().to_owned(),
            journal: None,
            boot: None,
            old_boots: Vec::new(),
            first_seen_at: now,
            last_seen_at: now,
            hello_at: None,
        }
    }

    pub(crate) fn decode(self, online_since: DateTime<Utc>) -> Result<Endpoint, Failure> {
        let bad = |what: &str| Failure::Corrupt {
            table: "endpoints",
            what: format!("{} {}: {what}", self.task_type, self.name),
        };
        let identity = |bytes: &Option<Vec<u8>>| {
            bytes
                .as_deref()
                .map(|bytes| uuid("endpoints", 0, bytes))
                .transpose()
        };
        let last_seen_at = self.last_seen_at.and_utc();
        Ok(Endpoint {
            task_type: TaskType::parse(&self.task_type).map_err(|_| bad("task_type"))?,
            name: EndpointName::parse(&self.name).map_err(|_| bad("name"))?,
            journal: identity(&self.journal)?.map(JournalUid),
            boot: identity(&self.boot)?.map(BootId),
            first_seen_at: self.first_seen_at.and_utc(),
            last_seen_at,
            is_online: last_seen_at >= online_since,
        })
    }
}
