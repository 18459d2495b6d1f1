//! Jobs: the Jobs port, operation by operation.

mod follow;
mod log;
mod page;
mod write;

use std::time::Duration;

use async_trait::async_trait;
use tasker_core::account::ClientScope;
use tasker_core::callback::CallbackUrl;
use tasker_core::jobs::{
    Bound, Cancelled, Change, From, Heads, Job, Jobs, Marked, NewJob, Page, Request, Submitted,
    Unfollowed, Update, Updated,
};
use tasker_core::name::{Client, Identifier, TaskType};
use tasker_core::store::StoreError;

use super::door::Access::{Look, Read, Write};
use super::{Conn, Ledger, notices, now};

#[async_trait]
impl Jobs for Ledger {
    async fn submit(&self, job: NewJob) -> Result<Marked<Submitted>, StoreError> {
        self.run("submit_job", Write, job, |conn, job| {
            Box::pin(write::submit(conn, job))
        })
        .await
    }

    async fn job(
        &self,
        scope: &ClientScope,
        datasource: &TaskType,
        job: &Identifier,
    ) -> Result<Option<(Job, Option<CallbackUrl>)>, StoreError> {
        let key = (scope.clone(), datasource.clone(), job.clone());
        self.run("job", Look, key, |conn, key| Box::pin(page::job(conn, key)))
            .await
    }

    async fn cancel(
        &self,
        scope: &ClientScope,
        datasource: &TaskType,
        job: &Identifier,
    ) -> Result<Marked<Cancelled>, StoreError> {
        let key = (scope.clone(), datasource.clone(), job.clone());
        self.run("cancel_job", Write, key, |conn, key| {
            Box::pin(write::cancel(conn, key))
        })
        .await
    }

    async fn changes(
        &self,
        datasource: &TaskType,
        client: &Client,
        after: u64,
        bound: Bound,
    ) -> Result<Page<Change>, StoreError> {
        let input = (datasource.clone(), client.clone(), after, bound);
        self.run("job_changes", Read, input, |conn, input| {
            Box::pin(page::changes(conn, input))
        })
        .await
    }

    async fn update(&self, update: Update) -> Result<Marked<Updated>, StoreError> {
        self.run("update_job", Write, update, |conn, update| {
            Box::pin(write::update(conn, update))
        })
        .await
    }

    async fn requests(
        &self,
        datasource: &TaskType,
        from: From,
        bound: Bound,
    ) -> Result<Page<Request>, StoreError> {
        let input = (datasource.clone(), from, bound);
        self.run("job_requests", Read, input, |conn, input| {
            Box::pin(page::requests(conn, input))
        })
        .await
    }

    async fn latest(&self, datasource: &TaskType) -> Result<Option<Request>, StoreError> {
        self.run(
            "latest_job",
            Read,
            datasource.clone(),
            |conn, datasource| Box::pin(page::latest(conn, datasource)),
        )
        .await
    }

    async fn unfollowed(
        &self,
        datasource: &TaskType,
        within: Duration,
        limit: u32,
    ) -> Result<Vec<Unfollowed>, StoreError> {
        let input = (datasource.clone(), within, limit);
        self.run("unfollowed_jobs", Read, input, |conn, input| {
            Box::pin(follow::unfollowed(conn, input))
        })
        .await
    }

    async fn follow(
        &self,
        datasource: &TaskType,
        jobs: Vec<Identifier>,
    ) -> Result<Marked<()>, StoreError> {
        let input = (datasource.clone(), jobs);
        self.run("follow_jobs", Write, input, |conn, input| {
            Box::pin(follow::follow(conn, input))
        })
        .await
    }

    async fn heads(&self, datasources: &[TaskType]) -> Result<Vec<Heads>, StoreError> {
        let input = datasources.to_vec();
        self.run("job_heads", Read, input, |conn, datasources| {
            Box::pin(page::heads(conn, datasources))
        })
        .await
    }

    async fn forget(&self, final_for: Duration, limit: u32) -> Result<(u32, bool), StoreError> {
        let input = (final_for, limit);
        self.run("forget_jobs", Write, input, |conn, input| {
            Box::pin(write::forget(conn, input))
        })
        .await
    }
}
