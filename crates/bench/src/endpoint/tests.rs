use super::*;
use crate::journal::tests::{Rig, rig};
use tasker_broker::local::LocalBroker;
use tasker_core::task::RunPolicy;
use tasker_core::wire::{EntryRef, Welcome, WireTask};
use tokio::task::JoinHandle;

const HANG: Duration = Duration::from_secs(20);

fn task_type() -> TaskType {
    TaskType::parse("bench").unwrap()
}

fn name() -> EndpointName {
    EndpointName::parse("e1").unwrap()
}

/// An endpoint on a broker in memory and a journal whose syncs the test lets through; the test plays
/// the ledger.
struct Stage {
    broker: Arc<LocalBroker>,
    disk: Rig,
    reports: Box<dyn Consumer>,
    running: JoinHandle<Result<(), BenchError>>,
    boot: BootId,
}

impl Stage {
    async fn set() -> Self {
        let broker = LocalBroker::new();
        broker.declare(&[task_type()]).await.unwrap();
        broker.open_inbox(&task_type(), &name()).await.unwrap();
        let mut reports = broker.consume(&Queue::Reports, 100).await.unwrap();
        let disk = rig();
        let fleet = Arc::new(Fleet::new(disk.journal.clone()));
        let endpoint = Endpoint::new(7, name(), task_type(), broker.clone());
        let boot = endpoint.boot;
        let starting = Arc::new(Semaphore::new(1));
        let running = tokio::spawn(async move { endpoint.run(&fleet, starting).await });
        let hello = said(&mut *reports).await;
        assert!(hello.hello.unwrap().fresh);
        Self {
            broker,
            disk,
            reports,
            running,
            boot,
        }
    }

    async fn send(&self, body: Vec<u8>) {
        let message = Message {
            to: Address::Inboxes(task_type(), vec![name()]),
            persistent: false,
            id: Uuid::now_v7(),
            body: body.into(),
        };
        self.broker.publish(message).await.unwrap();
    }

    async fn welcome(&self) {
        let welcome = Welcome {
            boot: self.boot,
            now: chrono::Utc::now(),
            cancelled: Vec::new(),
            had: Vec::new(),
            more: false,
        };
        self.send(welcome.encode()).await;
    }

    async fn task(&self, uid: TaskUid, run_policy: RunPolicy) {
        let now = chrono::Utc::now();
        let task = WireTask {
            uid,
            identifier: "i".into(),
            task_type: "bench".into(),
            client: "local".into(),
            payload: None,
            run_policy,
            timeout_s: 60,
            issued_at: now,
            expires_at: now + Duration::from_secs(600),
        };
        let task = serde_json::to_vec(&task).unwrap();
        let entry = EntryRef {
            attempt: 1,
            audience: None,
            task: &task,
        };
        self.send(Envelope::encode(&[entry])).await;
    }

    /// Waits until a sync has begun.
    async fn syncing(&mut self) {
        let begun = self.disk.syncing.recv();
        tokio::time::timeout(HANG, begun).await.unwrap().unwrap();
    }

    fn sync(&self) {
        self.disk.go.send(Ok(())).unwrap();
    }

    /// The states of the next report message.
    async fn states(&mut self) -> Vec<ResponseState> {
        let batch = said(&mut *self.reports).await;
        batch.reports.iter().map(|report| report.state).collect()
    }

    /// What another consumer of the inbox would get, now that the endpoint is gone.
    async fn left(self) -> usize {
        self.running.abort();
        let _ = self.running.await;
        let inbox = Queue::Inbox(task_type(), name());
        let mut consumer = self.broker.consume(&inbox, 100).await.unwrap();
        // The mark comes after everything that was not acknowledged.
        let mark = Message {
            to: Address::Everybody(task_type()),
            persistent: false,
            id: Uuid::now_v7(),
            body: "mark".into(),
        };
        self.broker.publish(mark).await.unwrap();
        let mut left = 0;
        loop {
            for delivery in consumer.next(100).await.unwrap() {
                if delivery.body == "mark" {
                    return left;
                }
                left += 1;
            }
        }
    }
}

async fn said(reports: &mut dyn Consumer) -> ReportBatch {
    let deliveries = tokio::time::timeout(HANG, reports.next(1)).await.unwrap();
    let delivery = deliveries.unwrap().remove(0);
    ReportBatch::parse(&delivery.body).unwrap()
}

#[tokio::test]
async fn nothing_is_acknowledged_before_its_claim_is_durable() {
    let mut stage = Stage::set().await;
    stage.task(TaskUid::mint(), RunPolicy::Idempotent).await;
    stage.syncing().await;
    // The claim is written and not synced: the task is still the broker's.
    assert_eq!(stage.left().await, 1);
}

#[tokio::test]
async fn nothing_is_reported_before_its_end_is_durable() {
    let mut stage = Stage::set().await;
    stage.welcome().await;
    stage.task(TaskUid::mint(), RunPolicy::Idempotent).await;
    stage.syncing().await;
    stage.sync();
    stage.syncing().await;
    let ended = tokio::time::timeout(Duration::from_millis(50), stage.reports.next(1));
    assert!(ended.await.is_err(), "reported before the sync");
    stage.sync();
    assert_eq!(stage.states().await, [ResponseState::Succeeded]);
    assert_eq!(stage.left().await, 0);
}

#[tokio::test]
async fn a_task_that_runs_once_is_reported_as_received_before_its_end_is_written() {
    let mut stage = Stage::set().await;
    stage.welcome().await;
    let uid = TaskUid::mint();
    stage.task(uid, RunPolicy::Once).await;
    stage.syncing().await;
    stage.broker.hold_confirms(true);
    let claimed = stage.disk.written.lock().unwrap().len();
    stage.sync();
    assert_eq!(stage.states().await, [ResponseState::Received]);
    assert_eq!(stage.disk.written.lock().unwrap().len(), claimed);
    stage.broker.hold_confirms(false);
    stage.syncing().await;
    stage.sync();
    assert_eq!(stage.states().await, [ResponseState::Succeeded]);
}

#[tokio::test]
async fn nothing_is_run_before_the_welcome_and_a_known_task_is_only_answered() {
    let mut stage = Stage::set().await;
    let uid = TaskUid::mint();
    stage.task(uid, RunPolicy::Idempotent).await;
    stage.syncing().await;
    let claimed = stage.disk.written.lock().unwrap().len();
    stage.sync();
    stage.welcome().await;
    stage.syncing().await;
    stage.sync();
    assert_eq!(stage.states().await, [ResponseState::Succeeded]);
    let ended = stage.disk.written.lock().unwrap().len();
    assert!(ended > claimed);
    stage.task(uid, RunPolicy::Idempotent).await;
    assert_eq!(stage.states().await, [ResponseState::Succeeded]);
    assert_eq!(stage.disk.written.lock().unwrap().len(), ended);
    // Of another start: not for this one.
    stage.boot = BootId::mint();
    stage.welcome().await;
    assert_eq!(stage.disk.journal.syncs(), 2);
}
