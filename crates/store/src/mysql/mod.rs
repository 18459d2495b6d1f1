//! MySQL and MariaDB: the connection, its settings, and the statements that differ.

mod changes;
mod connect;
mod expression;

use std::collections::BTreeSet;
use std::sync::Once;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use deadpool::managed::{PoolConfig, QueueMode};
use diesel::dsl::sql;
use diesel::sql_types::Text;
use diesel::{ConnectionError, ExpressionMethods, QueryDsl, SelectableHelper};
use diesel_async::pooled_connection::deadpool::{Object, Pool, PoolError};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncMysqlConnection, RunQueryDsl,
    SimpleAsyncConnection,
};

use tasker_core::id::TaskId;
use tasker_tls::Ca;

use crate::batch::MAX_KEPT;
use crate::failure::Failure;
use crate::options::{OpenError, StoreOptions};
use crate::rows::{NewAuditRow, ResponseRow};
use crate::schema::{audit, purged_tasks, responses};

pub(crate) use changes::{
    insert_notices, insert_responses, insert_run_payloads, insert_run_tasks, insert_tasks,
    save_responses, save_run_tasks,
};
pub(crate) use connect::establish;
pub(crate) use expression::{Among, Kept};

/// A connection.
pub(crate) type Conn = AsyncMysqlConnection;

/// Locks the rows of a query, in its order, until the end of the transaction.
macro_rules! lock {
    ($query:expr) => {
        $query.for_update()
    };
}

/// As `lock!`, without the rows that another transaction has locked.
macro_rules! lock_what_is_free {
    ($query:expr) => {
        $query.for_update().skip_locked()
    };
}

/// When a task would have timed out that began when its endpoint was last heard of.
macro_rules! end_of_timeout {
    () => {
        "TIMESTAMPADD(SECOND, tasks.timeout_s, endpoints.last_seen_at)"
    };
}

/// Joins in the order of the text.
macro_rules! then {
    () => {
        "STRAIGHT_JOIN"
    };
}

/// Reads a table by this index only.
macro_rules! by_index {
    ($name:literal) => {
        concat!("FORCE INDEX (", $name, ")")
    };
}

/// A statement that the connection shall keep: its text takes few forms.
macro_rules! kept {
    ($statement:expr) => {
        $crate::mysql::Kept($statement)
    };
}

/// Whether a column has one of these values.
macro_rules! among {
    ($table:ident.$column:ident, $values:expr) => {
        $crate::mysql::Among::new(
            concat!(stringify!($table), ".", stringify!($column)),
            $values,
        )
    };
}

#[path = "../ledger/mod.rs"]
pub(crate) mod ledger;

/// The connections.
pub(crate) struct Pools(Pool<Conn>);

impl Pools {
    pub(crate) fn new(url: String, options: &StoreOptions) -> Result<Self, OpenError> {
        let statement_timeout = options.statement_timeout;
        let verbose = options.verbose;
        let tls = options.tls.clone();
        let mut config = ManagerConfig::default();
        // Whether a connection is alive shows when its transaction begins, see the ledger's door.
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(move |url| {
            let (url, tls) = (url.to_owned(), tls.clone());
            Box::pin(async move {
                let mut conn = connect(&url, tls.as_ref(), statement_timeout).await?;
                if verbose {
                    conn.set_instrumentation(ledger::log_statement);
                }
                Ok(conn)
            })
        });
        let manager = AsyncDieselConnectionManager::new_with_config(url, config);
        let pool = Pool::builder(manager)
            .config(PoolConfig {
                // Few connections with many kept statements.
                queue_mode: QueueMode::Lifo,
                ..PoolConfig::new(options.pool_size.max(1))
            })
            .build()
            .map_err(|e| OpenError::Refused(e.into()))?;
        Ok(Self(pool))
    }

    pub(crate) async fn get(&self, _: ledger::Access) -> Result<Object<Conn>, PoolError> {
        self.0.get().await
    }
}

/// How many pairs one query names: each row is compared with each of them.
const MAX_PAIRS: usize = 256;

/// How long a statement waits for a lock at most, in seconds.
const LOCK_WAIT_S: u64 = 5;

