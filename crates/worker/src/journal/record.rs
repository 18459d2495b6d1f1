//! What a journal says: one record a fact, JSON.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tasker_core::wire::{Had, WireTask};
use tasker_core::{EndpointName, JournalUid, ResponseState, TaskType, TaskUid, errnr};

use super::index::Known;

/// The version that this release writes, and the only one that it reads.
pub(super) const VERSION: u32 = 1;

/// Whose journal it is. The first record of every file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) v: u32,
    pub(crate) journal: JournalUid,
    #[serde(rename = "type")]
    pub(crate) task_type: TaskType,
    pub(crate) endpoint: EndpointName,
}

/// The worker has taken an attempt upon itself. From here on the delivery is acknowledged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) attempt: u32,
    /// By the endpoint's clock, in milliseconds since 1970.
    pub(crate) at: i64,
    /// The bytes of the task as they came.
    pub(crate) task: Box<RawValue>,
}

/// The handler is about to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) uid: TaskUid,
    pub(crate) attempt: u32,
    pub(crate) run: u32,
    /// How many runs of the attempt were cut off by the death of the worker before this one.
    pub(crate) cut_off: u32,
    pub(crate) at: i64,
}

/// The run was given up by an orderly stop and may be repeated; it does not count as cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Released {
    pub(crate) uid: TaskUid,
    pub(crate) attempt: u32,
    pub(crate) run: u32,
    pub(crate) cut_off: u32,
}

/// The attempt is over. Holds all that a later question needs; the claim is not needed any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) uid: TaskUid,
    pub(crate) attempt: u32,
    pub(crate) run: u32,
    pub(crate) state: ResponseState,
    pub(crate) errnr: i32,
    pub(crate) errmsg: Option<String>,
    pub(crate) payload: Option<Box<RawValue>>,
    pub(crate) elapsed_ms: Option<u64>,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) at: i64,
}

impl End {
    /// What is left of an end whose record cannot be read any more.
    pub(super) fn unreadable(uid: TaskUid, known: &Known, state: ResponseState) -> Self {
        let age = i64::try_from(known.since.elapsed().as_millis()).unwrap_or(0);
        Self {
            uid,
            attempt: known.attempt,
            run: known.run,
            state,
            errnr: errnr::GENERAL,
            errmsg: Some("the answer cannot be read back from the journal".to_owned()),
            payload: None,
            elapsed_ms: None,
            expires_at: known.expires_at,
            at: unix_ms() - age,
        }
    }
}

/// The task is cancelled, whether it has come or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    pub(crate) uid: TaskUid,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) at: i64,
}

/// Tasks that the endpoint had under an earlier journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HadBefore {
    pub(crate) had: Vec<Had>,
    /// Until when that must be known: no task lives longer.
    pub(crate) until: DateTime<Utc>,
}

/// One fact.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    Head(Head),
    Claim(Claim),
    Start(Start),
    Released(Released),
    End(End),
    /// The broker confirmed the report of the end of this attempt.
    Reported {
        uid: TaskUid,
        attempt: u32,
    },
    Tombstone(Tombstone),
    Had(HadBefore),
    /// The ledger answered the hello; its clock then.
    Welcomed {
        now: DateTime<Utc>,
    },
    /// Nothing: whether the journal can be written.
    Probe,
}

impl Record {
    /// The claim of an entry that was taken. `task` is the bytes of the task.
    ///
    /// # Errors
    /// If the bytes are not JSON, which a taken entry rules out.
    pub(crate) fn claim(attempt: u32, task: &[u8], at: i64) -> Result<Self, serde_json::Error> {
        Ok(Self::Claim(Claim {
            attempt,
            at,
            task: serde_json::from_slice::<&RawValue>(task)?.to_owned(),
        }))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // Expect safety: structs of strings, numbers, times and raw JSON always serialise.
        serde_json::to_vec(self).expect("plain structs serialise")
    }
}

/// What a claim says of its task.
pub(super) fn claimed(claim: &Claim) -> Option<WireTask<'_>> {
    WireTask::parse(claim.task.get().as_bytes()).ok()
}

/// The endpoint's clock.
pub(crate) fn unix_ms() -> i64 {
    Utc::now().timestamp_millis()
}
