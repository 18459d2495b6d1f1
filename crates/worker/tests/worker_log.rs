//! What an operator reads on an endpoint: one line when the broker is lost, one when it is back.

#![allow(clippy::unwrap_used, reason = "what tests call may panic")]

mod rig;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rig::{Probe, Rig, Sent, until};
use tasker_core::ResponseState::Succeeded;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn with(&self, words: &str) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(words)).count()
    }
}

#[tokio::test]
async fn a_lost_broker_is_said_once_and_its_return_once() {
    let log = Lines::default();
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
    assert_eq!(log.with("WARN"), 0);

    rig.broker.set_up(false);
    until("its loss is said", || log.with("no tasks can come;") > 0).await;
    // To look out for what must not happen: it tries again several times meanwhile.
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.broker.set_up(true);
    until("its return is said", || {
        log.with("tasks can come again") > 0
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
        assert_eq!(log.with(words), times, "{words}");
    }
}
