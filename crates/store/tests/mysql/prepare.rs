//! How a database is prepared.

use diesel_async::SimpleAsyncConnection;
use tasker_store::{is_empty, migrate, reset, schema_is_current};
use tasker_testkit::build::new_task;
use tasker_testkit::store_suite::{Ledger, Probe};
use tokio::task::JoinSet;

use crate::server::{Database, fresh};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_made_and_brought_up_to_date() {
    let database = Box::new(Database::unmade());
    let url = database.url();
    assert!(!schema_is_current(&url).await.expect("looked"));
    assert!(is_empty(&url).await.expect("looked"));
    let mut processes = JoinSet::new();
    for _ in 0..4 {
        let url = url.clone();
        processes.spawn(async move { migrate(&url).await });
    }
    while let Some(end) = processes.join_next().await {
        end.expect("no panic").expect("migrated");
    }
    assert!(schema_is_current(&url).await.expect("looked"));
    assert!(is_empty(&url).await.expect("looked"));
    database.remove().await;
}

#[tokio::test]
async fn a_reset_leaves_nothing_behind() {
    let database = fresh().await;
    let url = database.url();
    let probe = Probe::open(&*database).await;
    probe.store_new(new_task("t-1", &["a"])).await;
    assert!(!is_empty(&url).await.expect("looked"));
    let mut conn = database.connect().await;
    conn.batch_execute("CREATE TABLE `odd ``name` (id INT)")
        .await
        .expect("made");
    reset(&url).await.expect("reset");
    assert!(is_empty(&url).await.expect("looked"));
    assert!(schema_is_current(&url).await.expect("looked"));
    conn.batch_execute("SELECT * FROM `odd ``name`")
        .await
        .expect_err("gone");
    probe.store_new(new_task("t-1", &["a"])).await;
    drop(conn);
    database.remove().await;
}

/// The tables can be taken away again.
#[tokio::test]
async fn the_migration_back_undoes_the_migration() {
    let database = fresh().await;
    let mut conn = database.connect().await;
    let down = include_str!("../../../../migrations/mysql/0001_ledger/down.sql");
    let up = include_str!("../../../../migrations/mysql/0001_ledger/up.sql");
    conn.batch_execute(down).await.expect("down");
    conn.batch_execute(up).await.expect("up again");
    drop(conn);
    database.remove().await;
}
