//! Runs and their tasks as JSON, with taskfarm's keys; what tasker adds follows them.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tasker_core::runs::{Progress, Run, ShownTask};
use tasker_core::store::StoreError;
use utoipa::ToSchema;

use crate::http::problem::Problem;
use crate::show::time;

/// As many numbers of tasks as every run has for itself, so that a task that has no row has a number too.
const NUMBERS: i64 = 1_000_000_000;

/// A run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Run")]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunJson {
    /// Its number.
    id: i64,
    /// Its identity: 32 hexadecimal digits.
    uuid: String,
    /// How many tasks it has, numbered from 0.
    num_tasks: u32,
    /// How it stands, where that was asked for.
    #[serde(flatten)]
    progress: RunProgressJson,
}

/// How a run stands. Without any of it where that was not asked for.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunProgressJson {
    /// The mean of all its tasks, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    percent_done: Option<f64>,
    /// Tasks that nobody has, touched or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    num_waiting: Option<u32>,
    /// Tasks that are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    num_done: Option<u32>,
    /// Tasks that a worker has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    num_computing: Option<u32>,
    /// When the run was made, UTC.
    #[serde(rename = "created_at", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    created_at: Option<String>,
}

impl RunJson {
    pub(super) fn of(run: &Run, progress: Option<Progress>) -> Self {
        Self {
            id: run.id,
            uuid: run.uid.0.simple().to_string(),
            num_tasks: run.num_tasks,
            progress: progress.map_or_else(RunProgressJson::default, |progress| RunProgressJson {
                percent_done: Some(progress.percent),
                num_waiting: Some(progress.waiting),
                num_done: Some(progress.done),
                num_computing: Some(progress.computing),
                created_at: Some(time(run.created_at)),
            }),
        }
    }
}

/// Runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunPage {
    /// Oldest first.
    pub(super) data: Vec<RunJson>,
    /// The `cursor` of the page with older ones; `null`: there are none.
    pub(super) next: Option<String>,
}

/// A task of a run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "RunTask")]
pub(crate) struct RunTaskJson {
    /// Its number among the tasks of all runs.
    id: i64,
    /// Its number within the run, from 0.
    task: u32,
    /// How much of it is done, 0 to 100.
    #[serde(rename = "percentCompleted")]
    percent_completed: f64,
    /// `waiting`, `computing` or `done`.
    #[schema(example = "computing")]
    status: &'static str,
    /// How often it was handed out.
    attempt: u32,
    /// The worker that has or had it.
    worker_uuid: Option<String>,
    /// When it was last handed out, UTC.
    started_at: Option<String>,
    /// When it was last changed since, UTC.
    updated_at: Option<String>,
    /// Until when its worker may be silent, UTC; `null`: for ever, or nobody has it.
    lease_until: Option<String>,
    /// What its worker gets.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// What came out.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
}

impl RunTaskJson {
    pub(super) fn of(shown: ShownTask) -> Result<Self, Problem> {
        let task = shown.task;
        Ok(Self {
            id: shown.run.saturating_mul(NUMBERS) + i64::from(task.number),
            task: task.number,
            percent_completed: task.percent,
            status: task.state.as_str(),
            attempt: task.attempt,
            worker_uuid: shown.worker,
            started_at: task.started_at.map(time),
            updated_at: task.updated_at.map(time),
            lease_until: task.lease_until.map(time),
            payload: shown.payload.map(raw).transpose()?,
            result: task.result.map(raw).transpose()?,
        })
    }
}

/// Stored JSON as it stands.
fn raw(bytes: Bytes) -> Result<Box<RawValue>, Problem> {
    let corrupt = |what: String| {
        let table = "run_tasks";
        Problem::of_store(&StoreError::Corrupt { table, what })
    };
    let text = String::from_utf8(bytes.into()).map_err(|e| corrupt(e.to_string()))?;
    RawValue::from_string(text).map_err(|e| corrupt(e.to_string()))
}
