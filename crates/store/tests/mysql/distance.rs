//! A server that is far away.

use std::time::{Duration, Instant};

use tasker_core::ResponseState;
use tasker_core::store::{Arrived, Created};
use tasker_core::wire::Report;
use tasker_store::StoreOptions;
use tasker_testkit::build::{endpoint, new_task, task_type};
use tasker_testkit::faultproxy::{Direction, FaultProxy, Toxics};
use tasker_testkit::installation::host_and_port;
use tasker_testkit::services;
use tasker_testkit::store_suite::{Ledger, Probe};

use crate::server::{Database, fresh, unhurried};

/// One way.
const LATENCY: Duration = Duration::from_millis(20);
const TASKS: usize = 300;

/// A relay to the server, and the database's URL through it.
async fn relay(database: &Database) -> (FaultProxy, String) {
    let (host, port) = host_and_port(&services::mysql_url());
    let address = format!("{host}:{port}").parse().expect("an address");
    let proxy = tokio::task::spawn_blocking(move || FaultProxy::start(address))
        .await
        .expect("a relay");
    let far = proxy.address().to_string();
    let url = database.url().replace(&format!("{host}:{port}"), &far);
    (proxy, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_takes_longer_than_anybody_waits_is_made_all_the_same() {
    let database = fresh().await;
    let (proxy, url) = relay(&database).await;
    let slow = Toxics {
        latency: Duration::from_millis(300),
        ..Toxics::default()
    };
    proxy.poison(Direction::ToServer, slow);
    let far = tasker_store::open(&url, &StoreOptions::default())
        .expect("opened")
        .store;
    let begun = Instant::now();
    // The first ones wait in vain for a connection that takes many round trips.
    while let Err(error) = far.now().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "never: {error}");
    }
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_reports_are_a_few_round_trips() {
    let database = fresh().await;
    let (proxy, url) = relay(&database).await;
    let far = Probe {
        store: tasker_store::open(&url, &unhurried())
            .expect("opened")
            .store,
        ..Probe::open(&*database).await
    };
    let tasks = (0..TASKS).map(|number| new_task(&format!("t-{number}"), &["a"]));
    let tasks = far.create(tasks.collect(), far.process).await;
    let tasks: Vec<_> = tasks
        .expect("created")
        .iter()
        .map(|created| match created {
            Created::New(task) => task.head.uid,
            other => panic!("not new: {other:?}"),
        })
        .collect();
    let slow = Toxics {
        latency: LATENCY,
        ..Toxics::default()
    };
    proxy.poison(Direction::ToServer, slow);
    let report = |uid| Arrived {
        task_type: task_type("worker"),
        endpoint: endpoint("a"),
        report: Report {
            errnr: Some(0),
            elapsed_ms: Some(1),
            ..Report::plain(uid, 1, 1, ResponseState::Succeeded)
        },
    };
    let begun = Instant::now();
    let reports = tasks.into_iter().map(report).collect();
    let recorded = far.record(reports).await.expect("recorded");
    let took = begun.elapsed();
    assert_eq!(recorded.settled.len(), TASKS);
    // One a row would be twice as many as there are tasks.
    let trips = took.as_millis() / LATENCY.as_millis();
    assert!(trips < TASKS as u128 / 2, "{trips} round trips: {took:?}");
    database.remove().await;
}
