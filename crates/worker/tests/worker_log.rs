//! What an operator reads on an endpoint: one line when the broker is lost, one when it is back.

#![allow(clippy::unwrap_used, reason = "what tests call may panic")]

mod rig;

use std::time::Duration;

use rig::{Probe, Rig, Sent, until};
use tasker_core::ResponseState::Succeeded;
use tasker_testkit::log::Log;

#[tokio::test]
async fn a_lost_broker_is_said_once_and_its_return_once() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let worker = rig.start(&probe);
    let task = Sent::once();
    rig.send_task(&task).await;
    rig.reported(task.uid, Succeeded).await;
    assert_eq!(log.lines("WARN").len(), 0);

    rig.broker.set_up(false);
    until("its loss is said", || {
        !log.lines("no tasks can come;").is_empty()
    })
    .await;
    // To look out for what must not happen: it tries again several times meanwhile.
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.broker.set_up(true);
    until("its return is said", || {
        !log.lines("tasks can come again").is_empty()
    })
    .await;
    worker.drain().await;
    for (words, times) in [
        ("no tasks can come;", 1),
        ("tasks can come again", 1),
        ("reports wait in the journal", 1),
        ("reports leave again", 1),
        ("WARN", 2),
    ] {
        assert_eq!(log.lines(words).len(), times, "{words}");
    }
}
