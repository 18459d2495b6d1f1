//! Whose clock the ledger goes by.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};

/// A clock that is told what time it is.
pub type TellTime = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Whose clock the ledger goes by.
#[derive(Clone, Default)]
pub enum Clock {
    /// The database's: the server's, or on SQLite the host's. The only one outside of tests.
    #[default]
    Database,
    /// One that is told what time it is, for tests and simulations, in which hours must pass within
    /// seconds and two runs must see the same times. Called at the start of every transaction, by
    /// the task that runs it. All processes of a ledger must be told the same.
    Told(TellTime),
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "Database",
            Self::Told(_) => "Told",
        })
    }
}

tokio::task_local! {
    static TOLD: TellTime;
}

impl Clock {
    /// Runs a transaction under this clock.
    pub(crate) async fn govern<T>(&self, transaction: impl Future<Output = T>) -> T {
        match self {
            Self::Database => transaction.await,
            Self::Told(clock) => TOLD.scope(Arc::clone(clock), transaction).await,
        }
    }
}

/// The time of the running transaction, to the microsecond; `database` is what the database says.
pub(crate) fn read(database: DateTime<Utc>) -> DateTime<Utc> {
    TOLD.try_with(|clock| clock())
        .unwrap_or(database)
        .trunc_subsecs(6)
}
