//! A worker between an in-process broker and a stand-in for the ledger.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;
use tasker_broker::local::LocalBroker;
use tasker_core::broker::{Address, Broker, Message, Queue};
use tasker_core::handler::{Handler, HandlerError, Job, Output};
use tasker_core::task::RunPolicy;
use tasker_core::wire::{
    Cancel, CancelEntry, EntryRef, Envelope, Had, Report, ReportBatch, Welcome, WireTask,
};
use tasker_core::{BootId, ResponseState, TaskUid};
use tasker_testkit::build;
use tasker_worker::{Drained, JournalError, WorkerError, WorkerSettings};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What the ledger's side has seen and how it answers.
#[derive(Default)]
pub struct Ledger {
    pub reports: Mutex<Vec<Report>>,
    pub hellos: Mutex<Vec<ReportBatch>>,
    /// The answer to a hello, with the boot of the hello; none: no answer.
    pub welcome: Mutex<Option<Welcome>>,
}

pub struct Rig {
    pub broker: Arc<LocalBroker>,
    pub ledger: Arc<Ledger>,
    pub dir: TempDir,
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Ends the stand-in's consumer.
        self.broker.set_up(false);
    }
}

impl Rig {
    /// A broker with the endpoint's inbox, and a ledger that welcomes at once.
    pub async fn new() -> Self {
        let rig = Self::without_inbox().await;
        rig.open_inbox().await;
        rig.welcomes_with(welcome());
        rig
    }

    pub async fn without_inbox() -> Self {
        let broker = LocalBroker::new();
        broker.declare(&[build::task_type("worker")]).await.unwrap();
        let ledger = Arc::new(Ledger::default());
        tokio::spawn(record(broker.clone(), ledger.clone()));
        Self {
            broker,
            ledger,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub async fn open_inbox(&self) {
        let (task_type, endpoint) = (build::task_type("worker"), build::endpoint("console1"));
        self.broker.open_inbox(&task_type, &endpoint).await.unwrap();
    }

    pub fn welcomes_with(&self, welcome: Welcome) {
        *self.ledger.welcome.lock().unwrap() = Some(welcome);
    }

    pub fn settings(&self) -> WorkerSettings {
        let (task_type, endpoint) = (build::task_type("worker"), build::endpoint("console1"));
        WorkerSettings {
            drain_deadline: Duration::from_secs(20),
            ..WorkerSettings::new(endpoint, task_type, self.dir.path())
        }
    }

    pub fn start(&self, handler: &Arc<Probe>) -> Worker {
        self.start_with(handler.clone(), self.settings())
    }

    pub fn start_with(&self, handler: Arc<dyn Handler>, settings: WorkerSettings) -> Worker {
        let stop = CancellationToken::new();
        let (broker, token) = (self.broker.clone(), stop.clone());
        let join = tokio::spawn(async move {
            loop {
                let (s, h, b, t) = (
                    settings.clone(),
                    handler.clone(),
                    broker.clone(),
                    token.clone(),
                );
                match tasker_worker::run(s, h, b, t).await {
                    // The writer of an earlier worker has not let go of the file yet.
                    Err(WorkerError::Journal(JournalError::Locked { .. })) => {
                        tokio::task::yield_now().await;
                    }
                    ended => return ended,
                }
            }
        });
        Worker { stop, join }
    }

    /// To the inbox of `console1`.
    pub async fn send(&self, body: Vec<u8>) {
        self.sending(body).await;
    }

    /// The same, for somebody who does something else meanwhile.
    pub fn sending(&self, body: Vec<u8>) -> impl Future<Output = ()> + 'static {
        let (task_type, endpoint) = (build::task_type("worker"), build::endpoint("console1"));
        let to = Address::Inboxes(task_type, vec![endpoint]);
        let message = Message {
            to,
            persistent: false,
            id: Uuid::now_v7(),
            body: Bytes::from(body),
        };
        let broker = self.broker.clone();
        async move {
            broker.publish(message).await.unwrap();
        }
    }

    pub async fn send_task(&self, task: &Sent) {
        self.send(Envelope::encode(&[task.entry()])).await;
    }

    pub async fn cancel(&self, uid: TaskUid) {
        let expires_at = Utc::now() + TimeDelta::hours(1);
        self.send(Cancel::encode(vec![CancelEntry { uid, expires_at }]))
            .await;
    }

    /// All reports of a task, oldest first.
    pub fn reports(&self, uid: TaskUid) -> Vec<Report> {
        let all = self.ledger.reports.lock().unwrap();
        all.iter()
            .filter(|report| report.uid == uid)
            .cloned()
            .collect()
    }

    /// Waits for a report in this state and returns it.
    pub async fn reported(&self, uid: TaskUid, state: ResponseState) -> Report {
        let find = || {
            self.reports(uid)
                .into_iter()
                .find(|report| report.state == state)
        };
        until(&format!("{state} is reported"), || find().is_some()).await;
        find().unwrap()
    }
}

async fn record(broker: Arc<LocalBroker>, ledger: Arc<Ledger>) {
    loop {
        let Ok(mut consumer) = broker.consume(&Queue::Reports, 100).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if Arc::strong_count(&ledger) == 1 {
                return;
            }
            continue;
        };
        while let Ok(batch) = consumer.next(100).await {
            for delivery in &batch {
                let message = ReportBatch::parse(&delivery.body).unwrap();
                assert_eq!(delivery.routing_key, "worker.console1");
                answer(&broker, &ledger, &message).await;
                ledger
                    .reports
                    .lock()
                    .unwrap()
                    .extend(message.reports.clone());
                if message.hello.is_some() {
                    ledger.hellos.lock().unwrap().push(message);
                }
            }
            let _away = consumer.ack_through(batch.last().unwrap().tag).await;
        }
    }
}

