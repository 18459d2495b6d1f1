//! Rows of `tasks`.

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use tasker_core::callback::CallbackUrl;
use tasker_core::id::{ProcessId, TaskId, TaskUid};
use tasker_core::name::{Client, EndpointName, Identifier, TaskType};
use tasker_core::retry::RetryPolicy;
use tasker_core::state::TaskStatus;
use tasker_core::store::Timing;
use tasker_core::task::{Audience, Counts, NewTask, RunPolicy, Task, TaskHead};
use tasker_core::wire::WireTask;

use super::{corrupt, int, seconds, span, stored, unsigned, uuid};
use crate::failure::Failure;
use crate::schema::tasks;

const TABLE: &str = "tasks";

/// Everything small of a task.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = tasks)]
pub(crate) struct HeadRow {
    id: i64,
    uid: Vec<u8>,
    client: String,
    task_type: String,
    identifier: String,
    status: i16,
    audience: i16,
    run_policy: i16,
    timeout_s: i64,
    max_attempts: i32,
    retry_backoff_s: i32,
    retry_backoff_max_s: i32,
    expected: i32,
    received: i32,
    finished: i32,
    failed: i32,
    created_at: NaiveDateTime,
    sent_at: Option<NaiveDateTime>,
    wait_until: NaiveDateTime,
    expires_at: NaiveDateTime,
    settled_at: Option<NaiveDateTime>,
    cancel_requested_at: Option<NaiveDateTime>,
    callback_url: Option<String>,
    rows_due_at: Option<NaiveDateTime>,
}

impl HeadRow {
    pub(crate) fn decode(self) -> Result<TaskHead, Failure> {
        let id = self.id;
        let bad = |what: &str| corrupt(TABLE, id, what);
        let utc = |at: Option<NaiveDateTime>| at.map(|at| at.and_utc());
        let callback_url = self.callback_url.as_deref().map(CallbackUrl::parse);
        let count = |number: i32| unsigned(TABLE, id, number);
        Ok(TaskHead {
            id,
            uid: TaskUid(uuid(TABLE, id, &self.uid)?),
            client: Client::parse(&self.client).map_err(|_| bad("client"))?,
            task_type: TaskType::parse(&self.task_type).map_err(|_| bad("task_type"))?,
            identifier: Identifier::parse(&self.identifier).map_err(|_| bad("identifier"))?,
            status: TaskStatus::from_code(self.status).ok_or_else(|| bad("status"))?,
            audience: Audience::from_code(self.audience).ok_or_else(|| bad("audience"))?,
            run_policy: run_policy(self.run_policy).ok_or_else(|| bad("run_policy"))?,
            retry: RetryPolicy {
                max_attempts: count(self.max_attempts)?,
                backoff_s: count(self.retry_backoff_s)?,
                backoff_max_s: count(self.retry_backoff_max_s)?,
            },
            timeout_s: unsigned(TABLE, id, self.timeout_s)?,
            created_at: self.created_at.and_utc(),
            sent_at: utc(self.sent_at),
            wait_until: self.wait_until.and_utc(),
            expires_at: self.expires_at.and_utc(),
            settled_at: utc(self.settled_at),
            cancel_requested_at: utc(self.cancel_requested_at),
            counts: Counts {
                expected: count(self.expected)?,
                received: count(self.received)?,
                finished: count(self.finished)?,
                failed: count(self.failed)?,
            },
            callback_url: callback_url.transpose().map_err(|_| bad("callback_url"))?,
            rows_due_at: utc(self.rows_due_at),
        })
    }
}

const fn run_policy(code: i16) -> Option<RunPolicy> {
    match code {
        0 => Some(RunPolicy::Once),
        1 => Some(RunPolicy::Idempotent),
        _ => None,
    }
}

const fn run_policy_code(policy: RunPolicy) -> i16 {
    match policy {
        RunPolicy::Once => 0,
        RunPolicy::Idempotent => 1,
    }
}

/// The endpoints that a task lists.
pub(crate) fn list(id: TaskId, json: Option<&[u8]>) -> Result<Option<Vec<EndpointName>>, Failure> {
    let list = json.map(serde_json::from_slice).transpose();
    list.map_err(|e| corrupt(TABLE, id, e))
}

/// A whole task.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = tasks)]
pub(crate) struct StoredRow {
    #[diesel(embed)]
    head: HeadRow,
    body_hash: Vec<u8>,
    endpoints: Option<Vec<u8>>,
    wire: Vec<u8>,
}

impl StoredRow {
    /// The task, and the hash of the request that made it.
    pub(crate) fn decode(self) -> Result<(Task, Vec<u8>), Failure> {
        let id = self.head.id;
        let task = Task {
            head: self.head.decode()?,
            endpoints: list(id, self.endpoints.as_deref())?,
            wire: Bytes::from(self.wire),
        };
        Ok((task, self.body_hash))
    }
}

/// What operations change of a stored task, its life span excepted. Tasks that change alike are written
/// together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskChange {
    pub status: i16,
    pub expected: i32,
    pub received: i32,
    pub finished: i32,
    pub failed: i32,
    /// `None`: as it is.
    pub settled_at: Option<Option<NaiveDateTime>>,
    pub due: Due,
}

/// The next deadline that the scheduler acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Never,
    RowsDueAt,
    WaitUntil,
    ExpiresAt,
}

