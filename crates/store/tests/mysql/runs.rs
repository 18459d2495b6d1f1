//! The conformance suite of the Runs port.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tasker_core::runs::Runs;
use tasker_store::{Clock, StoreOptions};
use tasker_testkit::runs_suite::RunLedger;
use tasker_testkit::store_suite::{Ledger, TestClock};

use super::server::{self, Database};

#[async_trait]
impl RunLedger for Database {
    async fn open_runs(&self, clock: Option<TestClock>) -> Arc<dyn Runs> {
        let options = StoreOptions {
            clock: clock.map_or(Clock::Database, Clock::Told),
            // The machine that runs the tests may be busy with other things.
            pool_wait: Duration::from_secs(60),
            statement_timeout: Duration::from_secs(60),
            ..StoreOptions::default()
        };
        tasker_store::open(&self.url(), &options)
            .expect("opened")
            .runs
    }

    async fn remove_runs(self: Box<Self>) {
        Ledger::remove(self).await;
    }
}

tasker_testkit::runs_suite!(server::fresh);
