//! What goes wrong inside a transaction, and what that means.

use diesel::result::{DatabaseErrorKind, Error as Diesel};
use tasker_core::store::{Source, StoreError};

/// Why a transaction was rolled back.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database, or the way to it.
    Database(Diesel),
    /// No connection, or no answer in time.
    Unavailable(Source),
    /// A row holds what no release has written.
    Corrupt { table: &'static str, what: String },
    /// The caller broke a promise of the port.
    Refused(String),
    /// Another writer was faster with the same key: the whole transaction again.
    Raced,
    /// A task of a batch collided with another writer's: one transaction a task.
    Collided,
}

impl From<Diesel> for Failure {
    fn from(error: Diesel) -> Self {
        Self::Database(error)
    }
}

/// What to do about an error of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    /// The transaction lost against another one; the same again may succeed at once.
    Transient,
    /// The same again may succeed later.
    Unavailable,
    /// The same again will fail again.
    Permanent,
}

/// diesel-async drops MySQL's error numbers, so the text decides. Connections ask the server for
/// English messages. Each line names the numbers it stands for.
const TRANSIENT: &[&str] = &[
    "try restarting transaction",         // MySQL 1213, 1205
    "Record has changed since last read", // MariaDB 1020
    "database is locked",                 // SQLITE_BUSY
    "database table is locked",           // SQLITE_LOCKED
];

const INTERRUPTED: &str = "Query execution was interrupted";

/// As [`TRANSIENT`], for what heals only with time or an operator.
const UNAVAILABLE: &[&str] = &[
    "Input/output error",                 // mysql_async: the connection broke
    "Driver error",                       // mysql_async: the connection is out of step
    "Connection to the server is closed", // mysql_async
    "Too many connections",               // 1040
    "more than 'max_user_connections'",   // 1203
    "Server shutdown in progress",        // 1053
    "Connection was killed",              // 1927
    INTERRUPTED,                          // 1317, 1969, 3024
    "is full",                            // 1114, 1021, SQLITE_FULL
    "read-only",                          // 1290, 1792, 1836: a replica after a switch-over
    "disk I/O error",                     // SQLITE_IOERR
    "unable to open database file",       // SQLITE_CANTOPEN
];

fn nature(error: &Diesel) -> Nature {
    let Diesel::DatabaseError(kind, info) = error else {
        return match error {
            Diesel::BrokenTransactionManager | Diesel::RollbackErrorOnCommit { .. } => {
                Nature::Unavailable
            }
            _ => Nature::Permanent,
        };
    };
    let text = info.message();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match kind {
        DatabaseErrorKind::SerializationFailure => Nature::Transient,
        DatabaseErrorKind::ClosedConnection
        | DatabaseErrorKind::UnableToSendCommand
        | DatabaseErrorKind::ReadOnlyTransaction => Nature::Unavailable,
        DatabaseErrorKind::Unknown if says(TRANSIENT) => Nature::Transient,
        DatabaseErrorKind::Unknown if says(UNAVAILABLE) => Nature::Unavailable,
        _ => Nature::Permanent,
    }
}

/// Whether the same again may succeed at once.
pub(crate) fn is_transient(error: &Diesel) -> bool {
    nature(error) == Nature::Transient
}

impl Failure {
    /// Whether the transaction as a whole may be tried again at once.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) => is_transient(error),
            Self::Raced => true,
            _ => false,
        }
    }

    /// Whether another connection might have answered: not if it was the statement that took too long.
    pub(crate) fn may_be_of_connection(&self) -> bool {
        match self {
            Self::Database(error) => {
                nature(error) == Nature::Unavailable && !error.to_string().contains(INTERRUPTED)
            }
            _ => false,
        }
    }

    /// What the caller of the port is told.
    pub(crate) fn into_store_error(self, operation: &'static str) -> StoreError {
        match self {
            Self::Database(error) if nature(&error) == Nature::Permanent => StoreError::Refused {
                operation,
                source: error.into(),
            },
            Self::Database(error) => StoreError::Unavailable(error.into()),
            Self::Unavailable(source) => StoreError::Unavailable(source),
            Self::Corrupt { table, what } => StoreError::Corrupt { table, what },
            Self::Refused(what) => StoreError::Refused {
                operation,
                source: what.into(),
            },
            Self::Raced | Self::Collided => {
                StoreError::Unavailable("other writers were always faster".into())
            }
        }
    }
}

/// A unique violation where another writer may legitimately be faster.
pub(crate) fn raced(error: Diesel) -> Failure {
    match error {
        Diesel::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Failure::Raced,
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(text: &str) -> Failure {
        Diesel::DatabaseError(DatabaseErrorKind::Unknown, Box::new(text.to_owned())).into()
    }

    #[test]
    fn only_lost_races_are_tried_again() {
        for text in [
            "Deadlock found when trying to get lock; try restarting transaction",
            "Lock wait timeout exceeded; try restarting transaction",
            "Record has changed since last read in table 'tasks'",
            "database is locked",
        ] {
            assert!(unknown(text).is_transient(), "{text}");
        }
        for text in [
            "Table 'x.tasks' doesn't exist",
            "Input/output error: broken pipe",
        ] {
            assert!(!unknown(text).is_transient(), "{text}");
        }
    }

    #[test]
    fn a_statement_that_took_too_long_is_not_the_fault_of_its_connection() {
        assert!(unknown("Input/output error: broken pipe").may_be_of_connection());
        let slow = "Query execution was interrupted (max_statement_time exceeded)";
        assert!(!unknown(slow).may_be_of_connection());
        assert!(!unknown("no such table: tasks").may_be_of_connection());
    }

    #[test]
    fn what_may_heal_is_told_from_what_will_not() {
        for (text, heals) in [
            (
                "Input/output error: Input/output error: Connection reset by peer (os error 104)",
                true,
            ),
            (
                "Query execution was interrupted (max_statement_time exceeded)",
                true,
            ),
            ("The table 'tasks' is full", true),
            ("database or disk is full", true),
            ("Table 'x.tasks' doesn't exist", false),
            ("Data too long for column 'client' at row 1", false),
            ("no such table: tasks", false),
        ] {
            let error = unknown(text).into_store_error("test");
            assert_eq!(matches!(error, StoreError::Unavailable(_)), heals, "{text}");
        }
    }
}
