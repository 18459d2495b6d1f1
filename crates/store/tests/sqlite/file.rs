//! A fresh database file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tasker_core::store::{Ports, Store, Timing};
use tasker_store::{Clock, StoreOptions};
use tasker_testkit::store_suite::{Ledger, TestClock};

/// A file of one test.
pub(crate) struct File {
    folder: tempfile::TempDir,
}

impl File {
    /// One that does not exist yet, nor does its folder.
    pub(crate) fn unmade() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("made").join("ledger.db")
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }
}

/// A file with the schema.
pub(crate) async fn fresh() -> Box<File> {
    let file = Box::new(File::unmade());
    tasker_store::migrate(&file.url()).await.expect("migrated");
    file
}

/// The machine that runs the tests may be busy with other things.
pub(crate) fn unhurried() -> StoreOptions {
    StoreOptions {
        pool_wait: Duration::from_secs(60),
        statement_timeout: Duration::from_secs(60),
        ..StoreOptions::default()
    }
}

impl File {
    fn open_with(&self, timing: Timing, clock: Clock) -> Ports {
        let options = StoreOptions {
            timing,
            clock,
            ..unhurried()
        };
        tasker_store::open(&self.url(), &options).expect("opened")
    }
}

#[async_trait]
impl Ledger for File {
    async fn open(&self, timing: Timing) -> Arc<dyn Store> {
        self.open_with(timing, Clock::Database).store
    }

    async fn open_told(&self, timing: Timing, clock: TestClock) -> Arc<dyn Store> {
        self.open_with(timing, Clock::Told(clock)).store
    }

    async fn ports(&self) -> Ports {
        self.open_with(Timing::default(), Clock::Database)
    }

    async fn ports_told(&self, clock: TestClock) -> Ports {
        self.open_with(Timing::default(), Clock::Told(clock))
    }

    async fn remove(self: Box<Self>) {
        drop(self.folder);
    }
}