impl TaskChange {
    /// The task as it shall be. `due_at`: its next deadline. When it was settled stays as it is.
    pub(crate) fn new(task: &TaskHead, due_at: Option<DateTime<Utc>>) -> Self {
        Self {
            status: task.status.code(),
            expected: int(task.counts.expected),
            received: int(task.counts.received),
            finished: int(task.counts.finished),
            failed: int(task.counts.failed),
            settled_at: None,
            due: match due_at {
                None => Due::Never,
                at if at == task.rows_due_at => Due::RowsDueAt,
                Some(at) if at == task.wait_until => Due::WaitUntil,
                Some(_) => Due::ExpiresAt,
            },
        }
    }

    /// The same, and when the task was settled changes, too.
    pub(crate) fn settled(self, task: &TaskHead) -> Self {
        Self {
            settled_at: Some(task.settled_at.map(stored)),
            ..self
        }
    }
}

/// A task that is being stored.
#[derive(Debug, Insertable)]
#[diesel(table_name = tasks)]
pub(crate) struct NewTaskRow {
    pub uid: Vec<u8>,
    pub client: String,
    pub task_type: String,
    pub identifier: String,
    pub body_hash: Vec<u8>,
    pub status: i16,
    pub audience: i16,
    pub run_policy: i16,
    pub timeout_s: i64,
    pub max_attempts: i32,
    pub retry_backoff_s: i32,
    pub retry_backoff_max_s: i32,
    pub wire: Vec<u8>,
    pub endpoints: Option<Vec<u8>>,
    pub expected: i32,
    pub received: i32,
    pub finished: i32,
    pub failed: i32,
    pub created_at: NaiveDateTime,
    pub wait_until: NaiveDateTime,
    pub expires_at: NaiveDateTime,
    pub publish_due_at: NaiveDateTime,
    pub publish_owner: Vec<u8>,
    pub due_at: NaiveDateTime,
    pub callback_url: Option<String>,
    pub rows_due_at: Option<NaiveDateTime>,
}

impl NewTaskRow {
    /// About how many bytes it adds to a statement.
    pub(crate) fn weight(&self) -> usize {
        self.wire.len() + self.endpoints.as_ref().map_or(0, Vec::len) + 1024
    }

    /// The row of a new task, and the task as the port shows it, but for its id.
    pub(crate) fn new(
        task: &NewTask,
        now: DateTime<Utc>,
        timing: &Timing,
        owner: ProcessId,
    ) -> Result<(Self, Task), Failure> {
        let refused = |e: &dyn std::fmt::Display| {
            Failure::Refused(format!("task {} cannot be stored: {e}", task.uid))
        };
        let wait_until = now + seconds(task.wait_s);
        let expires_at = now + seconds(task.expires_in_s);
        let wire = WireTask::encode(task, now, expires_at).map_err(|e| refused(&e))?;
        let endpoints = task
            .endpoints
            .as_ref()
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|e| refused(&e))?;
        let listed = task.endpoints.as_ref().map_or(0, Vec::len);
        let expected = u32::try_from(listed).map_err(|e| refused(&e))?;
        let rows_due_at = (listed > 0).then(|| now + span(timing.rows_after));
        let due_at = wait_until.min(expires_at);
        let row = Self {
            uid: task.uid.0.as_bytes().to_vec(),
            client: task.client.as_str().to_owned(),
            task_type: task.task_type.as_str().to_owned(),
            identifier: task.identifier.as_str().to_owned(),
            body_hash: task.body_hash.to_vec(),
            status: TaskStatus::Created.code(),
            audience: task.audience.code(),
            run_policy: run_policy_code(task.run_policy),
            timeout_s: task.timeout_s.into(),
            max_attempts: int(task.retry.max_attempts),
            retry_backoff_s: int(task.retry.backoff_s),
            retry_backoff_max_s: int(task.retry.backoff_max_s),
            wire: wire.clone(),
            endpoints,
            expected: int(expected),
            received: 0,
            finished: 0,
            failed: 0,
            created_at: stored(now),
            wait_until: stored(wait_until),
            expires_at: stored(expires_at),
            publish_due_at: stored(now + span(timing.lease)),
            publish_owner: owner.0.as_bytes().to_vec(),
            due_at: stored(rows_due_at.map_or(due_at, |rows| rows.min(due_at))),
            callback_url: task
                .callback_url
                .as_ref()
                .map(|url| url.as_str().to_owned()),
            rows_due_at: rows_due_at.map(stored),
        };
        let task = Task {
            head: TaskHead {
                id: 0,
                uid: task.uid,
                client: task.client.clone(),
                task_type: task.task_type.clone(),
                identifier: task.identifier.clone(),
                status: TaskStatus::Created,
                audience: task.audience,
                run_policy: task.run_policy,
                retry: task.retry,
                timeout_s: task.timeout_s,
                created_at: now,
                sent_at: None,
                wait_until,
                expires_at,
                settled_at: None,
                cancel_requested_at: None,
                counts: Counts {
                    expected,
                    ..Counts::default()
                },
                callback_url: task.callback_url.clone(),
                rows_due_at,
            },
            endpoints: task.endpoints.clone(),
            wire: Bytes::from(wire),
        };
        Ok((row, task))
    }
}
