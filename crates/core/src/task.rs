//! What is asked for, what is stored, what is shown.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::callback::CallbackUrl;
use crate::id::{TaskId, TaskUid};
use crate::name::{Client, EndpointName, Identifier, TaskType};
use crate::retry::RetryPolicy;
use crate::state::{ResponseState, TaskStatus};

/// The longest life span of a task, in seconds: 30 days.
pub const MAX_EXPIRES_IN_S: u32 = 30 * 86_400;

/// What happens to a run that was interrupted by the death of its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPolicy {
    /// It ends INTERRUPTED and is never repeated silently. The default.
    #[default]
    Once,
    /// It is repeated; `run` counts and shows it.
    Idempotent,
}

/// Who performs a task, and who is expected to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// No list: whoever is subscribed performs it, and those are expected.
    Subscribed,
    /// The endpoints of the list perform it, and those are expected.
    Listed,
    /// All subscribers perform it, the endpoints of the list are expected (task types with
    /// `unlisted: perform`, the original's behaviour).
    Everybody,
}

impl Audience {
    /// The number in SQL.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Subscribed => 0,
            Self::Listed => 1,
            Self::Everybody => 2,
        }
    }

    /// The audience of a number in SQL; `None` for a number that no release has written.
    #[must_use]
    pub const fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Subscribed),
            1 => Some(Self::Listed),
            2 => Some(Self::Everybody),
            _ => None,
        }
    }
}

/// A task as a client asks for it, validated, not yet stored.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Its identity on the wire, minted at accept.
    pub uid: TaskUid,
    /// Who asks.
    pub client: Client,
    /// The configured kind of task.
    pub task_type: TaskType,
    /// The client's idempotency key.
    pub identifier: Identifier,
    /// SHA-256 over what the client sent, see [`NewTask::hash`]; decides between "same again" and
    /// "identifier reused".
    pub body_hash: [u8; 32],
    /// The payload, JSON, byte for byte as the client sent it.
    pub payload: Option<Bytes>,
    /// The endpoints of the list, in the client's order, duplicates folded. Never `Some` of nothing.
    pub endpoints: Option<Vec<EndpointName>>,
    /// Who performs it.
    pub audience: Audience,
    /// What happens to an interrupted run.
    pub run_policy: RunPolicy,
    /// How often a failure is tried again by itself.
    pub retry: RetryPolicy,
    /// How long one run may take, in seconds.
    pub timeout_s: u32,
    /// How long after creation it may start, in seconds.
    pub expires_in_s: u32,
    /// `api.wait_for_endpoints_timeout`: how long after creation all expected endpoints should have
    /// received it, in seconds.
    pub wait_s: u32,
    /// Where its completion is told.
    pub callback_url: Option<CallbackUrl>,
}

impl NewTask {
    /// The hash that tells whether two requests ask for the same: over payload bytes, list and
    /// options, each with its length, so that no two different requests share their bytes.
    #[must_use]
    pub fn hash(
        payload: Option<&[u8]>,
        endpoints: Option<&[EndpointName]>,
        timeout_s: Option<u32>,
        expires_in_s: Option<u32>,
        callback_url: Option<&CallbackUrl>,
    ) -> [u8; 32] {
        use sha2::{Digest, Sha256};
        fn field(hash: &mut Sha256, bytes: Option<&[u8]>) {
            match bytes {
                None => hash.update([0]),
                Some(bytes) => {
                    hash.update([1]);
                    hash.update((bytes.len() as u64).to_be_bytes());
                    hash.update(bytes);
                }
            }
        }
        let mut hash = Sha256::new();
        field(&mut hash, payload);
        field(
            &mut hash,
            endpoints
                .map(|list| (list.len() as u64).to_be_bytes())
                .as_ref()
                .map(|b| &b[..]),
        );
        for endpoint in endpoints.unwrap_or_default() {
            field(&mut hash, Some(endpoint.as_str().as_bytes()));
        }
        for number in [timeout_s, expires_in_s] {
            field(
                &mut hash,
                number.map(u32::to_be_bytes).as_ref().map(|b| &b[..]),
            );
        }
        // Nothing if there is none, as in releases that knew none.
        if let Some(url) = callback_url {
            field(&mut hash, Some(url.as_str().as_bytes()));
        }
        hash.finalize().into()
    }
}

/// The counters of a task, kept on its row and changed in the recorder's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Endpoints that are expected to answer.
    pub expected: u32,
    /// Expected endpoints that have (had) it.
    pub received: u32,
    /// Expected endpoints that are through with it, whatever the outcome.
    pub finished: u32,
    /// Expected endpoints that are through with it and did not succeed.
    pub failed: u32,
}

impl Counts {
    /// Expected endpoints whose answer is missing.
    #[must_use]
    pub const fn missing(&self) -> u32 {
        self.expected.saturating_sub(self.finished)
    }

    /// Moves one expected response from one state to another.
    pub fn step(&mut self, from: ResponseState, to: ResponseState) {
        fn shift(count: &mut u32, was: bool, is: bool) {
            match (was, is) {
                (false, true) => *count += 1,
                (true, false) => *count = count.saturating_sub(1),
                _ => {}
            }
        }
        let failed = |s: ResponseState| s.is_finished() && s != ResponseState::Succeeded;
        shift(&mut self.received, from.is_received(), to.is_received());
        shift(&mut self.finished, from.is_finished(), to.is_finished());
        shift(&mut self.failed, failed(from), failed(to));
    }
}

