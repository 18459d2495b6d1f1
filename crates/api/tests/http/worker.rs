//! A worker by hand: it says what the test tells it to.

use std::sync::Arc;

use serde_json::value::RawValue;
use tasker_broker::local::LocalBroker;
use tasker_core::broker::{Address, Broker, Confirmed, Consumer, Message, Queue};
use tasker_core::wire::{Entry, Envelope, Hello, Report, ReportBatch, Welcome};
use tasker_core::{BootId, EndpointName, JournalUid, ResponseState, TaskType, TaskUid};
use tokio::time::timeout;
use uuid::Uuid;

use crate::app::{App, PATIENCE};

/// A worker.
pub(crate) struct Worker<'a> {
    app: &'a App,
    broker: Arc<LocalBroker>,
    pub(crate) task_type: TaskType,
    pub(crate) endpoint: EndpointName,
    pub(crate) journal: JournalUid,
    pub(crate) boot: BootId,
    inbox: Option<Box<dyn Consumer>>,
}

/// What a worker says of a task.
pub(crate) fn report(uid: TaskUid, attempt: u32, run: u32, state: ResponseState) -> Report {
    let is_finished = state.is_finished();
    Report {
        errnr: is_finished.then(|| i32::from(state != ResponseState::Succeeded)),
        payload: (state == ResponseState::Succeeded)
            .then(|| RawValue::from_string(r#"{"done" : 1.0}"#.into()).unwrap()),
        elapsed_ms: is_finished.then_some(5),
        ..Report::plain(uid, attempt, run, state)
    }
}

impl<'a> Worker<'a> {
    pub(crate) fn new(app: &'a App, task_type: &str, endpoint: &str) -> Self {
        Self {
            app,
            broker: Arc::clone(&app.broker),
            task_type: TaskType::parse(task_type).unwrap(),
            endpoint: EndpointName::parse(endpoint).unwrap(),
            journal: JournalUid::mint(),
            boot: BootId::mint(),
            inbox: None,
        }
    }

    /// A worker that has said hello and was welcomed.
    pub(crate) fn welcomed(app: &'a App, task_type: &str, endpoint: &str) -> Self {
        let mut worker = Self::new(app, task_type, endpoint);
        worker.say_hello(true);
        assert_eq!(worker.welcome().boot, worker.boot);
        worker
    }

    pub(crate) fn batch(&self) -> ReportBatch {
        let (task_type, endpoint) = (self.task_type.clone(), self.endpoint.clone());
        ReportBatch::heartbeat(task_type, endpoint, self.journal, self.boot)
    }

    pub(crate) fn reports(&self) -> Address {
        Address::Reports(self.task_type.clone(), self.endpoint.clone())
    }

    pub(crate) fn say_hello(&self, fresh: bool) {
        let mut batch = self.batch();
        batch.hello = Some(Hello {
            version: "0".into(),
            fresh,
        });
        self.post(self.reports(), batch.encode());
    }

    pub(crate) fn report(&self, reports: Vec<Report>) {
        let mut batch = self.batch();
        batch.reports = reports;
        self.post(self.reports(), batch.encode());
    }

    /// Publishes whatever.
    pub(crate) fn post(&self, to: Address, body: Vec<u8>) {
        let message = Message {
            to,
            persistent: true,
            id: Uuid::now_v7(),
            body: body.into(),
        };
        let confirmed = self.app.rt.block_on(self.broker.publish(message)).unwrap();
        assert_eq!(confirmed, Confirmed::Routed);
    }

    /// The next message of the inbox.
    pub(crate) fn next(&mut self) -> Envelope {
        let queue = Queue::Inbox(self.task_type.clone(), self.endpoint.clone());
        let app = self.app;
        if self.inbox.is_none() {
            // The inbox is there as soon as the hello is answered.
            app.eventually("the inbox exists", || {
                self.inbox = app.rt.block_on(self.broker.consume(&queue, 1)).ok();
                self.inbox.is_some()
            });
        }
        let inbox = self.inbox.as_mut().unwrap();
        app.rt.block_on(async {
            let delivery = timeout(PATIENCE, inbox.next(1))
                .await
                .expect("a message")
                .unwrap();
            inbox.ack_through(delivery[0].tag).await.unwrap();
            Envelope::parse(&delivery[0].body, &self.endpoint).unwrap()
        })
    }

    pub(crate) fn welcome(&mut self) -> Welcome {
        self.next().welcome.expect("a welcome")
    }

    /// The next message's only task.
    pub(crate) fn task(&mut self) -> Entry {
        let mut envelope = self.next();
        assert_eq!(envelope.entries.len(), 1, "{envelope:?}");
        envelope.entries.remove(0)
    }
}

/// Takes letters out of the dead-letter queue until there are as many.
pub(crate) fn dead(app: &App, count: usize) -> Vec<Vec<u8>> {
    app.rt.block_on(async {
        let mut consumer = app.broker.consume(&Queue::Dead, 1000).await.unwrap();
        let mut bodies = Vec::new();
        while bodies.len() < count {
            let batch = timeout(PATIENCE, consumer.next(1000))
                .await
                .expect("dead letters")
                .unwrap();
            bodies.extend(batch.iter().map(|delivery| delivery.body.to_vec()));
            consumer
                .ack_through(batch[batch.len() - 1].tag)
                .await
                .unwrap();
        }
        consumer.stop().await;
        bodies
    })
}