/// Connects, and makes the session what the queries rely on, whatever the server's defaults are.
async fn connect(
    url: &str,
    tls: Option<&Ca>,
    statement_timeout: Duration,
) -> Result<Conn, ConnectionError> {
    let mut conn = establish(url, tls).await?;
    let setup = ConnectionError::CouldntSetupConfiguration;
    let (version, flush): (String, String) = diesel::select((
        sql::<Text>("VERSION()"),
        sql::<Text>("CAST(@@innodb_flush_log_at_trx_commit AS CHAR)"),
    ))
    .get_result(&mut conn)
    .await
    .map_err(setup)?;
    warn_if_commits_are_not_durable(&flush);
    let limit = if version.contains("MariaDB") {
        format!("max_statement_time = {}", statement_timeout.as_secs_f64())
    } else {
        // MySQL bounds only SELECT; the rest is bounded by the time-out of the transaction.
        format!("max_execution_time = {}", statement_timeout.as_millis())
    };
    // Well before the statement's own limit: who waited in vain for a lock is tried again, a statement
    // that took too long means an absent database. Whole seconds.
    let lock_wait = (statement_timeout.as_secs() / 2).clamp(1, LOCK_WAIT_S);
    // English messages, because the failure module reads them.
    conn.batch_execute(&format!(
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,\
         NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', lc_messages = 'en_US', \
         innodb_lock_wait_timeout = {lock_wait}, autocommit = 1, {limit}; \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
    ))
    .await
    .map_err(setup)?;
    Ok(conn)
}

fn warn_if_commits_are_not_durable(flush: &str) {
    static WARNED: Once = Once::new();
    if flush != "1" {
        WARNED.call_once(|| {
            tracing::warn!(
                innodb_flush_log_at_trx_commit = flush,
                "the database does not write commits to disk at once: tasks that were accepted can \
                 be lost when it crashes; set innodb_flush_log_at_trx_commit = 1"
            );
        });
    }
}

/// Begins a transaction. Readers see one snapshot; writers see what is committed and lock what
/// they change.
pub(crate) async fn begin(conn: &mut Conn, access: ledger::Access) -> Result<(), Failure> {
    let begin = match access {
        ledger::Access::Look | ledger::Access::Read => {
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION READ ONLY"
        }
        ledger::Access::Write => "START TRANSACTION",
    };
    Ok(AnsiTransactionManager::begin_transaction_sql(conn, begin).await?)
}

/// The server's clock, UTC, microseconds.
pub(crate) async fn now(conn: &mut Conn) -> Result<DateTime<Utc>, Failure> {
    let now: NaiveDateTime = diesel::select(expression::UtcNow).get_result(conn).await?;
    Ok(crate::clock::read(now.and_utc()))
}

/// Rows of `responses` by task and endpoint, and perhaps some more of the same tasks.
///
/// Nearly always all endpoints of a batch report nearly all of its tasks. Then two lists find the rows;
/// pair by pair the server would compare each row with every pair.
pub(crate) async fn load_responses(
    conn: &mut Conn,
    pairs: &[(TaskId, &str)],
) -> Result<Vec<ResponseRow>, diesel::result::Error> {
    let mut rows = Vec::with_capacity(pairs.len());
    for part in pairs.chunks(MAX_KEPT) {
        let tasks: BTreeSet<TaskId> = part.iter().map(|(task, _)| *task).collect();
        let endpoints: BTreeSet<&str> = part.iter().map(|(_, endpoint)| *endpoint).collect();
        let of_these = responses::table.select(ResponseRow::as_select());
        let found: Vec<ResponseRow> = if tasks.len() * endpoints.len() <= 2 * part.len() {
            of_these
                .filter(among!(responses.task_id, tasks))
                .filter(among!(responses.endpoint, endpoints))
                .load(conn)
                .await?
        } else {
            let mut found = Vec::with_capacity(part.len());
            for part in part.chunks(MAX_PAIRS) {
                let pairs = of_these.filter(expression::Pairs(part));
                found.extend(pairs.load::<ResponseRow>(conn).await?);
            }
            found
        };
        rows.extend(found);
    }
    Ok(rows)
}

pub(crate) async fn insert_audit(
    conn: &mut Conn,
    rows: Vec<NewAuditRow>,
) -> Result<(), diesel::result::Error> {
    diesel::insert_into(audit::table)
        .values(rows)
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn insert_purged(
    conn: &mut Conn,
    ids: Vec<i64>,
) -> Result<(), diesel::result::Error> {
    let rows: Vec<_> = ids.iter().map(|id| purged_tasks::task_id.eq(id)).collect();
    diesel::insert_into(purged_tasks::table)
        .values(rows)
        .execute(conn)
        .await?;
    Ok(())
}
