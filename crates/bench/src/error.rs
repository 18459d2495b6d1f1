//! Why nothing was measured.

use std::time::Duration;

/// Why nothing was measured. A run that was measured and is void is no error.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Not `http://host:port`.
    #[error("{0:?} is not a URL like http://127.0.0.1:8888")]
    BadUrl(String),
    /// The API cannot be reached, or broke off.
    #[error("tasker's API at {address}: {source}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What happened.
        source: std::io::Error,
    },
    /// The API answered what a run cannot go on with.
    #[error("the API answered {what} with status {status}: {text}")]
    Refused {
        /// What was asked.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The answer, cut.
        text: String,
    },
    /// The answer is not tasker's.
    #[error("the answer is not tasker's: {0}")]
    Strange(String),
    /// The journal of the simulated endpoints cannot be written.
    #[error("the journal of the simulated endpoints cannot be written: {0}")]
    Journal(String),
    /// The simulated endpoints were not welcomed.
    #[error("{welcomed} of {endpoints} endpoints were welcomed within {within:?}: {last}")]
    NotWelcomed {
        /// How many were.
        welcomed: u64,
        /// Of how many.
        endpoints: usize,
        /// How long was waited for the next one.
        within: Duration,
        /// What went wrong last.
        last: String,
    },
    /// A name or number that cannot be used.
    #[error("{0}")]
    Usage(String),
}
