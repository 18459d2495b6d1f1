//! Step 10 of the line, show: rows → JSON. Read only, and pure.
//!
//! Tasks and responses have the original's keys; what tasker adds to a response follows them, what
//! it adds to a task is in `summary`.

mod callback;
mod summary;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use tasker_core::store::{Endpoint, StoreError};
use tasker_core::task::{Progress, Task, TaskHead, TaskResponse};
use tasker_core::wire::WireTask;
use tasker_core::{BootId, JournalUid, TaskUid};
use utoipa::ToSchema;

pub(crate) use callback::CallbackJson;
pub(crate) use summary::{MAX_REASONS, Summary};

/// Times in JSON: UTC, to the second.
pub(crate) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A task; exactly the original's keys.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Task")]
pub(crate) struct TaskJson {
    /// CREATED, SENT, INCOMPLETE, DONE or CANCELLED, as stored.
    #[schema(example = "SENT")]
    status: &'static str,
    /// The endpoints that the client listed, duplicates folded; `null`: whoever is subscribed.
    endpoints: Option<Vec<String>>,
    /// When it was stored, UTC.
    #[schema(example = "2015-05-06 01:14:24")]
    start_time: String,
    /// The client's identifier.
    identifier: String,
    /// The task type.
    #[serde(rename = "type")]
    task_type: String,
    /// Its number.
    id: i64,
    /// The payload as it was sent.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
}

impl TaskJson {
    /// A task as JSON. Fails if its stored bytes are not those of a task.
    pub(crate) fn of(task: &Task) -> Result<Self, StoreError> {
        let corrupt = |what: String| StoreError::Corrupt {
            table: "tasks",
            what,
        };
        let wire = WireTask::parse(&task.wire).map_err(|error| corrupt(error.to_string()))?;
        let head = &task.head;
        Ok(Self {
            status: head.status.as_str(),
            endpoints: task
                .endpoints
                .as_ref()
                .map(|list| list.iter().map(ToString::to_string).collect()),
            start_time: time(head.created_at),
            identifier: head.identifier.to_string(),
            task_type: head.task_type.to_string(),
            id: head.id,
            payload: wire.payload.map(ToOwned::to_owned),
        })
    }

    /// The same task with the status that is stored by now.
    pub(crate) const fn with_status(mut self, status: tasker_core::TaskStatus) -> Self {
        self.status = status.as_str();
        self
    }
}

/// A task of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "TaskHead")]
pub(crate) struct TaskHeadJson {
    /// CREATED, SENT, INCOMPLETE, DONE or CANCELLED.
    status: &'static str,
    /// When it was stored, UTC.
    start_time: String,
    /// The client's identifier.
    identifier: String,
    /// The task type.
    #[serde(rename = "type")]
    task_type: String,
    /// Its number.
    id: i64,
    #[serde(flatten)]
    counts: CountsJson,
    #[serde(flatten)]
    dates: DatesJson,
}

impl TaskHeadJson {
    pub(crate) fn of(head: &TaskHead) -> Self {
        Self {
            status: head.status.as_str(),
            start_time: time(head.created_at),
            identifier: head.identifier.to_string(),
            task_type: head.task_type.to_string(),
            id: head.id,
            counts: CountsJson::of(head),
            dates: DatesJson::of(head),
        }
    }
}

/// How the endpoints of a task stand.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CountsJson {
    /// Endpoints that are expected to answer.
    expected: u32,
    /// Expected endpoints that have (had) it.
    received: u32,
    /// Expected endpoints that are through with it, whatever the outcome.
    finished: u32,
    /// Expected endpoints that are through with it and did not succeed.
    failed: u32,
    /// Expected endpoints whose answer is missing.
    missing: u32,
}

impl CountsJson {
    fn of(head: &TaskHead) -> Self {
        let counts = head.counts;
        Self {
            expected: counts.expected,
            received: counts.received,
            finished: counts.finished,
            failed: counts.failed,
            missing: counts.missing(),
        }
    }
}

/// The dates of a task, UTC, and its identity.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DatesJson {
    /// Its identity in logs, messages and journals.
    #[schema(value_type = String, format = Uuid)]
    uid: TaskUid,
    /// When it was last settled; `null` while it is not.
    settled_at: Option<String>,
    /// Until when it may start.
    expires_at: String,
    /// When its client cancelled it.
    cancel_requested_at: Option<String>,
}

impl DatesJson {
    fn of(head: &TaskHead) -> Self {
        Self {
            uid: head.uid,
            settled_at: head.settled_at.map(time),
            expires_at: time(head.expires_at),
            cancel_requested_at: head.cancel_requested_at.map(time),
        }
    }
}

