//! From the workers: reports, hellos, heartbeats.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::refused::{Refused, lenient};
use super::{VERSION, WireError, check};
use crate::id::{BootId, JournalUid, TaskUid};
use crate::name::{EndpointName, TaskType};
use crate::state::ResponseState;
use crate::task::Progress;

/// The greatest message of a worker that is written or read, in bytes. The recorder has hundreds of
/// them in hand at once.
pub const MAX_REPORT_BYTES: usize = 1 << 20;

/// The greatest reply (payload) of a handler, in bytes.
pub const MAX_REPLY_BYTES: usize = 256 << 10;
/// The greatest error text, in bytes.
pub const MAX_ERRMSG_BYTES: usize = 4 << 10;

/// What became of one task on the endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The task.
    pub uid: TaskUid,
    /// The attempt that is answered; 0 only for CANCELLED of a task that never came.
    pub attempt: u32,
    /// The start of the handler within the attempt; 0 before the first.
    pub run: u32,
    /// The state; one of the reportable ones.
    pub state: ResponseState,
    /// Error number; `None` until finished.
    #[serde(default)]
    pub errnr: Option<i32>,
    /// Error text, at most 4 KiB.
    #[serde(default)]
    pub errmsg: Option<String>,
    /// The handler's reply.
    #[serde(default)]
    pub payload: Option<Box<RawValue>>,
    /// How far the run has come.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// How long the run took, in milliseconds.
    #[serde(default)]
    pub elapsed_ms: Option<u64>,
    /// How long ago it became so, in milliseconds: clocks of endpoints are not trusted, durations
    /// are.
    #[serde(default)]
    pub age_ms: u64,
}

impl Report {
    /// A report that became so just now and says nothing more than its state.
    #[must_use]
    pub const fn plain(uid: TaskUid, attempt: u32, run: u32, state: ResponseState) -> Self {
        Self {
            uid,
            attempt,
            run,
            state,
            errnr: None,
            errmsg: None,
            payload: None,
            progress: None,
            elapsed_ms: None,
            age_ms: 0,
        }
    }
}

/// A worker's first words after every start and reconnect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The worker's release.
    pub version: String,
    /// Whether the journal was made at this start, or never welcomed since it was made.
    pub fresh: bool,
}

/// A message of a worker: reports, and perhaps a hello. A message with neither is a heartbeat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportBatch {
    v: u32,
    /// Who says so. Believed only if it agrees with the delivery's routing key.
    pub endpoint: EndpointName,
    /// The worker's task type.
    #[serde(rename = "type")]
    pub task_type: TaskType,
    /// The worker's journal.
    pub journal: JournalUid,
    /// The worker's start.
    pub boot: BootId,
    /// What became of tasks, oldest first.
    #[serde(default)]
    pub reports: Vec<Report>,
    /// Set in the first message after a start or reconnect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello: Option<Hello>,
    /// In heartbeats: what was refused since the last heartbeat that the broker confirmed. Empty if
    /// what the message says breaks the rules for it.
    #[serde(
        default,
        skip_serializing_if = "Refused::is_empty",
        deserialize_with = "lenient"
    )]
    pub refused: Refused,
}

impl ReportBatch {
    /// A message with neither reports nor hello: a heartbeat.
    #[must_use]
    pub const fn heartbeat(
        task_type: TaskType,
        endpoint: EndpointName,
        journal: JournalUid,
        boot: BootId,
    ) -> Self {
        Self {
            v: VERSION,
            endpoint,
            task_type,
            journal,
            boot,
            reports: Vec::new(),
            hello: None,
            refused: Refused::new(),
        }
    }

    /// Whether it says nothing but that the worker is alive.
    #[must_use]
    pub const fn is_heartbeat(&self) -> bool {
        self.reports.is_empty() && self.hello.is_none()
    }

    /// The bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Expect safety: structs of strings, numbers and raw JSON always serialise.
        serde_json::to_vec(self).expect("plain structs serialise")
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`WireError`] if it cannot be read or reports what an endpoint cannot decide.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        check(bytes, MAX_REPORT_BYTES)?;
        let batch: Self =
            serde_json::from_slice(bytes).map_err(|e| WireError::Shape(e.to_string()))?;
        for (i, report) in batch.reports.iter().enumerate() {
            if !report.state.is_reportable() {
                let state = report.state;
                return Err(WireError::Shape(format!(
                    "reports[{i}].state: an endpoint cannot report {state}"
                )));
            }
            if report.attempt == 0 && report.state != ResponseState::Cancelled {
                return Err(WireError::Shape(format!(
                    "reports[{i}].attempt must be at least 1"
                )));
            }
            if report
                .payload
                .as_ref()
                .is_some_and(|p| p.get().len() > MAX_REPLY_BYTES)
            {
                return Err(WireError::Shape(format!(
                    "reports[{i}].payload exceeds {MAX_REPLY_BYTES} bytes"
                )));
            }
            if report
                .errmsg
                .as_ref()
                .is_some_and(|text| text.len() > MAX_ERRMSG_BYTES)
            {
                return Err(WireError::Shape(format!(
                    "reports[{i}].errmsg exceeds {MAX_ERRMSG_BYTES} bytes"
                )));
            }
            if report.progress.as_ref().is_some_and(|p| p.percent > 100) {
                return Err(WireError::Shape(format!(
                    "reports[{i}].progress.percent exceeds 100"
                )));
            }
        }
        Ok(batch)
    }
}