/// A stored task without its bulky parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskHead {
    /// Its number in SQL and in the original's JSON.
    pub id: TaskId,
    /// Its identity on the wire.
    pub uid: TaskUid,
    /// Who asked.
    pub client: Client,
    /// The kind of task.
    pub task_type: TaskType,
    /// The client's idempotency key.
    pub identifier: Identifier,
    /// What became of it.
    pub status: TaskStatus,
    /// Who performs it.
    pub audience: Audience,
    /// What happens to an interrupted run.
    pub run_policy: RunPolicy,
    /// How often a failure is tried again by itself.
    pub retry: RetryPolicy,
    /// How long one run may take, in seconds.
    pub timeout_s: u32,
    /// When it was stored (all times: the database's clock, UTC).
    pub created_at: DateTime<Utc>,
    /// When the broker confirmed it.
    pub sent_at: Option<DateTime<Utc>>,
    /// Until when all expected endpoints should have received it.
    pub wait_until: DateTime<Utc>,
    /// Until when it may start.
    pub expires_at: DateTime<Utc>,
    /// When it was last settled; `None` while it is not.
    pub settled_at: Option<DateTime<Utc>>,
    /// When its client cancelled it.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// Its counters.
    pub counts: Counts,
    /// Where its completion is told.
    pub callback_url: Option<CallbackUrl>,
    /// When the ledger writes down rows for endpoints of the list that were not heard of; `None`: all have
    /// theirs.
    pub rows_due_at: Option<DateTime<Utc>>,
}

/// A stored task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Everything small.
    pub head: TaskHead,
    /// The endpoints that the client listed, in the client's order.
    pub endpoints: Option<Vec<EndpointName>>,
    /// The task as it travels, byte for byte: [`crate::wire::WireTask`].
    pub wire: Bytes,
}

/// How far a run has come, as its handler says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// A short text of the handler, at most 200 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The row of one endpoint for one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskResponse {
    /// Its number in SQL and in the original's JSON.
    pub id: i64,
    /// The task's number.
    pub task_id: TaskId,
    /// Whose row it is.
    pub endpoint: EndpointName,
    /// What became of the task there.
    pub state: ResponseState,
    /// The try that the ledger ordered, from 1.
    pub attempt: u32,
    /// The start of the handler within the attempt; 0 before the first.
    pub run: u32,
    /// Whether the endpoint was expected to answer.
    pub expected: bool,
    /// Whether the state was only concluded from silence.
    pub presumed: bool,
    /// Whether the answer came after the task was settled without it.
    pub late: bool,
    /// When the next attempt may start; `None` unless RETRYING.
    pub retry_at: Option<DateTime<Utc>>,
    /// Error number, see [`crate::errnr`]; `None` until finished, and while RETRYING that of the
    /// attempt before.
    pub errnr: Option<i32>,
    /// Error text of the handler or the engine.
    pub errmsg: Option<String>,
    /// The handler's reply, bytes of JSON.
    pub payload: Option<Bytes>,
    /// How far the run has come.
    pub progress: Option<Progress>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the endpoint had it.
    pub received_at: Option<DateTime<Utc>>,
    /// When the handler started last.
    pub started_at: Option<DateTime<Utc>>,
    /// When the endpoint was through with it.
    pub finished_at: Option<DateTime<Utc>>,
    /// When the row last changed.
    pub last_modified_at: DateTime<Utc>,
    /// How long the last run took by the endpoint's clock, in milliseconds.
    pub elapsed_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tells_fields_apart() {
        let list = [
            EndpointName::parse("a").unwrap(),
            EndpointName::parse("b").unwrap(),
        ];
        let one = [EndpointName::parse("ab").unwrap()];
        let url = CallbackUrl::parse("https://hooks.example/").unwrap();
        let hashes = [
            NewTask::hash(None, None, None, None, None),
            NewTask::hash(Some(b"1"), None, None, None, None),
            NewTask::hash(None, Some(&list), None, None, None),
            NewTask::hash(None, Some(&one), None, None, None),
            NewTask::hash(None, None, Some(1), None, None),
            NewTask::hash(None, None, None, Some(1), None),
            NewTask::hash(None, None, None, None, Some(&url)),
        ];
        for (i, a) in hashes.iter().enumerate() {
            assert_eq!(hashes.iter().filter(|b| *b == a).count(), 1, "{i}");
        }
    }

    #[test]
    fn counts_follow_a_row_through_its_states() {
        use ResponseState::{Failed, Received, Succeeded, Waiting};
        let mut counts = Counts {
            expected: 1,
            ..Counts::default()
        };
        counts.step(Waiting, Received);
        assert_eq!((counts.received, counts.finished), (1, 0));
        counts.step(Received, Failed);
        assert_eq!(
            (
                counts.received,
                counts.finished,
                counts.failed,
                counts.missing()
            ),
            (1, 1, 1, 0)
        );
        counts.step(Failed, Waiting);
        assert_eq!((counts.received, counts.finished, counts.failed), (0, 0, 0));
        counts.step(Waiting, Succeeded);
        assert_eq!((counts.received, counts.finished, counts.failed), (1, 1, 0));
    }
}
