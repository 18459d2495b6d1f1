//! How a task and its responses stand.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::missing::Missing;
use crate::state::ResponseState;
use crate::task::{TaskHead, TaskResponse};

/// How the responses of a task stand.
#[derive(Debug, Clone)]
pub struct Tally {
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// How many expected responses are in each state.
    pub states: BTreeMap<ResponseState, u32>,
    /// When the first of the expected responses in RETRYING may start again.
    pub next_retry_at: Option<DateTime<Utc>>,
    /// How many responses came that were not expected or came after an open task was settled.
    pub late: u32,
    /// Expected responses that are not finished, by endpoint, as many as were asked for.
    pub missing: Vec<Missing>,
}

/// How a task stands, all of it at one moment.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The task.
    pub head: TaskHead,
    /// A page of its responses.
    pub responses: Vec<TaskResponse>,
    /// How all of them stand.
    pub tally: Tally,
}
