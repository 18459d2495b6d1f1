//! How a file is prepared, and shared with other processes.

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use tasker_core::store::StoreError;
use tasker_store::{StoreOptions, is_empty, migrate, open, reset, schema_is_current};
use tasker_testkit::build::new_task;
use tasker_testkit::store_suite::Probe;
use tokio::task::JoinSet;

use crate::file::{File, fresh};

fn connect(file: &File) -> SqliteConnection {
    let path = file.path();
    SqliteConnection::establish(path.to_str().expect("a path")).expect("opened")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_made_and_brought_up_to_date() {
    let file = File::unmade();
    let url = file.url();
    assert!(!schema_is_current(&url).await.expect("looked"));
    assert!(is_empty(&url).await.expect("looked"));
    assert!(!file.path().exists());
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
}

#[tokio::test]
async fn a_reset_leaves_nothing_behind() {
    let file = fresh().await;
    let url = file.url();
    let probe = Probe::open(&*file).await;
    probe.store_new(new_task("t-1", &["a"])).await;
    assert!(!is_empty(&url).await.expect("looked"));
    let mut conn = connect(&file);
    conn.batch_execute("CREATE TABLE \"odd \"\"name\" (id INT)")
        .expect("made");
    reset(&url).await.expect("reset");
    assert!(is_empty(&url).await.expect("looked"));
    assert!(schema_is_current(&url).await.expect("looked"));
    conn.batch_execute("SELECT * FROM \"odd \"\"name\"")
        .expect_err("gone");
    probe.store_new(new_task("t-1", &["a"])).await;
}

/// The tables can be taken away again.
#[tokio::test]
async fn the_migration_back_undoes_the_migration() {
    let file = fresh().await;
    let mut conn = connect(&file);
    let down = include_str!("../../../../migrations/sqlite/0001_ledger/down.sql");
    let up = include_str!("../../../../migrations/sqlite/0001_ledger/up.sql");
    conn.batch_execute(down).expect("down");
    conn.batch_execute(up).expect("up again");
}

#[tokio::test]
async fn a_file_without_a_schema_is_refused() {
    let file = File::unmade();
    std::fs::create_dir(file.path().parent().expect("a folder")).expect("made");
    let store = open(&file.url(), &StoreOptions::default())
        .expect("opened")
        .store;
    let refused = store.endpoints().await;
    assert!(
        matches!(refused, Err(StoreError::Refused { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_folder_that_is_missing_makes_the_database_unavailable() {
    let store = open(&File::unmade().url(), &StoreOptions::default())
        .expect("opened")
        .store;
    let refused = store.now().await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
}

/// A transaction of another process is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_writer_is_waited_for() {
    let file = fresh().await;
    let probe = Probe::open(&*file).await;
    let mut rival = connect(&file);
    rival.batch_execute("BEGIN IMMEDIATE").expect("locked");
    let writer = probe.clone();
    let mut writing = tokio::spawn(async move { writer.store_new(new_task("t-1", &["a"])).await });
    // Readers are not in each other's way; the writer is still at it when they are through.
    for _ in 0..20 {
        assert!(probe.endpoints().await.expect("read").is_empty());
    }
    assert!(!writing.is_finished());
    rival.batch_execute("ROLLBACK").expect("released");
    let task = (&mut writing).await.expect("stored");
    assert_eq!(probe.again(&task).await, task);
}