async fn answer(broker: &LocalBroker, ledger: &Ledger, message: &ReportBatch) {
    let welcome = ledger.welcome.lock().unwrap().clone();
    if let (Some(_), Some(welcome)) = (&message.hello, welcome) {
        let welcome = Welcome {
            boot: message.boot,
            now: Utc::now(),
            ..welcome
        };
        let to = Address::Inboxes(message.task_type.clone(), vec![message.endpoint.clone()]);
        let body = Bytes::from(welcome.encode());
        let _away = broker
            .publish(Message {
                to,
                persistent: false,
                id: Uuid::now_v7(),
                body,
            })
            .await;
    }
}

/// A welcome that says nothing special. Its boot and clock are replaced when it answers.
pub fn welcome() -> Welcome {
    Welcome {
        boot: BootId::mint(),
        now: Utc::now(),
        cancelled: Vec::new(),
        had: Vec::new(),
        more: false,
    }
}

pub fn had(uid: TaskUid, attempt: u32) -> Welcome {
    Welcome {
        had: vec![Had { uid, attempt }],
        ..welcome()
    }
}

/// A task that is sent.
#[derive(Clone)]
pub struct Sent {
    pub uid: TaskUid,
    pub attempt: u32,
    pub task: Vec<u8>,
}

impl Sent {
    pub fn once() -> Self {
        Self::with(RunPolicy::Once, None, 3600)
    }

    pub fn idempotent() -> Self {
        Self::with(RunPolicy::Idempotent, None, 3600)
    }

    pub fn with(run_policy: RunPolicy, payload: Option<&'static str>, expires_in_s: i64) -> Self {
        let mut task = build::new_task("nightly-17", &[]);
        task.run_policy = run_policy;
        if let Some(payload) = payload {
            task.payload = Some(Bytes::from_static(payload.as_bytes()));
        }
        let now = Utc::now();
        let bytes = WireTask::encode(&task, now, now + TimeDelta::seconds(expires_in_s)).unwrap();
        Self {
            uid: task.uid,
            attempt: 1,
            task: bytes,
        }
    }

    /// With a run time limit.
    pub fn limited(timeout_s: u32) -> Self {
        let mut task = build::new_task("nightly-17", &[]);
        task.timeout_s = timeout_s;
        let now = Utc::now();
        let bytes = WireTask::encode(&task, now, now + TimeDelta::hours(1)).unwrap();
        Self {
            uid: task.uid,
            attempt: 1,
            task: bytes,
        }
    }

    pub fn attempt(&self, attempt: u32) -> Self {
        Self {
            attempt,
            ..self.clone()
        }
    }

    pub fn expires_at(&self) -> DateTime<Utc> {
        WireTask::parse(&self.task).unwrap().expires_at
    }

    pub fn entry(&self) -> EntryRef<'_> {
        EntryRef {
            attempt: self.attempt,
            audience: None,
            task: &self.task,
        }
    }
}

/// A running worker.
pub struct Worker {
    pub stop: CancellationToken,
    pub join: JoinHandle<Result<Drained, WorkerError>>,
}

impl Worker {
    /// As by `kill -9`: nothing is finished, nothing is said.
    pub async fn kill(self) {
        self.join.abort();
        assert!(self.join.await.unwrap_err().is_cancelled());
    }

    /// As by TERM.
    pub async fn drain(self) -> Drained {
        self.stop.cancel();
        self.join.await.unwrap().unwrap()
    }
}

/// A handler that notes every start and goes on when it is let.
pub struct Probe {
    pub starts: Mutex<Vec<(TaskUid, u32, u32)>>,
    go: Semaphore,
}

impl Probe {
    /// Succeeds at once.
    pub fn quick() -> Arc<Self> {
        let probe = Self::held();
        probe.go.close();
        probe
    }

    /// Runs until [`let_one_go`](Self::let_one_go).
    pub fn held() -> Arc<Self> {
        Arc::new(Self {
            starts: Mutex::default(),
            go: Semaphore::new(0),
        })
    }

    pub fn let_one_go(&self) {
        self.go.add_permits(1);
    }

    pub fn let_all_go(&self) {
        self.go.close();
    }

    /// The starts of a task: attempt and run.
    pub fn starts(&self, uid: TaskUid) -> Vec<(u32, u32)> {
        let all = self.starts.lock().unwrap();
        all.iter()
            .filter(|s| s.0 == uid)
            .map(|s| (s.1, s.2))
            .collect()
    }

    pub async fn started(&self, uid: TaskUid, attempt: u32, run: u32) {
        let what = format!("attempt {attempt} run {run} starts");
        until(&what, || self.starts(uid).contains(&(attempt, run))).await;
    }
}

#[async_trait]
impl Handler for Probe {
    async fn run(&self, job: Job<'_>) -> Result<Output, HandlerError> {
        self.starts
            .lock()
            .unwrap()
            .push((job.uid, job.attempt, job.run));
        if let Ok(permit) = self.go.acquire().await {
            permit.forget();
        }
        Output::json(&"done")
    }

    fn check(&self, payload: Option<&RawValue>) -> Result<(), String> {
        if payload.is_some_and(|raw| raw.get().contains("bad")) {
            return Err("it is bad".to_owned());
        }
        Ok(())
    }
}

/// Waits until a condition holds; fails if it does not for 20 s.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
