//! SQLite: the connection, its settings, and the statements that differ.
//!
//! One connection writes, several read (WAL), so a transaction never waits for another one's locks
//! within a process; between processes `busy_timeout` does. The database's clock is the host's: the
//! file and the process are on the same machine.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::connection::{AnsiTransactionManager, SimpleConnection};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, QueryDsl, SelectableHelper, SqliteConnection,
};
use diesel_async::pooled_connection::deadpool::{Object, Pool, PoolError};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};

use tasker_core::id::TaskId;

use crate::batch::parts;
use crate::failure::{Failure, is_transient};
use crate::options::{OpenError, StoreOptions};
use crate::rows::{
    NewAuditRow, NewNoticeRow, NewTaskRow, ResponseBody, ResponseRow, RunPayloadRow, RunTaskRow,
};
use crate::schema::{audit, notices, purged_tasks, responses, run_payloads, run_tasks, tasks};

/// How many pairs one query names: SQLite bounds how deep an expression nests.
const MAX_PAIRS: usize = 256;

/// A connection.
pub(crate) type Conn = SyncConnectionWrapper<SqliteConnection>;

/// The only writer holds the lock of the whole database.
macro_rules! lock {
    ($query:expr) => {
        $query
    };
}

/// As `lock!`.
macro_rules! lock_what_is_free {
    ($query:expr) => {
        $query
    };
}

/// When a task would have timed out that began when its endpoint was last heard of.
macro_rules! end_of_timeout {
    () => {
        "strftime('%Y-%m-%d %H:%M:%f', endpoints.last_seen_at, '+' || tasks.timeout_s || ' seconds')"
    };
}

/// Joins in the order of the text.
macro_rules! then {
    () => {
        "CROSS JOIN"
    };
}

/// Reads a table by this index only.
macro_rules! by_index {
    ($name:literal) => {
        concat!("INDEXED BY ", $name)
    };
}

/// Of no use here: nothing is sent anywhere.
macro_rules! kept {
    ($statement:expr) => {
        $statement
    };
}

/// Whether a column has one of these values.
macro_rules! among {
    ($table:ident.$column:ident, $values:expr) => {
        $table::$column.eq_any($values)
    };
}

#[path = "../ledger/mod.rs"]
pub(crate) mod ledger;

/// How long a transaction waits for one of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The most rows of one INSERT: 26 placeholders each, of 32,766.
const MAX_ROWS: usize = 1_000;
/// More readers than this never wait for each other on one host.
const MAX_READERS: usize = 4;

/// The connections.
pub(crate) struct Pools {
    writer: Pool<Conn>,
    readers: Pool<Conn>,
}

impl Pools {
    pub(crate) fn new(path: &Path, options: &StoreOptions) -> Result<Self, OpenError> {
        let Some(path) = path.to_str() else {
            return Err(OpenError::BadUrl {
                expected: "a path of UTF-8",
            });
        };
        let readers = options.pool_size.clamp(1, MAX_READERS);
        Ok(Self {
            writer: pool(path, 1, false, options.verbose)?,
            readers: pool(path, readers, true, options.verbose)?,
        })
    }

    pub(crate) async fn get(&self, access: ledger::Access) -> Result<Object<Conn>, PoolError> {
        match access {
            ledger::Access::Look | ledger::Access::Read => self.readers.get().await,
            ledger::Access::Write => self.writer.get().await,
        }
    }
}

fn pool(path: &str, size: usize, reads: bool, verbose: bool) -> Result<Pool<Conn>, OpenError> {
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(move |path| {
        let path = path.to_owned();
        Box::pin(async move {
            let mut conn = Conn::establish(&path).await?;
            conn.batch_execute(&settings(reads))
                .await
                .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
            if verbose {
                conn.set_instrumentation(ledger::log_statement);
            }
            Ok(conn)
        })
    });
    let manager = AsyncDieselConnectionManager::new_with_config(path, config);
    Pool::builder(manager)
        .max_size(size)
        .build()
        .map_err(|e| OpenError::Refused(e.into()))
}

/// Sets the journal mode, which is a property of the file. SQLite does not wait for another process that
/// does the same.
pub(crate) fn keep_wal(conn: &mut SqliteConnection) -> Result<(), diesel::result::Error> {
    let begun = Instant::now();
    loop {
        match conn.batch_execute("PRAGMA journal_mode = WAL") {
            Err(error) if is_transient(&error) && begun.elapsed() < BUSY_TIMEOUT => {
                std::thread::sleep(BUSY_TIMEOUT / 500);
            }
            done => return done,
        }
    }
}

/// The settings of a connection.
pub(crate) fn settings(reads: bool) -> String {
    format!(
        "PRAGMA busy_timeout = {}; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
         PRAGMA query_only = {};",
        BUSY_TIMEOUT.as_millis(),
        i32::from(reads),
    )
}

/// Begins a transaction. Readers see one snapshot; the writer takes its lock at once, so that no
/// transaction fails halfway because another process wrote.
pub(crate) async fn begin(conn: &mut Conn, access: ledger::Access) -> Result<(), Failure> {
    let begin = match access {
        ledger::Access::Look | ledger::Access::Read => "BEGIN DEFERRED",
        ledger::Access::Write => "BEGIN IMMEDIATE",
    };
    conn.spawn_blocking(move |conn| AnsiTransactionManager::begin_transaction_sql(conn, begin))
        .await?;
    Ok(())
}

