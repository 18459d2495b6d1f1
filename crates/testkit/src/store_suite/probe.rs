//! A store as the promises use it: short words for what they do again and again.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tasker_core::account::ClientScope;
use tasker_core::id::{BootId, JournalUid, ProcessId, TaskId, TaskUid};
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::{
    Arrived, Changed, Created, HelloAnswer, RecordVerdict, ResponseFilter, RetryOrder, Store,
    Tally, Timing, WorkerSign,
};
use tasker_core::task::{NewTask, Task, TaskHead, TaskResponse};
use tasker_core::wire::Report;

use super::{Ledger, patient};
use crate::build::{endpoint, task_type};

/// How long something may take that the database's clock decides.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store, opened by one process.
#[derive(Clone)]
pub struct Probe {
    /// The store itself.
    pub store: Arc<dyn Store>,
    /// The process that it works for.
    pub process: ProcessId,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Probe({})", self.process)
    }
}

impl Deref for Probe {
    type Target = dyn Store;
    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

/// A report as the tests' endpoints make it: nothing but what fences look at.
pub(super) fn report(uid: TaskUid, attempt: u32, run: u32, state: ResponseState) -> Report {
    Report::plain(uid, attempt, run, state)
}

/// JSON as it stands.
pub(super) fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).expect("JSON")
}

/// A report that arrived from an endpoint of the type `worker`.
pub(super) fn from(name: &str, report: Report) -> Arrived {
    Arrived {
        task_type: task_type("worker"),
        endpoint: endpoint(name),
        report,
    }
}

/// Who the worker of an endpoint is.
pub(super) fn sign(name: &str, journal: JournalUid) -> WorkerSign {
    WorkerSign {
        task_type: task_type("worker"),
        endpoint: endpoint(name),
        journal,
        boot: BootId::mint(),
    }
}

impl Probe {
    /// How the responses of a task stand.
    ///
    /// # Panics
    /// If the ledger fails or there is no such task.
    pub async fn tally(&self, task: TaskId, missing: u32) -> Tally {
        let standing = self
            .store
            .standing(task, ResponseFilter::default(), missing);
        let standing = standing.await.expect("a standing");
        standing.expect("a task").tally
    }

    /// Opens the ledger; nothing becomes due by the clock.
    pub async fn open(ledger: &dyn Ledger) -> Self {
        Self::open_with(ledger, patient()).await
    }

    /// Opens the ledger with these time spans.
    pub async fn open_with(ledger: &dyn Ledger, timing: Timing) -> Self {
        Self {
            store: ledger.open(timing).await,
            process: ProcessId::mint(),
        }
    }

    /// Stores one task, which must be new.
    pub async fn store_new(&self, task: NewTask) -> Task {
        let created = self
            .create(vec![task], self.process)
            .await
            .expect("created");
        match created.as_slice() {
            [Created::New(task)] => task.clone(),
            other => panic!("not new: {other:?}"),
        }
    }

    /// Records one report of an endpoint.
    pub async fn hear(&self, name: &str, report: Report) -> RecordVerdict {
        let recorded = self
            .record(vec![from(name, report)])
            .await
            .expect("recorded");
        assert_eq!(recorded.verdicts.len(), 1);
        recorded.verdicts[0]
    }

    /// Records that an endpoint's first attempt and run came to a state.
    pub async fn reach(&self, name: &str, task: &Task, state: ResponseState) {
        let run = u32::from(state != ResponseState::Received);
        let verdict = self.hear(name, report(task.head.uid, 1, run, state)).await;
        assert_eq!(verdict, RecordVerdict::Applied, "{name} {state}");
    }

    /// A worker says hello.
    pub async fn greet(&self, name: &str, journal: JournalUid, fresh: bool) -> HelloAnswer {
        self.hello(sign(name, journal), fresh)
            .await
            .expect("a welcome")
    }

    /// The task as it is now.
    pub async fn again(&self, task: &Task) -> Task {
        let head = &task.head;
        self.task(
            &ClientScope::own(head.client.clone()),
            &head.task_type,
            &head.identifier,
        )
        .await
        .expect("read")
        .expect("still there")
    }

    /// The head of a task as it is now.
    pub async fn head(&self, task: &Task) -> TaskHead {
        self.again(task).await.head
    }

    /// The status, and (expected, received, finished, failed).
    pub async fn standing(&self, task: &Task) -> (TaskStatus, (u32, u32, u32, u32)) {
        let head = self.head(task).await;
        let counts = head.counts;
        let four = (
            counts.expected,
            counts.received,
            counts.finished,
            counts.failed,
        );
        (head.status, four)
    }

    /// All responses of a task.
    pub async fn rows(&self, task: TaskId) -> Vec<TaskResponse> {
        let all = ResponseFilter {
            limit: 100_000,
            ..ResponseFilter::default()
        };
        Store::responses(&*self.store, task, all)
            .await
            .expect("read")
    }

    /// The response of one endpoint.
    pub async fn row(&self, task: &Task, name: &str) -> TaskResponse {
        self.find_row(task, name).await.expect("a row")
    }

    /// The response of one endpoint, if there is one.
    pub async fn find_row(&self, task: &Task, name: &str) -> Option<TaskResponse> {
        let rows = self.rows(task.head.id).await;
        rows.into_iter().find(|row| row.endpoint.as_str() == name)
    }

    /// Orders a retry of responses in these states, which must be legal; tells how many it touched.
    pub async fn retry_all(&self, task: &Task, states: &[ResponseState]) -> u32 {
        let order = RetryOrder {
            states: states.to_vec(),
            endpoints: None,
            wait_s: 30,
        };
        match self.retry(task.head.id, order).await.expect("retried") {
            Changed::Changed(_, count) => count,
            Changed::Illegal(head) => panic!("a retry is illegal in {}", head.status),
            Changed::Gone => panic!("the task is gone"),
        }
    }

    /// Acts on deadlines until one more task was settled, and tells its status.
    pub async fn settle_next(&self) -> (TaskUid, TaskStatus) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (settled, _) = self.settle_due(1000).await.expect("settled");
            match settled.as_slice() {
                [] => assert!(Instant::now() < deadline, "nothing was settled"),
                [one] => return *one,
                more => panic!("more than one was settled: {more:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Acts on deadlines until the row of an endpoint is in a state.
    pub async fn settle_until(&self, task: &Task, name: &str, state: ResponseState) {
        let deadline = Instant::now() + PATIENCE;
        while self.row(task, name).await.state != state {
            assert!(Instant::now() < deadline, "{name} is not {state}");
            self.settle_due(1000).await.expect("settled");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the database's clock has passed the end of a task's life.
    pub async fn outlive(&self, task: &Task) {
        let deadline = Instant::now() + PATIENCE;
        while self.now().await.expect("the time") < task.head.expires_at {
            assert!(Instant::now() < deadline, "the clock stands still");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
