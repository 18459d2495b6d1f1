//! A server that is away, deaf, or cuts connections.

use std::time::{Duration, Instant};

use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tasker_core::store::StoreError;
use tasker_store::{StoreOptions, migrate, open};
use tasker_testkit::build::new_task;
use tasker_testkit::services;
use tasker_testkit::store_suite::{Ledger, Probe};
use tokio::net::TcpListener;

use crate::server::{Connection, Database, fresh};

/// A port with nobody behind it.
async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("its number").port()
}

async fn is_unavailable(url: &str) -> String {
    let store = open(url, &StoreOptions::default())
        .expect("opened without a database")
        .store;
    let started = Instant::now();
    let Err(error) = store.now().await else {
        panic!("somebody answered");
    };
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    format!("{error} {error:?}")
}

#[tokio::test]
async fn a_ledger_opens_while_its_database_is_away() {
    let url = format!("mysql://u:hidden@127.0.0.1:{}/ledger", closed_port().await);
    assert!(!is_unavailable(&url).await.contains("hidden"));
    let error = migrate(&url).await.expect_err("nobody is there");
    assert!(!format!("{error} {error:?}").contains("hidden"));
}

#[tokio::test]
async fn a_server_that_never_answers_is_not_waited_for() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = deaf.local_addr().expect("its number").port();
    is_unavailable(&format!("mysql://u:hidden@127.0.0.1:{port}/ledger")).await;
}

#[tokio::test]
async fn a_refused_account_does_not_show_its_password() {
    let server = services::mysql_url();
    let (_, host) = server.rsplit_once('@').expect("user@host");
    let text = is_unavailable(&format!("mysql://nobody:hidden@{host}/ledger")).await;
    assert!(
        text.contains("nobody") && !text.contains("hidden"),
        "{text}"
    );
}

#[tokio::test]
async fn a_database_without_a_schema_is_refused() {
    let database = Database::unmade();
    let name = database
        .url()
        .rsplit_once('/')
        .map(|(_, name)| name.to_owned());
    let name = name.expect("a name");
    let admin = fresh().await;
    let mut conn = admin.connect().await;
    conn.batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .expect("made");
    let store = database.open_with(&crate::server::unhurried());
    let refused = store.endpoints().await;
    assert!(
        matches!(refused, Err(StoreError::Refused { .. })),
        "{refused:?}"
    );
    drop(conn);
    Box::new(database).remove().await;
    admin.remove().await;
}

/// The pool looks before it lends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_are_replaced() {
    let database = fresh().await;
    let probe = Probe::open(&*database).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    let mut conn = database.connect().await;
    for _ in 0..3 {
        let ids: Vec<Connection> = diesel::sql_query(
            "SELECT CAST(id AS SIGNED) AS id FROM information_schema.processlist \
             WHERE db = DATABASE() AND id <> CONNECTION_ID()",
        )
        .load(&mut conn)
        .await
        .expect("connections");
        assert!(!ids.is_empty());
        for connection in ids {
            let kill = format!("KILL CONNECTION {}", connection.id);
            conn.batch_execute(&kill).await.expect("killed");
        }
        assert_eq!(probe.again(&task).await, task);
    }
    drop(conn);
    database.remove().await;
}
