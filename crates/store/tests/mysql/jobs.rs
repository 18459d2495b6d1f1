//! The conformance suite of jobs, on a server.

use std::sync::Arc;

use async_trait::async_trait;
use tasker_core::jobs::Jobs;
use tasker_testkit::jobs_suite::Books;

use crate::server::{Database, fresh, unhurried};

#[async_trait]
impl Books for Database {
    async fn open(&self) -> Arc<dyn Jobs> {
        tasker_store::open(&self.url(), &unhurried())
            .expect("opened")
            .jobs
    }

    async fn remove(self: Box<Self>) {
        tasker_testkit::store_suite::Ledger::remove(self).await;
    }
}

tasker_testkit::jobs_suite!(fresh);