/// The response of one endpoint: the original's keys, then ours.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "TaskResponse")]
pub(crate) struct ResponseJson {
    /// 0 until the endpoint is through with it, then 1.
    status: u8,
    /// Whose it is.
    endpoint: String,
    /// The task's number.
    task_id: i64,
    /// When the handler started; before that, when the endpoint received the task; UTC.
    start_time: String,
    /// The handler's reply.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// 0 is success, 1 a general error, up to 999 the handler's own, from 1000 on the engine's;
    /// `null` until finished. While RETRYING that of the attempt before, as are `errmsg`, `payload`
    /// and `elapsed_ms`.
    errnr: Option<i32>,
    /// When it last changed, UTC.
    last_modified_time: String,
    /// Its number.
    id: i64,
    /// The error's text.
    errmsg: Option<String>,
    /// What became of the task there.
    #[schema(example = "SUCCEEDED")]
    state: &'static str,
    /// The try that the ledger ordered, from 1.
    attempt: u32,
    /// When the next attempt may start, UTC; `null` unless RETRYING.
    retry_at: Option<String>,
    /// The start of the handler within the attempt; 0 before the first.
    run: u32,
    /// How far the run has come.
    #[schema(value_type = Option<ProgressJson>)]
    progress: Option<Progress>,
    /// How long the last run took, in milliseconds.
    elapsed_ms: Option<u64>,
    /// Whether the state was only concluded from silence.
    presumed: bool,
    /// Whether the answer came after the task was settled without it.
    late: bool,
}

/// How far a run has come.
#[derive(Debug, ToSchema)]
#[schema(title = "Progress")]
#[expect(
    dead_code,
    reason = "the schema of core's Progress, which knows nothing of OpenAPI"
)]
pub(crate) struct ProgressJson {
    /// 0 to 100.
    percent: u8,
    /// A short text of the handler.
    note: Option<String>,
}

impl ResponseJson {
    /// A response as JSON. Fails if its stored reply is not JSON.
    pub(crate) fn of(row: TaskResponse) -> Result<Self, StoreError> {
        let started_at = row.started_at.or(row.received_at).unwrap_or(row.created_at);
        let payload = row.payload.map(|bytes| serde_json::from_slice(&bytes));
        let payload = payload.transpose().map_err(|error| StoreError::Corrupt {
            table: "responses",
            what: error.to_string(),
        })?;
        Ok(Self {
            status: row.state.is_finished().into(),
            endpoint: row.endpoint.to_string(),
            task_id: row.task_id,
            start_time: time(started_at),
            payload,
            errnr: row.errnr,
            last_modified_time: time(row.last_modified_at),
            id: row.id,
            errmsg: row.errmsg,
            state: row.state.as_str(),
            attempt: row.attempt,
            retry_at: row.retry_at.map(time),
            run: row.run,
            progress: row.progress,
            elapsed_ms: row.elapsed_ms,
            presumed: row.presumed,
            late: row.late,
        })
    }
}

/// Rows of a task's answer.
pub(crate) const MAX_ROWS: u32 = 1000;

/// The answer to a GET of a task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answer {
    pub(crate) task: TaskJson,
    /// The responses of endpoints that received it; at most 1,000.
    #[serde(rename = "taskResponseList")]
    pub(crate) task_response_list: Vec<ResponseJson>,
    /// Where the other responses are; only if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) responses: Option<String>,
    pub(crate) summary: Summary,
    /// Where the completion is told, and how that went; only if the task has a `callback_url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) callback: Option<CallbackJson>,
}

/// A worker as the ledger knows it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndpointJson {
    /// Its task type.
    #[serde(rename = "type")]
    task_type: String,
    /// Its name.
    name: String,
    /// Whether it has been heard of lately.
    online: bool,
    /// When it was last heard of, UTC.
    last_seen: String,
    /// When it was first heard of, UTC.
    first_seen: String,
    /// Its journal, from its last hello.
    #[schema(value_type = Option<String>, format = Uuid)]
    journal: Option<JournalUid>,
    /// Its start, from its last hello.
    #[schema(value_type = Option<String>, format = Uuid)]
    boot: Option<BootId>,
}

impl From<Endpoint> for EndpointJson {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            task_type: endpoint.task_type.to_string(),
            name: endpoint.name.to_string(),
            online: endpoint.is_online,
            last_seen: time(endpoint.last_seen_at),
            first_seen: time(endpoint.first_seen_at),
            journal: endpoint.journal,
            boot: endpoint.boot,
        }
    }
}