/// The host's clock, UTC, microseconds. The connection is asked too: this is how the ledger tells
/// whether the database answers.
pub(crate) async fn now(conn: &mut Conn) -> Result<DateTime<Utc>, Failure> {
    conn.batch_execute("SELECT 1 FROM sqlite_master LIMIT 1")
        .await?;
    Ok(crate::clock::read(Utc::now()))
}

/// Rows of `responses` by task and endpoint.
pub(crate) async fn load_responses(
    conn: &mut Conn,
    pairs: &[(TaskId, &str)],
) -> Result<Vec<ResponseRow>, diesel::result::Error> {
    let mut rows = Vec::with_capacity(pairs.len());
    for part in pairs.chunks(MAX_PAIRS) {
        let mut query = responses::table
            .select(ResponseRow::as_select())
            .into_boxed();
        for (task, endpoint) in part {
            let is_pair = responses::task_id
                .eq(*task)
                .and(responses::endpoint.eq(*endpoint));
            query = query.or_filter(is_pair);
        }
        let found: Vec<ResponseRow> = diesel_async::RunQueryDsl::load(query, conn).await?;
        rows.extend(found);
    }
    Ok(rows)
}

pub(crate) async fn insert_tasks(
    conn: &mut Conn,
    rows: Vec<NewTaskRow>,
) -> Result<(), diesel::result::Error> {
    conn.spawn_blocking(move |conn| {
        for part in parts(&rows, MAX_ROWS, NewTaskRow::weight) {
            insert(conn, diesel::insert_into(tasks::table).values(part))?;
        }
        Ok(())
    })
    .await
}

pub(crate) async fn insert_notices(
    conn: &mut Conn,
    rows: Vec<NewNoticeRow>,
) -> Result<(), diesel::result::Error> {
    conn.spawn_blocking(move |conn| {
        for part in parts(&rows, MAX_ROWS, |row| row.body.len() + 4096) {
            insert(conn, diesel::insert_into(notices::table).values(part))?;
        }
        Ok(())
    })
    .await
}

pub(crate) async fn insert_responses(
    conn: &mut Conn,
    rows: Vec<ResponseBody>,
) -> Result<(), diesel::result::Error> {
    conn.spawn_blocking(move |conn| {
        for part in parts(&rows, MAX_ROWS, ResponseBody::weight) {
            insert(conn, diesel::insert_into(responses::table).values(part))?;
        }
        Ok(())
    })
    .await
}

/// Writes rows back that exist.
pub(crate) async fn save_responses(
    conn: &mut Conn,
    rows: Vec<ResponseRow>,
) -> Result<(), diesel::result::Error> {
    conn.spawn_blocking(move |conn| {
        for row in &rows {
            let one = responses::table.find(row.id);
            diesel::RunQueryDsl::execute(diesel::update(one).set(&row.body), conn)?;
        }
        Ok(())
    })
    .await
}

pub(crate) async fn insert_audit(
    conn: &mut Conn,
    rows: Vec<NewAuditRow>,
) -> Result<(), diesel::result::Error> {
    conn.spawn_blocking(move |conn| insert(conn, diesel::insert_into(audit::table).values(rows)))
        .await
}

pub(crate) async fn insert_run_tasks(
    conn: &mut Conn,
    rows: Vec<RunTaskRow>,
) -> Result<(), diesel::result::Error> {
    conn.spawn_blocking(move |conn| {
        for part in parts(&rows, MAX_ROWS, RunTaskRow::weight) {
            insert(conn, diesel::insert_into(run_tasks::table).values(part))?;
        }
        Ok(())
    })
    .await
}

/// Writes rows back that exist.
pub(crate) async fn save_run_tasks(
    conn: &mut Conn,
    rows: Vec<RunTaskRow>,
) -> Result<(), diesel::result::Error> {
    conn.spawn_blocking(move |conn| {
        for row in &rows {
            let one = run_tasks::table.find((row.run_id, row.task));
            diesel::RunQueryDsl::execute(diesel::update(one).set(row), conn)?;
        }
        Ok(())
    })
    .await
}

pub(crate) async fn insert_run_payloads(
    conn: &mut Conn,
    rows: Vec<RunPayloadRow>,
) -> Result<(), diesel::result::Error> {
    conn.spawn_blocking(move |conn| {
        for part in parts(&rows, MAX_ROWS, RunPayloadRow::weight) {
            insert(conn, diesel::insert_into(run_payloads::table).values(part))?;
        }
        Ok(())
    })
    .await
}

pub(crate) async fn insert_purged(
    conn: &mut Conn,
    ids: Vec<i64>,
) -> Result<(), diesel::result::Error> {
    conn.spawn_blocking(move |conn| {
        let rows: Vec<_> = ids.iter().map(|id| purged_tasks::task_id.eq(id)).collect();
        insert(conn, diesel::insert_into(purged_tasks::table).values(rows))
    })
    .await
}

/// diesel-async has no multi-row INSERT for SQLite; diesel has.
fn insert<Q>(conn: &mut SqliteConnection, statement: Q) -> Result<(), diesel::result::Error>
where
    Q: diesel::query_dsl::methods::ExecuteDsl<SqliteConnection>,
{
    Q::execute(statement, conn).map(|_| ())
}
