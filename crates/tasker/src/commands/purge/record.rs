//! What stands on the lines of an export. README.md describes it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use tasker_core::task::{Audience, Progress, RunPolicy, Task, TaskResponse};
use tasker_core::{Client, EndpointName, Identifier, ResponseState, TaskStatus, TaskType, TaskUid};

use crate::exit::Failure;

/// `{"task":{…}}`
#[derive(Debug, Serialize)]
pub(super) struct TaskLine<'a> {
    task: TaskRecord<'a>,
}

#[derive(Debug, Serialize)]
struct TaskRecord<'a> {
    id: i64,
    uid: TaskUid,
    client: &'a Client,
    #[serde(rename = "type")]
    task_type: &'a TaskType,
    identifier: &'a Identifier,
    status: TaskStatus,
    audience: &'static str,
    run_policy: RunPolicy,
    timeout_s: u32,
    created_at: DateTime<Utc>,
    sent_at: Option<DateTime<Utc>>,
    wait_until: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    settled_at: Option<DateTime<Utc>>,
    cancel_requested_at: Option<DateTime<Utc>>,
    expected: u32,
    received: u32,
    finished: u32,
    failed: u32,
    /// The client's list.
    endpoints: Option<&'a [EndpointName]>,
    /// The task as it travelled, payload included.
    wire: Box<RawValue>,
}

/// `{"task_id":1,"task_uid":"…","responses":[{…}]}`
#[derive(Debug, Serialize)]
pub(super) struct ResponsesLine<'a> {
    task_id: i64,
    task_uid: TaskUid,
    responses: Vec<ResponseRecord<'a>>,
}

#[derive(Debug, Serialize)]
struct ResponseRecord<'a> {
    id: i64,
    endpoint: &'a EndpointName,
    state: ResponseState,
    attempt: u32,
    run: u32,
    expected: bool,
    presumed: bool,
    late: bool,
    errnr: Option<i32>,
    errmsg: Option<&'a str>,
    payload: Option<Box<RawValue>>,
    progress: Option<&'a Progress>,
    created_at: DateTime<Utc>,
    received_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    last_modified_at: DateTime<Utc>,
    elapsed_ms: Option<u64>,
}

/// The line of a task.
pub(super) fn task(task: &Task) -> Result<TaskLine<'_>, Failure> {
    let head = &task.head;
    Ok(TaskLine {
        task: TaskRecord {
            id: head.id,
            uid: head.uid,
            client: &head.client,
            task_type: &head.task_type,
            identifier: &head.identifier,
            status: head.status,
            audience: match head.audience {
                Audience::Subscribed => "subscribed",
                Audience::Listed => "listed",
                Audience::Everybody => "everybody",
            },
            run_policy: head.run_policy,
            timeout_s: head.timeout_s,
            created_at: head.created_at,
            sent_at: head.sent_at,
            wait_until: head.wait_until,
            expires_at: head.expires_at,
            settled_at: head.settled_at,
            cancel_requested_at: head.cancel_requested_at,
            expected: head.counts.expected,
            received: head.counts.received,
            finished: head.counts.finished,
            failed: head.counts.failed,
            endpoints: task.endpoints.as_deref(),
            wire: one_line(&task.wire, head.id)?,
        },
    })
}

/// The line of some of a task's responses.
pub(super) fn responses<'a>(
    task: &Task,
    rows: &'a [TaskResponse],
) -> Result<ResponsesLine<'a>, Failure> {
    let records: Result<Vec<_>, Failure> = rows.iter().map(response).collect();
    Ok(ResponsesLine {
        task_id: task.head.id,
        task_uid: task.head.uid,
        responses: records?,
    })
}

fn response(row: &TaskResponse) -> Result<ResponseRecord<'_>, Failure> {
    let payload = row.payload.as_ref();
    Ok(ResponseRecord {
        id: row.id,
        endpoint: &row.endpoint,
        state: row.state,
        attempt: row.attempt,
        run: row.run,
        expected: row.expected,
        presumed: row.presumed,
        late: row.late,
        errnr: row.errnr,
        errmsg: row.errmsg.as_deref(),
        payload: payload
            .map(|json| one_line(json, row.task_id))
            .transpose()?,
        progress: row.progress.as_ref(),
        created_at: row.created_at,
        received_at: row.received_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        last_modified_at: row.last_modified_at,
        elapsed_ms: row.elapsed_ms,
    })
}

/// JSON as it stands, every digit of it, but on one line. Within JSON a line can only break between
/// tokens, where a space means the same.
fn one_line(json: &[u8], task: i64) -> Result<Box<RawValue>, Failure> {
    let corrupt =
        |e: &dyn std::fmt::Display| Failure::Failed(format!("task {task} holds no JSON: {e}"));
    let text = std::str::from_utf8(json).map_err(|e| corrupt(&e))?;
    RawValue::from_string(text.replace(['\n', '\r'], " ")).map_err(|e| corrupt(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_digits_and_loses_its_line_breaks() {
        let json = "{\"a\":\r\n 1.50, \"b\\n\": 123456789012345678901}";
        let line = one_line(json.as_bytes(), 1).unwrap();
        assert_eq!(
            line.get(),
            "{\"a\":   1.50, \"b\\n\": 123456789012345678901}"
        );
        for bad in [&b"{"[..], b"\xff"] {
            let told = one_line(bad, 7).unwrap_err().to_string();
            assert!(told.contains("task 7"), "{told}");
        }
    }
}
