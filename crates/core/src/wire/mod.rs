//! What travels between the API and the workers. `docs/wire.md` specifies it, golden files test it.
//!
//! Messages are read in two steps: first the frame, strictly (version, depth, duplicate keys, size),
//! then each entry or report by itself, so that one bad entry does not take its neighbours down.
//! Readers ignore unknown fields and refuse an unknown `v`.

mod audience;
mod envelope;
mod event;
mod refused;
mod report;

pub use envelope::{
    BadEntry, Cancel, CancelEntry, Entry, EntryRef, Envelope, Had, MAX_ENVELOPE_BYTES, Welcome,
    WireTask,
};
pub use event::{Event, MAX_EVENT_MARKS};
pub use refused::{RefusalReason, Refused};
pub use report::{Hello, MAX_ERRMSG_BYTES, MAX_REPLY_BYTES, MAX_REPORT_BYTES, Report, ReportBatch};

/// The version that this release writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// How deep a message may nest: a payload of [`crate::strict::MAX_PAYLOAD_DEPTH`] within its frames.
const MAX_DEPTH: usize = crate::strict::MAX_PAYLOAD_DEPTH + 8;

/// A message that cannot be read. The text names what is wrong and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than allowed; not parsed at all.
    #[error("{bytes} bytes, at most {limit} are allowed")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Not JSON, too deep, or with a key twice.
    #[error(transparent)]
    Malformed(#[from] crate::strict::JsonFault),
    /// A field is missing or has the wrong type.
    #[error("{0}")]
    Shape(String),
    /// The version is not one that this release reads.
    #[error("version {0} is unknown, this release reads version {VERSION}")]
    Version(u64),
}

impl WireError {
    /// One word for counters and logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "too_long",
            Self::Malformed(_) => "malformed",
            Self::Shape(_) => "shape",
            Self::Version(_) => "version",
        }
    }
}

/// Checks size, JSON and version of a message, in this order.
fn check(bytes: &[u8], limit: usize) -> Result<(), WireError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        v: Option<serde_json::Number>,
    }
    if bytes.len() > limit {
        return Err(WireError::TooLong {
            bytes: bytes.len(),
            limit,
        });
    }
    crate::strict::check(bytes, MAX_DEPTH)?;
    let frame: Versioned =
        serde_json::from_slice(bytes).map_err(|e| WireError::Shape(e.to_string()))?;
    match frame.v.and_then(|v| v.as_u64()) {
        Some(v) if v == u64::from(VERSION) => Ok(()),
        Some(v) => Err(WireError::Version(v)),
        None => Err(WireError::Shape("`v` must be a positive integer".into())),
    }
}
