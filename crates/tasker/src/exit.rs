//! How the programs end: exit codes, and failures that become one.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | it worked; of a task: DONE, and every expected endpoint succeeded |
//! | 1 | it was refused, or something failed |
//! | 2 | the task is INCOMPLETE |
//! | 3 | the task is DONE, and not everything succeeded |
//! | 4 | the task was cancelled |
//! | 64 | usage: the command line, the configuration or the request is wrong |
//! | 69 | unavailable: a server cannot be reached, or a port is taken |
//! | 75 | not yet: the task is not settled; work is left in the worker's journal, or tasks to be published by the API's next start |

use std::process::ExitCode;

use tasker_core::TaskStatus;

use crate::config::ConfigError;
use crate::terminal::tell;

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// It worked.
    pub const OK: Self = Self(0);
    /// It was refused, or something failed.
    pub const FAILED: Self = Self(1);
    /// The task is INCOMPLETE.
    pub const INCOMPLETE: Self = Self(2);
    /// The task is DONE, and not everything succeeded.
    pub const NOT_ALL_SUCCEEDED: Self = Self(3);
    /// The task was cancelled.
    pub const CANCELLED: Self = Self(4);
    /// The command line, the configuration or the request is wrong.
    pub const USAGE: Self = Self(64);
    /// A server cannot be reached.
    pub const UNAVAILABLE: Self = Self(69);
    /// Not yet.
    pub const NOT_YET: Self = Self(75);

    /// The code of a task: its status, and whether all that was expected succeeded.
    #[must_use]
    pub const fn of_task(status: TaskStatus, all_succeeded: bool) -> Self {
        match status {
            TaskStatus::Created | TaskStatus::Sent => Self::NOT_YET,
            TaskStatus::Incomplete => Self::INCOMPLETE,
            TaskStatus::Done if all_succeeded => Self::OK,
            TaskStatus::Done => Self::NOT_ALL_SUCCEEDED,
            TaskStatus::Cancelled => Self::CANCELLED,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// Why a command did not do what it was asked for. The text is for the person who typed it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line or a file that it names is wrong.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A server cannot be reached, or a port is taken.
    #[error("{0}")]
    Unavailable(String),
    /// It was refused, or something failed.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Config(_) => Exit::USAGE,
            Self::Unavailable(_) => Exit::UNAVAILABLE,
            Self::Failed(_) => Exit::FAILED,
        }
    }
}

/// Ends a program: a failure is told on stderr.
#[must_use]
pub fn end(result: Result<Exit, Failure>) -> ExitCode {
    result
        .unwrap_or_else(|failure| {
            tell(&format!("error: {failure}"));
            failure.exit()
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_the_code_of_its_status() {
        for (status, all_succeeded, code) in [
            (TaskStatus::Done, true, 0),
            (TaskStatus::Incomplete, false, 2),
            (TaskStatus::Done, false, 3),
            (TaskStatus::Cancelled, false, 4),
            (TaskStatus::Sent, false, 75),
            (TaskStatus::Created, true, 75),
        ] {
            assert_eq!(Exit::of_task(status, all_succeeded), Exit(code), "{status}");
        }
    }
}
