//! How a ledger is opened, and where it is.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tasker_core::store::{Source, Timing};
use tasker_tls::Ca;

use crate::clock::Clock;

/// How a ledger is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// How many connections are kept at most (on SQLite: for reading; there is one for writing).
    pub pool_size: usize,
    /// The time spans that the ledger works with.
    pub timing: Timing,
    /// How long an operation waits for a free connection before the database counts as too busy.
    pub pool_wait: Duration,
    /// How long the server may work on one statement. A transaction as a whole, which may have many
    /// statements, is given up after four times as long.
    pub statement_timeout: Duration,
    /// Whether every statement is logged (target `tasker_store::sql`, level DEBUG), without values.
    pub verbose: bool,
    /// Whose certificate a MySQL server must show, for its host by name; without it nothing is
    /// encrypted.
    pub tls: Option<Ca>,
    /// Whose clock decides about deadlines and silence.
    pub clock: Clock,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            pool_size: 10,
            timing: Timing::default(),
            pool_wait: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(5),
            verbose: false,
            tls: None,
            clock: Clock::default(),
        }
    }
}

/// Why a ledger could not be opened or prepared. The text never holds a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL cannot be used.
    #[error("the database URL must be {expected}")]
    BadUrl {
        /// What is allowed.
        expected: &'static str,
    },
    /// The database cannot be reached.
    #[error("the database cannot be reached: {0}")]
    Unreachable(#[source] Source),
    /// The database refused it.
    #[error("the database refused it: {0}")]
    Refused(#[source] Source),
}

/// A database and how it is reached, for an administrator. A URL alone is reached without TLS.
#[derive(Clone)]
pub struct Place<'a> {
    pub(crate) url: &'a str,
    pub(crate) tls: Option<&'a Ca>,
}

impl<'a> Place<'a> {
    /// With a CA the server has to show its certificate.
    #[must_use]
    pub const fn new(url: &'a str, tls: Option<&'a Ca>) -> Self {
        Self { url, tls }
    }
}

impl fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Place")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl<'a> From<&'a str> for Place<'a> {
    fn from(url: &'a str) -> Self {
        Self::new(url, None)
    }
}

impl<'a> From<&'a String> for Place<'a> {
    fn from(url: &'a String) -> Self {
        Self::new(url, None)
    }
}

/// Where a ledger is. Has no `Debug`: it holds a password.
#[derive(Clone)]
pub(crate) enum Location {
    Mysql {
        url: String,
        server: String,
        database: String,
    },
    Sqlite(PathBuf),
}

const MYSQL_URL: &str = "mysql://user:password@host:port/database (special characters in user and \
                         password percent-encoded; database of letters, digits, `_` and `-`)";
/// What the driver would take TLS from: one of them switches its verification off.
const TLS_OPTIONS: [&str; 4] = [
    "require_ssl",
    "verify_ca",
    "verify_identity",
    "built_in_roots",
];
const NO_TLS_OPTIONS: &str = "without options about TLS: manager.db.tls is there for that";
const ANY_URL: &str = "mysql://user:password@host:port/database, sqlite:///absolute/path or \
                       sqlite://relative/path";

impl Location {
    pub(crate) fn parse(url: &str) -> Result<Self, OpenError> {
        if let Some(rest) = url.strip_prefix("mysql://") {
            let bad = OpenError::BadUrl {
                expected: MYSQL_URL,
            };
            let Some((server, path)) = rest.split_once('/') else {
                return Err(bad);
            };
            let (database, options) = path.split_once('?').unwrap_or((path, ""));
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
            if server.is_empty()
                || !(1..=64).contains(&database.len())
                || !database.bytes().all(is_plain)
            {
                return Err(bad);
            }
            let mut keys = options.split('&').map(|o| o.split('=').next().unwrap_or(o));
            // Nothing is encoded in the name of an option, unless to hide it.
            if keys.any(|key| TLS_OPTIONS.contains(&key) || key.contains('%')) {
                return Err(OpenError::BadUrl {
                    expected: NO_TLS_OPTIONS,
                });
            }
            let options = if options.is_empty() {
                String::new()
            } else {
                format!("?{options}")
            };
            return Ok(Self::Mysql {
                url: url.to_owned(),
                server: format!("mysql://{server}/{options}"),
                database: database.to_owned(),
            });
        }
        match url.strip_prefix("sqlite://") {
            // SQLite gives these a meaning of their own: a database in memory, which two
            // connections do not share, and options.
            Some(path) if !path.is_empty() && !path.starts_with([':', '?']) => {
                Ok(Self::Sqlite(PathBuf::from(path)))
            }
            _ => Err(OpenError::BadUrl { expected: ANY_URL }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_both_databases_are_read() {
        let Ok(Location::Mysql {
            server, database, ..
        }) = Location::parse("mysql://u:p%40ss@db:3306/tasker-1?tcp_keepalive=10000")
        else {
            panic!("a MySQL URL");
        };
        assert_eq!(server, "mysql://u:p%40ss@db:3306/?tcp_keepalive=10000");
        assert_eq!(database, "tasker-1");
        for (url, path) in [
            ("sqlite:///var/lib/t.db", "/var/lib/t.db"),
            ("sqlite://data/t.db", "data/t.db"),
        ] {
            let Ok(Location::Sqlite(found)) = Location::parse(url) else {
                panic!("a SQLite URL");
            };
            assert_eq!(found, PathBuf::from(path));
        }
    }

    #[test]
    fn other_urls_are_refused_without_their_password() {
        for url in [
            "mysql://u:secret@db:3306",
            "mysql://u:secret@db:3306/",
            "mysql://u:secret@db/a b",
            "mysql://u:secret@db/a`b",
            "mysql:///db",
            "mysql://u:secret@db/x?require_ssl=true",
            "mysql://u:secret@db/x?tcp_nodelay=true&verify_ca=false",
            "mysql://u:secret@db/x?verify%5fidentity=false",
            "mysql://u:secret@db/x?built_in_roots",
            "postgres://u:secret@db/x",
            "sqlite://",
            "sqlite://:memory:",
            "secret",
            "",
        ] {
            let Err(error) = Location::parse(url) else {
                panic!("{url} was taken");
            };
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }
}
