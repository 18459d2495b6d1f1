//! The one door to the database.
//!
//! Every operation is a named transaction. It runs in a task of its own, so that a dropped request
//! never leaves it half done; it is bounded in time; and when it loses a race it is tried again, as
//! a whole and here only.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::InstrumentationEvent;
use diesel_async::pooled_connection::deadpool::Object;
use diesel_async::{AsyncConnection, TransactionManager};
use rand::RngExt;
use tasker_core::store::StoreError;
use tokio::time::timeout;

use super::{Conn, Ledger, Pools, begin};
use crate::failure::Failure;
use crate::options::StoreOptions;

/// How often a transaction is tried in all.
const MAX_TRIES: u32 = 6;
/// The longest pause before the second try; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read without a transaction, and so without the two messages that a transaction costs: each
    /// statement sees what is committed.
    Look,
    /// Read one snapshot.
    Read,
    /// Read what is committed, lock, and write.
    Write,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pool_wait: Duration,
    connect: Duration,
    transaction: Duration,
}

impl Limits {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self {
            pool_wait: options.pool_wait,
            connect: options.statement_timeout.max(options.pool_wait),
            transaction: options.statement_timeout * 4,
        }
    }
}

/// What an operation does within its transaction.
pub(super) type Step<'c, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'c>>;

impl Ledger {
    /// Runs an operation. It may be run several times and must change nothing but the database.
    pub(super) async fn run<I, T, F>(
        &self,
        name: &'static str,
        access: Access,
        input: I,
        operation: F,
    ) -> Result<T, StoreError>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Conn, &'c I) -> Step<'c, T> + Send + Sync + 'static,
    {
        self.try_run(name, access, input, operation)
            .await
            .map_err(|failure| failure.into_store_error(name))
    }

    /// As [`Ledger::run`], for an operation that has something to do about its failure.
    pub(super) async fn try_run<I, T, F>(
        &self,
        name: &'static str,
        access: Access,
        input: I,
        operation: F,
    ) -> Result<T, Failure>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Conn, &'c I) -> Step<'c, T> + Send + Sync + 'static,
    {
        let pools = self.pools.clone();
        let limits = self.limits;
        let clock = self.clock.clone();
        let task = tokio::spawn(async move {
            let started = Instant::now();
            let mut tries = 1;
            loop {
                let trying = attempt(&pools, limits, access, &input, &operation);
                let outcome = clock.govern(trying).await;
                match outcome {
                    Err(failure) if failure.is_transient() && tries < MAX_TRIES => {
                        tracing::debug!(operation = name, tries, error = ?failure, "lost a race");
                        tokio::time::sleep(pause(tries)).await;
                        tries += 1;
                    }
                    outcome => {
                        let elapsed_ms = started.elapsed().as_millis();
                        let ok = outcome.is_ok();
                        tracing::debug!(operation = name, tries, elapsed_ms, ok, "transaction");
                        return outcome;
                    }
                }
            }
        });
        match task.await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(Failure::Unavailable(error.into())),
            },
        }
    }
}

/// One try: a connection, a transaction, its end.
async fn attempt<I, T, F>(
    pools: &Arc<Pools>,
    limits: Limits,
    access: Access,
    input: &I,
    operation: &F,
) -> Result<T, Failure>
where
    F: for<'c> Fn(&'c mut Conn, &'c I) -> Step<'c, T>,
{
    if access == Access::Look {
        let mut conn = connection(pools, limits, access).await?;
        let is_used = Object::metrics(&conn).recycle_count > 0;
        match timeout(limits.transaction, operation(&mut conn, input)).await {
            // It may have been cut while it lay in the pool. A transaction finds one that is alive.
            Ok(Err(failure)) if is_used && failure.may_be_of_connection() => {
                drop(Object::take(conn));
            }
            Ok(outcome) => return outcome,
            Err(_) => return Err(give_up(conn, limits)),
        }
    }
    let mut conn = begun(pools, limits, access).await?;
    match timeout(limits.transaction, finish(&mut conn, input, operation)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(give_up(conn, limits)),
    }
}

/// A connection whose transaction has begun. One that was cut while it lay in the pool shows it here, when
/// nothing has happened yet, and the next one may be alive.
async fn begun(
    pools: &Arc<Pools>,
    limits: Limits,
    access: Access,
) -> Result<Object<Conn>, Failure> {
    loop {
        let mut conn = connection(pools, limits, access).await?;
        let is_used = Object::metrics(&conn).recycle_count > 0;
        match timeout(limits.transaction, begin(&mut conn, access)).await {
            Ok(Ok(())) => return Ok(conn),
            Ok(Err(_)) if is_used => drop(Object::take(conn)),
            Ok(Err(failure)) => return Err(failure),
            Err(_) => return Err(give_up(conn, limits)),
        }
    }
}

/// Ends a transaction that is in an unknown state: closing its connection rolls it back.
fn give_up(conn: Object<Conn>, limits: Limits) -> Failure {
    drop(Object::take(conn));
    let limit = limits.transaction;
    Failure::Unavailable(format!("no end of the transaction within {limit:?}").into())
}

/// A connection of the pool. It is made in a task of its own: who waits no longer leaves it to those who
/// come next, otherwise nobody would ever get one from a database so slow that it takes longer.
async fn connection(
    pools: &Arc<Pools>,
    limits: Limits,
    access: Access,
) -> Result<Object<Conn>, Failure> {
    let late =
        |wait: Duration| Failure::Unavailable(format!("no connection within {wait:?}").into());
    let pools = Arc::clone(pools);
    let making = tokio::spawn(async move { timeout(limits.connect, pools.get(access)).await });
    match timeout(limits.pool_wait, making).await {
        Ok(Ok(Ok(Ok(conn)))) => Ok(conn),
        Ok(Ok(Ok(Err(error)))) => Err(Failure::Unavailable(error.into())),
        Ok(Ok(Err(_))) => Err(late(limits.connect)),
        Ok(Err(error)) => Err(Failure::Unavailable(error.into())),
        Err(_) => Err(late(limits.pool_wait)),
    }
}

/// The operation, and the end of its transaction.
async fn finish<I, T, F>(conn: &mut Conn, input: &I, operation: &F) -> Result<T, Failure>
where
    F: for<'c> Fn(&'c mut Conn, &'c I) -> Step<'c, T>,
{
    type Transactions = <Conn as AsyncConnection>::TransactionManager;
    match operation(conn, input).await {
        Ok(value) => {
            Transactions::commit_transaction(conn).await?;
            Ok(value)
        }
        Err(failure) => {
            // A lock wait that timed out has rolled back its statement only. If this fails, the
            // pool sees the open transaction and closes the connection.
            if let Err(error) = Transactions::rollback_transaction(conn).await {
                tracing::debug!(error = %error, "rollback");
            }
            Err(failure)
        }
    }
}

/// A random pause, so that two transactions that met do not meet again.
fn pause(tries: u32) -> Duration {
    let most = FIRST_PAUSE * 2_u32.pow(tries.min(8));
    most.mul_f64(rand::rng().random_range(0.1..1.0))
}

/// Logs a statement without its values, which may be a client's payload.
pub(crate) fn log_statement(event: InstrumentationEvent<'_>) {
    if let InstrumentationEvent::FinishQuery { query, error, .. } = event {
        let text = query.to_string();
        let sql = text.split(" -- binds: ").next().unwrap_or_default();
        let sql: String = sql.chars().take(500).collect();
        tracing::debug!(target: "tasker_store::sql", failed = error.is_some(), "{sql}");
    }
}
