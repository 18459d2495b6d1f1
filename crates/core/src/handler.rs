//! The trait that performs tasks.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::value::RawValue;

use crate::errnr;
use crate::id::TaskUid;
use crate::task::Progress;

/// Why a run should end now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// `timeout_s` is over.
    TimedOut,
    /// The client cancelled the task.
    Cancelled,
    /// The worker is shutting down and its patience is over.
    Shutdown,
}

/// What a run can ask of the worker that started it.
#[async_trait]
pub trait JobContext: Send + Sync {
    /// Tells how far the run has come. Never blocks; only the newest is kept.
    fn progress(&self, progress: Progress);

    /// Waits until the run should end. After that the worker waits [`Handler::stop_grace`] and then
    /// drops the run.
    async fn stopped(&self) -> Stop;
}

/// One run of a handler: what it is asked for.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The task's identity.
    pub uid: TaskUid,
    /// The client's identifier.
    pub identifier: &'a str,
    /// The task type.
    pub task_type: &'a str,
    /// Who asked.
    pub client: &'a str,
    /// The endpoint that this is.
    pub endpoint: &'a str,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The start of the handler within the attempt, from 1.
    pub run: u32,
    /// The client's payload, byte for byte. It is data: never pass it to a shell.
    pub payload: Option<&'a RawValue>,
    /// How long the run may take.
    pub timeout: Duration,
    /// The worker.
    pub context: &'a dyn JobContext,
}

impl std::fmt::Debug for Job<'_> {
    // Without the payload: it may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("uid", &self.uid)
            .field("task_type", &self.task_type)
            .field("attempt", &self.attempt)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

/// What a successful run returns.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// The reply, shown to the client as the response's payload.
    pub payload: Option<Box<RawValue>>,
}

impl Output {
    /// A reply of anything that serialises.
    ///
    /// # Errors
    /// [`HandlerError`] if it does not.
    pub fn json(value: &impl serde::Serialize) -> Result<Self, HandlerError> {
        serde_json::value::to_raw_value(value)
            .map(|payload| Self {
                payload: Some(payload),
            })
            .map_err(|e| HandlerError::new(errnr::GENERAL, e.to_string()))
    }
}

/// What a failed run returns.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{errmsg} (errnr {errnr})")]
pub struct HandlerError {
    /// 1 to 999 are the handler's own; see [`crate::errnr`].
    pub errnr: i32,
    /// A text for people, at most 4 KiB.
    pub errmsg: String,
    /// A reply in spite of the failure.
    pub payload: Option<Box<RawValue>>,
}

impl HandlerError {
    /// A failure without a reply.
    #[must_use]
    pub fn new(errnr: i32, errmsg: impl Into<String>) -> Self {
        Self {
            errnr,
            errmsg: errmsg.into(),
            payload: None,
        }
    }
}

/// Code that performs a task type on an endpoint.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Performs one run. The future is dropped when the run must end and
    /// [`stop_grace`](Self::stop_grace) is over, so what must be undone belongs into a guard.
    async fn run(&self, job: Job<'_>) -> Result<Output, HandlerError>;

    /// Judges a payload before the run; a fault makes the response REJECTED and nothing is run.
    ///
    /// # Errors
    /// What is wrong with the payload, for the client.
    fn check(&self, _payload: Option<&RawValue>) -> Result<(), String> {
        Ok(())
    }

    /// Ends what a run of this task on this endpoint left behind when its worker died. Called at the
    /// worker's start, before the run is repeated or reported as interrupted.
    async fn clean_up(&self, _endpoint: &str, _task: TaskUid) {}

    /// How long a run may still take after [`JobContext::stopped`] told it to end.
    fn stop_grace(&self) -> Duration {
        Duration::ZERO
    }

    /// A limit of the handler's own on a run; the smaller of it and the task's `timeout_s` counts.
    fn max_run(&self) -> Option<Duration> {
        None
    }
}
