//! `verbose` logs statements, never values. One test: it sets the process's subscriber.

use std::io::Write;
use std::sync::{Arc, Mutex};

use diesel_async::{AsyncConnection, AsyncMysqlConnection, SimpleAsyncConnection};
use tasker_core::task::NewTask;
use tasker_store::{StoreOptions, migrate, open};
use tasker_testkit::build::new_task;
use tasker_testkit::services;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("not poisoned")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_are_logged_without_their_values() {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let folder = tempfile::tempdir().expect("a folder");
    let name = format!("tasker_test_{}", uuid::Uuid::now_v7().simple());
    for url in [
        format!("sqlite://{}/ledger.db", folder.path().display()),
        format!("{}/{name}", services::mysql_url()),
    ] {
        migrate(&url).await.expect("migrated");
        let options = StoreOptions {
            verbose: true,
            pool_wait: std::time::Duration::from_secs(60),
            ..StoreOptions::default()
        };
        let store = open(&url, &options).expect("opened").store;
        let task = NewTask {
            payload: Some(bytes::Bytes::from_static(b"\"swordfish\"")),
            ..new_task("plainly-named", &["a"])
        };
        let process = tasker_core::id::ProcessId::mint();
        store.create(vec![task], process).await.expect("created");
        let log = std::mem::take(&mut *lines.0.lock().expect("not poisoned"));
        let log = String::from_utf8(log).expect("text");
        let ours: Vec<_> = log
            .lines()
            .filter(|line| line.contains("tasker_store"))
            .collect();
        let has = |words: &str| ours.iter().any(|line| line.contains(words));
        assert!(has("INSERT INTO"), "{url}: {log}");
        assert!(has("operation=\"create\""), "{url}: {log}");
        for line in ours {
            assert!(
                !line.contains("swordfish") && !line.contains("plainly-named"),
                "{line}"
            );
        }
    }
    let url = format!("{}/{name}", services::mysql_url());
    let mut conn = AsyncMysqlConnection::establish(&url)
        .await
        .expect("connected");
    let drop = format!("DROP DATABASE `{name}`");
    conn.batch_execute(&drop).await.expect("dropped");
}
