//! A fresh database on the test run's MySQL or MariaDB server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, SimpleAsyncConnection};
use tasker_core::store::{Ports, Store, Timing};
use tasker_store::{Clock, StoreOptions};
use tasker_testkit::services;
use tasker_testkit::store_suite::{Ledger, TestClock};

/// The number of a connection.
#[derive(diesel::QueryableByName)]
pub(crate) struct Connection {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(crate) id: i64,
}

/// A database of one test.
pub(crate) struct Database {
    name: String,
}

impl Database {
    /// One that does not exist yet.
    pub(crate) fn unmade() -> Self {
        let name = format!("tasker_test_{}", uuid::Uuid::now_v7().simple());
        Self { name }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("{}/{}", services::mysql_url(), self.name)
    }

    /// Opens it with these options.
    pub(crate) fn open_with(&self, options: &StoreOptions) -> Arc<dyn Store> {
        tasker_store::open(&self.url(), options)
            .expect("opened")
            .store
    }

    /// A connection of its own, beside the store's.
    pub(crate) async fn connect(&self) -> AsyncMysqlConnection {
        AsyncMysqlConnection::establish(&self.url())
            .await
            .expect("connected")
    }
}

/// A database with the schema.
pub(crate) async fn fresh() -> Box<Database> {
    let database = Box::new(Database::unmade());
    tasker_store::migrate(&database.url())
        .await
        .expect("migrated");
    database
}

/// The machine that runs the tests may be busy with other things.
pub(crate) fn unhurried() -> StoreOptions {
    StoreOptions {
        pool_wait: Duration::from_secs(60),
        statement_timeout: Duration::from_secs(60),
        ..StoreOptions::default()
    }
}

#[async_trait]
impl Ledger for Database {
    async fn open(&self, timing: Timing) -> Arc<dyn Store> {
        self.open_with(&StoreOptions {
            timing,
            ..unhurried()
        })
    }

    async fn open_told(&self, timing: Timing, clock: TestClock) -> Arc<dyn Store> {
        self.open_with(&StoreOptions {
            timing,
            clock: Clock::Told(clock),
            ..unhurried()
        })
    }

    async fn ports(&self) -> Ports {
        tasker_store::open(&self.url(), &unhurried()).expect("opened")
    }

    async fn ports_told(&self, clock: TestClock) -> Ports {
        let options = StoreOptions {
            clock: Clock::Told(clock),
            ..unhurried()
        };
        tasker_store::open(&self.url(), &options).expect("opened")
    }

    async fn remove(self: Box<Self>) {
        let mut conn = self.connect().await;
        let drop = format!("DROP DATABASE `{}`", self.name);
        conn.batch_execute(&drop).await.expect("dropped");
    }
}
