//! To the workers: tasks, cancels, welcomes.

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::audience::has;
use super::{VERSION, WireError, check};
use crate::errnr;
use crate::id::{BootId, TaskUid};
use crate::name::{Client, EndpointName, Identifier, TaskType};
use crate::task::{NewTask, RunPolicy};

/// The greatest envelope that is written or read, in bytes.
pub const MAX_ENVELOPE_BYTES: usize = 8 << 20;

/// A task as it travels. Stored as bytes when it is accepted and never serialised again, so that
/// what is signed, sent and run is what was stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WireTask<'a> {
    /// Its identity.
    pub uid: TaskUid,
    /// The client's identifier.
    #[serde(borrow)]
    pub identifier: Cow<'a, str>,
    /// The task type.
    #[serde(rename = "type", borrow)]
    pub task_type: Cow<'a, str>,
    /// Who asked.
    #[serde(borrow)]
    pub client: Cow<'a, str>,
    /// The payload, byte for byte as the client sent it; `null` if there is none.
    #[serde(borrow)]
    pub payload: Option<&'a RawValue>,
    /// What happens to an interrupted run.
    pub run_policy: RunPolicy,
    /// How long one run may take, in seconds.
    pub timeout_s: u32,
    /// When it was accepted, by the database's clock.
    pub issued_at: DateTime<Utc>,
    /// Until when it may start, by the database's clock.
    pub expires_at: DateTime<Utc>,
}

impl<'a> WireTask<'a> {
    /// The bytes of a task that is being stored. `payload` must be JSON, as [`NewTask`] promises.
    ///
    /// # Errors
    /// If the payload is not JSON.
    pub fn encode(
        task: &NewTask,
        issued_at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<Vec<u8>, WireError> {
        let shape = |e: serde_json::Error| WireError::Shape(e.to_string());
        let payload = match &task.payload {
            Some(bytes) => Some(serde_json::from_slice::<&RawValue>(bytes).map_err(shape)?),
            None => None,
        };
        let wire = WireTask {
            uid: task.uid,
            identifier: task.identifier.as_str().into(),
            task_type: task.task_type.as_str().into(),
            client: task.client.as_str().into(),
            payload,
            run_policy: task.run_policy,
            timeout_s: task.timeout_s,
            issued_at,
            expires_at,
        };
        serde_json::to_vec(&wire).map_err(shape)
    }

    /// The same task with a new life span, for a retry of a task that has expired.
    ///
    /// # Errors
    /// If the bytes are not those of a task.
    pub fn renew(
        bytes: &[u8],
        issued_at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<Vec<u8>, WireError> {
        let renewed = WireTask {
            issued_at,
            expires_at,
            ..WireTask::parse(bytes)?
        };
        serde_json::to_vec(&renewed).map_err(|e| WireError::Shape(e.to_string()))
    }

    /// Reads the bytes of a task.
    ///
    /// # Errors
    /// If a field is missing or has the wrong type.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        serde_json::from_slice(bytes).map_err(|e| WireError::Shape(e.to_string()))
    }
}

/// One task in an envelope that is being written.
#[derive(Debug, Clone, Copy)]
pub struct EntryRef<'a> {
    /// The attempt that the ledger ordered.
    pub attempt: u32,
    /// Who is meant, when the message reaches others too; others skip the entry silently.
    pub audience: Option<&'a [EndpointName]>,
    /// The stored bytes of the task.
    pub task: &'a [u8],
}

impl EntryRef<'_> {
    /// About how many bytes the entry adds to an envelope; never too few.
    #[must_use]
    pub fn weight(&self) -> usize {
        let names: usize = self.audience.map_or(4, |list| {
            list.iter()
                .map(|name| name.as_str().len() + 3)
                .sum::<usize>()
                + 2
        });
        self.task.len() + names + 64
    }
}

/// One task of an envelope that was read, checked in itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The task's identity.
    pub uid: TaskUid,
    /// The attempt that the ledger ordered.
    pub attempt: u32,
    /// The bytes of the task; [`WireTask::parse`] succeeds on them.
    pub task: Bytes,
    /// The task type that the task itself names.
    pub task_type: TaskType,
    /// The client's identifier.
    pub identifier: Identifier,
    /// Who asked.
    pub client: Client,
    /// What happens to an interrupted run.
    pub run_policy: RunPolicy,
    /// How long one run may take, in seconds.
    pub timeout_s: u32,
    /// Until when it may start, by the database's clock.
    pub expires_at: DateTime<Utc>,
}

/// An entry that cannot be taken, but whose sender can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEntry {
    /// The task's identity, if it can be read.
    pub uid: Option<TaskUid>,
    /// The attempt, if it can be read.
    pub attempt: u32,
    /// The number for the REJECTED report, see [`crate::errnr`].
    pub errnr: i32,
    /// What is wrong and where.
    pub errmsg: String,
}

/// One cancelled task on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelEntry {
    /// The cancelled task.
    pub uid: TaskUid,
    /// Until when its tombstone must be kept.
    pub expires_at: DateTime<Utc>,
}

/// A message that cancels tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cancel {
    v: u32,
    cancel: Vec<CancelEntry>,
}

impl Cancel {
    /// The bytes of a message that cancels these tasks.
    #[must_use]
    pub fn encode(cancel: Vec<CancelEntry>) -> Vec<u8> {
        to_vec(&Self { v: VERSION, cancel })
    }
}

/// A task that the endpoint has already had under another journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Had {
    /// The task.
    pub uid: TaskUid,
    /// The last attempt that must not be run; a later one is a retry and may.
    pub attempt: u32,
}

