//! Error numbers of task responses.
//!
//! `0` is success, `1` a general error, `2..=999` are the handler's own. From 1000 on they are made
//! by the engine; this is the one table of them.

/// The handler succeeded.
pub const OK: i32 = 0;
/// The handler failed without a number of its own.
pub const GENERAL: i32 = 1;
/// The first number that belongs to the engine; handlers cannot use it or a greater one.
pub const ENGINE: i32 = 1000;
/// The endpoint has no handler for the task type.
pub const NO_HANDLER: i32 = 1000;
/// The handler did not end within `timeout_s`.
pub const TIMED_OUT: i32 = 1001;
/// The worker died while the handler ran; the run is not repeated (`run_policy: once`).
pub const INTERRUPTED: i32 = 1002;
/// The endpoint was silent for so long that the run counts as interrupted.
pub const LOST_CONTACT: i32 = 1003;
/// The payload breaks the handler's schema.
pub const BAD_PAYLOAD: i32 = 1004;
/// The entry cannot be understood.
pub const BAD_ENTRY: i32 = 1005;
/// The entry's version is unknown.
pub const UNKNOWN_VERSION: i32 = 1006;
/// The task killed its worker too often.
pub const POISON: i32 = 1007;
/// The task expired before the handler could start.
pub const EXPIRED: i32 = 1008;
/// The task was cancelled.
pub const CANCELLED: i32 = 1009;
/// The handler's reply cannot be understood or is too long.
pub const BAD_REPLY: i32 = 1010;
/// The handler could not be started.
pub const NOT_STARTED: i32 = 1011;
/// The handler was ended by a signal.
pub const KILLED: i32 = 1012;
/// The handler panicked.
pub const PANICKED: i32 = 1013;
/// The endpoint came back with a new journal and no longer knows what became of the run.
pub const JOURNAL_LOST: i32 = 1014;

/// The meaning of a number of the engine; `None` for a handler's own.
#[must_use]
pub const fn meaning(errnr: i32) -> Option<&'static str> {
    Some(match errnr {
        NO_HANDLER => "no handler for this task type on this endpoint",
        TIMED_OUT => "the handler did not end in time",
        INTERRUPTED => "the worker died while the handler ran",
        LOST_CONTACT => "the endpoint was silent for too long",
        BAD_PAYLOAD => "the payload breaks the handler's schema",
        BAD_ENTRY => "the task cannot be understood",
        UNKNOWN_VERSION => "the message's version is unknown",
        POISON => "the task killed its worker too often",
        EXPIRED => "the task expired before it could start",
        CANCELLED => "the task was cancelled",
        BAD_REPLY => "the handler's reply cannot be understood or is too long",
        NOT_STARTED => "the handler could not be started",
        KILLED => "the handler was ended by a signal",
        PANICKED => "the handler panicked",
        JOURNAL_LOST => "the endpoint lost its journal during the run",
        _ => return None,
    })
}
