//! The ledger on MySQL, MariaDB and SQLite: the Store port of `tasker-core` on diesel.
//!
//! The queries in `ledger/` are written once and compiled twice, as a child of `mysql` and of
//! `sqlite`; each says what a connection is, how a transaction begins, and the few statements
//! that differ. Every operation goes through one door (`ledger/door.rs`): a spawned transaction,
//! bounded in time, tried again as a whole when it loses a race.
//!
//! # Layout
//!
//! * `admin`: prepare a database (migrations), look whether it is prepared
//! * `clock`: what time it is
//! * `options`: where a ledger is and how it is opened
//! * `schema`, `rows`: the tables, and their way to and from the words of `core`
//! * `failure`: what an error of the database means
//! * `apply`: what a report does to a row, a pure function
//! * `ledger/`: the operations
//! * `mysql`, `sqlite`: the two databases

#![allow(
    clippy::duplicate_mod,
    reason = "the queries are compiled once for each database"
)]

mod admin;
mod apply;
mod batch;
mod clock;
mod failure;
mod mysql;
mod options;
mod rows;
mod schema;
mod sqlite;

use std::sync::Arc;

use tasker_core::accounts::Accounts;
use tasker_core::jobs::Jobs;
use tasker_core::notice::Notices;
use tasker_core::runs::Runs;
use tasker_core::store::{Ports, Store};

pub use admin::{is_empty, migrate, reset, schema_is_current};
pub use clock::{Clock, TellTime};
use options::Location;
pub use options::{OpenError, Place, StoreOptions};

/// Opens the ledger of a URL: `mysql://user:password@host:port/database`, `sqlite:///absolute/path`
/// or `sqlite://relative/path`. Nothing is connected before the first operation, so it succeeds
/// while the database is away; operations then answer
/// [`StoreError::Unavailable`](tasker_core::store::StoreError::Unavailable). Needs the schema that
/// [`migrate`] makes, and a running tokio runtime for its operations.
///
/// # Errors
/// [`OpenError::BadUrl`].
pub fn open(url: &str, options: &StoreOptions) -> Result<Ports, OpenError> {
    Ok(match Location::parse(url)? {
        Location::Mysql { url, .. } => {
            let pools = mysql::Pools::new(url, options)?;
            ports(mysql::ledger::Ledger::new(pools, options))
        }
        Location::Sqlite(path) => {
            let pools = sqlite::Pools::new(&path, options)?;
            ports(sqlite::ledger::Ledger::new(pools, options))
        }
    })
}

/// One ledger, by each of its ports.
fn ports<L: Store + Accounts + Jobs + Notices + Runs>(ledger: L) -> Ports {
    let ledger = Arc::new(ledger);
    Ports {
        accounts: ledger.clone(),
        jobs: ledger.clone(),
        notices: ledger.clone(),
        runs: ledger.clone(),
        store: ledger,
    }
}
