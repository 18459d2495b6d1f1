//! What the relay does about its own faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tasker_broker::local::LocalBroker;
use tasker_core::broker::{Address, Broker, BrokerError, Confirmed, Consumer, Message, Queue};
use tasker_core::store::Timing;
use tasker_core::{EndpointName, TaskType};

use crate::app::{App, settings};
use crate::worker::Worker;

/// A courier with a bug: its first publishes of tasks panic.
struct Panicking {
    broker: Arc<LocalBroker>,
    panics: AtomicU32,
}

#[async_trait]
impl Broker for Panicking {
    async fn declare(&self, task_types: &[TaskType]) -> Result<(), BrokerError> {
        self.broker.declare(task_types).await
    }
    async fn open_inbox(&self, of: &TaskType, at: &EndpointName) -> Result<(), BrokerError> {
        self.broker.open_inbox(of, at).await
    }
    async fn publish(&self, message: Message) -> Result<Confirmed, BrokerError> {
        let is_of_relay = matches!(message.to, Address::Everybody(_));
        let left = |left: u32| left.checked_sub(1);
        let (set, get) = (Ordering::SeqCst, Ordering::SeqCst);
        if is_of_relay && self.panics.fetch_update(set, get, left).is_ok() {
            panic!("a bug of the courier");
        }
        self.broker.publish(message).await
    }
    async fn consume(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Box<dyn Consumer>, BrokerError> {
        self.broker.consume(queue, prefetch).await
    }
    fn is_up(&self) -> bool {
        self.broker.is_up()
    }
    async fn close(&self) {
        self.broker.close().await;
    }
}

#[test]
fn a_task_whose_publish_panicked_is_published_when_its_lease_is_over() {
    let settings = tasker_api::ApiSettings {
        wait_for_sent: Duration::from_millis(200),
        ..settings()
    };
    let timing = Timing {
        lease: Duration::from_millis(500),
        // What asking would heal must not hide what the relay does.
        ask_every: Duration::from_secs(3_600),
        ..Timing::default()
    };
    let app = App::behind(settings, timing, |broker| {
        let panics = AtomicU32::new(2);
        Arc::new(Panicking { broker, panics })
    });
    let mut worker = Worker::welcomed(&app, "worker", "a");
    let posted = app.post("/worker", r#"{"identifier":"t","endpoints":["a"]}"#);
    assert_eq!(posted.status, 202, "{}", posted.text);
    assert_eq!(worker.task().identifier.as_str(), "t");
    app.eventually("it is marked", || {
        app.get("/worker/t").json()["task"]["status"] == "SENT"
    });
    assert_eq!(app.metric("tasker_relay_in_flight"), 0);
}