/// The ledger's answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The start of the worker that is answered; a welcome to an earlier start is ignored.
    pub boot: BootId,
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// Unexpired tasks of this endpoint that are cancelled.
    #[serde(default)]
    pub cancelled: Vec<CancelEntry>,
    /// For a fresh journal: unexpired tasks that this endpoint has already had and must not run,
    /// up to an attempt each. An attempt that the ledger ordered because of the new journal is not
    /// among them.
    #[serde(default)]
    pub had: Vec<Had>,
    /// Whether another welcome to the same hello follows, because this one is full.
    #[serde(default)]
    pub more: bool,
}

impl Welcome {
    /// The bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Frame<'a> {
            v: u32,
            welcome: &'a Welcome,
        }
        to_vec(&Frame {
            v: VERSION,
            welcome: self,
        })
    }
}

/// Serialises what cannot fail to serialise: structs of strings, numbers and times.
fn to_vec(value: &impl Serialize) -> Vec<u8> {
    // Expect safety: no map with other keys than strings and no fallible Serialize is involved.
    serde_json::to_vec(value).expect("plain structs serialise")
}

/// A message to workers, as one of their endpoints read it.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    /// Tasks for this endpoint that can be taken.
    pub entries: Vec<Entry>,
    /// How many tasks are for others; this endpoint skips them.
    pub for_others: usize,
    /// Tasks that cannot be taken.
    pub bad: Vec<BadEntry>,
    /// Tasks that are cancelled.
    pub cancel: Vec<CancelEntry>,
    /// An answer to a hello.
    pub welcome: Option<Welcome>,
}

impl Envelope {
    /// The bytes of a message that carries these tasks. Stored task bytes are copied as they are.
    #[must_use]
    pub fn encode(entries: &[EntryRef<'_>]) -> Vec<u8> {
        let size = entries.iter().map(EntryRef::weight).sum::<usize>() + 32;
        let mut out = Vec::with_capacity(size);
        out.extend_from_slice(format!("{{\"v\":{VERSION},\"entries\":[").as_bytes());
        for (i, entry) in entries.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(
                format!("{{\"attempt\":{},\"audience\":", entry.attempt).as_bytes(),
            );
            match entry.audience {
                None => out.extend_from_slice(b"null"),
                Some(names) => out.extend_from_slice(&to_vec(&names)),
            }
            out.extend_from_slice(b",\"task\":");
            out.extend_from_slice(entry.task);
            out.extend_from_slice(b",\"sig\":null}");
        }
        out.extend_from_slice(b"]}");
        out
    }

    /// Reads a message, as this endpoint.
    ///
    /// # Errors
    /// [`WireError`] if the message as a whole cannot be read. Entries that cannot be read are in
    /// [`Envelope::bad`].
    pub fn parse(bytes: &[u8], me: &EndpointName) -> Result<Self, WireError> {
        #[derive(Deserialize)]
        struct Frame<'a> {
            #[serde(borrow, default)]
            entries: Vec<&'a RawValue>,
            #[serde(default)]
            cancel: Vec<CancelEntry>,
            #[serde(default)]
            welcome: Option<Welcome>,
        }
        check(bytes, MAX_ENVELOPE_BYTES)?;
        let frame: Frame<'_> =
            serde_json::from_slice(bytes).map_err(|e| WireError::Shape(e.to_string()))?;
        if frame.entries.is_empty() && frame.cancel.is_empty() && frame.welcome.is_none() {
            return Err(WireError::Shape(
                "one of `entries`, `cancel`, `welcome` is needed".into(),
            ));
        }
        let mut envelope = Self {
            cancel: frame.cancel,
            welcome: frame.welcome,
            ..Self::default()
        };
        for raw in frame.entries {
            match parse_entry(raw.get(), me) {
                Ok(Some(entry)) => envelope.entries.push(entry),
                Ok(None) => envelope.for_others += 1,
                Err(bad) => envelope.bad.push(bad),
            }
        }
        Ok(envelope)
    }
}

/// Reads an entry; `None`: it is for others.
fn parse_entry(text: &str, me: &EndpointName) -> Result<Option<Entry>, BadEntry> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        attempt: u32,
        #[serde(borrow, default)]
        audience: Option<&'a RawValue>,
        #[serde(borrow)]
        task: &'a RawValue,
    }
    /// What is needed to answer for an entry that cannot be taken.
    #[derive(Deserialize)]
    struct Answerable {
        attempt: u32,
        task: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        uid: TaskUid,
    }
    let bad = |errmsg: String| {
        let known = serde_json::from_str::<Answerable>(text).ok();
        BadEntry {
            uid: known.as_ref().map(|k| k.task.uid),
            attempt: known.map_or(0, |k| k.attempt),
            errnr: errnr::BAD_ENTRY,
            errmsg,
        }
    };
    let raw: Raw<'_> = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
    if let Some(audience) = raw.audience
        && !has(audience, me).map_err(|e| bad(format!("audience: {e}")))?
    {
        return Ok(None);
    }
    let bytes = raw.task.get().as_bytes();
    let task = WireTask::parse(bytes).map_err(|e| bad(e.to_string()))?;
    let named = |field: &str, e: crate::name::NameError| bad(format!("task.{field} {e}"));
    if raw.attempt == 0 {
        return Err(bad("attempt must be at least 1".into()));
    }
    let entry = Entry {
        uid: task.uid,
        attempt: raw.attempt,
        task_type: TaskType::parse(&task.task_type).map_err(|e| named("type", e))?,
        identifier: Identifier::parse(&task.identifier).map_err(|e| named("identifier", e))?,
        client: Client::parse(&task.client).map_err(|e| named("client", e))?,
        run_policy: task.run_policy,
        timeout_s: task.timeout_s,
        expires_at: task.expires_at,
        task: Bytes::copy_from_slice(bytes),
    };
    Ok(Some(entry))
}
