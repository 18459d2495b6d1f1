//! The Runs port, operation by operation.
//!
//! Locks: the run's row first, then its tasks by number. A claim holds the run, so that claims come one
//! after the other, and passes over tasks that a change has locked. A change locks its tasks only: it
//! reads the run as it was committed, and what a restart does meanwhile comes after it.

mod claim;
mod make;
mod show;
mod update;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::runs::{
    ClaimOrder, Claimed, NewPuller, NewRun, Progress, Restart, Run, RunFilter, RunKey, Runs,
    ShownTask, UpdateOrder, Updated,
};
use tasker_core::store::StoreError;

use super::door::Access::{Read, Write};
use super::{Conn, Ledger};
use crate::failure::Failure;
use crate::rows::RunRow;
use crate::schema::runs;

#[async_trait]
impl Runs for Ledger {
    async fn create_run(&self, run: NewRun) -> Result<Run, StoreError> {
        self.run("create_run", Write, run, |conn, run| {
            Box::pin(make::create(conn, run))
        })
        .await
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<(Run, Option<Progress>)>, StoreError> {
        self.run("runs", Read, filter, |conn, filter| {
            Box::pin(show::runs(conn, filter))
        })
        .await
    }

    async fn find_run(
        &self,
        key: RunKey,
        with_progress: bool,
    ) -> Result<Option<(Run, Progress)>, StoreError> {
        let wanted = (key, with_progress);
        self.run("find_run", Read, wanted, |conn, wanted| {
            Box::pin(show::run(conn, wanted))
        })
        .await
    }

    async fn find_run_task(
        &self,
        key: RunKey,
        number: u32,
        whole: bool,
    ) -> Result<Option<Option<ShownTask>>, StoreError> {
        let wanted = (key, number, whole);
        self.run("find_run_task", Read, wanted, |conn, wanted| {
            Box::pin(show::task(conn, wanted))
        })
        .await
    }

    async fn restart_run(&self, key: RunKey, restart: Restart) -> Result<bool, StoreError> {
        let order = (key, restart);
        self.run("restart_run", Write, order, |conn, order| {
            Box::pin(make::restart(conn, order))
        })
        .await
    }

    async fn delete_run(&self, key: RunKey) -> Result<bool, StoreError> {
        self.run("delete_run", Write, key, |conn, key| {
            Box::pin(make::delete(conn, key))
        })
        .await
    }

    async fn sweep_runs(&self, limit: u32) -> Result<bool, StoreError> {
        self.run("sweep_runs", Write, limit, |conn, limit| {
            Box::pin(make::sweep(conn, limit))
        })
        .await
    }

    async fn register(&self, worker: NewPuller) -> Result<i64, StoreError> {
        self.run("register", Write, worker, |conn, worker| {
            Box::pin(make::register(conn, worker))
        })
        .await
    }

    async fn claim(&self, mut order: ClaimOrder) -> Result<Option<Vec<Claimed>>, StoreError> {
        let mut answers: Vec<Claimed> = Vec::new();
        loop {
            let step = self.run("claim", Write, order.clone(), |conn, order| {
                Box::pin(claim::claim(conn, order))
            });
            let Some(step) = step.await? else {
                return Ok(None);
            };
            answers.extend(step.answers);
            if !step.goes_on {
                answers.resize(answers.len() + step.left.len(), Claimed::NoMore);
                return Ok(Some(answers));
            }
            order.workers = step.left;
        }
    }

    async fn update(&self, orders: Vec<UpdateOrder>) -> Result<Vec<Updated>, StoreError> {
        self.run("update_run_tasks", Write, orders, |conn, orders| {
            Box::pin(update::update(conn, orders))
        })
        .await
    }
}

/// The row of a run, if its scope covers it.
async fn find(conn: &mut Conn, key: &RunKey) -> Result<Option<RunRow>, Failure> {
    let row: Option<RunRow> = runs::table
        .filter(runs::uid.eq(key.uid.0.as_bytes().to_vec()))
        .select(RunRow::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row.filter(|row| is_covered(key, row)))
}

/// As [`find`], locked until the end of the transaction.
async fn lock(conn: &mut Conn, key: &RunKey) -> Result<Option<RunRow>, Failure> {
    let row: Option<RunRow> = lock!(
        runs::table
            .filter(runs::uid.eq(key.uid.0.as_bytes().to_vec()))
            .select(RunRow::as_select())
    )
    .first(conn)
    .await
    .optional()?;
    Ok(row.filter(|row| is_covered(key, row)))
}

fn is_covered(key: &RunKey, row: &RunRow) -> bool {
    let bound = key.scope.bound();
    bound.is_none_or(|client| client.as_str() == row.client)
}
