//! A port as the promises use it: short words for what they do again and again.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use tasker_core::account::ClientScope;
use tasker_core::id::RunUid;
use tasker_core::name::{Client, Identifier};
use tasker_core::runs::{
    Changer, ClaimOrder, Claimed, Lease, NewPuller, NewRun, Payloads, Progress, Run, RunKey,
    RunTask, RunTaskChange, RunTaskState, Runs, ShownTask, UpdateOrder, Updated,
};

use super::RunLedger;

/// The runs of a ledger, opened by one process, under a clock that the test moves.
#[derive(Clone)]
pub struct Probe {
    /// The port itself.
    pub runs: Arc<dyn Runs>,
    now: Arc<Mutex<DateTime<Utc>>>,
    /// What claims and changes get.
    pub lease: Lease,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe")
    }
}

impl Deref for Probe {
    type Target = dyn Runs;
    fn deref(&self) -> &Self::Target {
        &*self.runs
    }
}

/// The scope of a client that sees its own things only.
pub(super) fn own(client: &str) -> ClientScope {
    ClientScope::own(Client::parse(client).expect("a name"))
}

/// The name of a worker.
pub(super) fn name(name: &str) -> Identifier {
    Identifier::parse(name).expect("a name")
}

/// A change to a percentage.
pub(super) fn percent(percent: f64) -> RunTaskChange {
    RunTaskChange {
        percent: Some(percent),
        ..RunTaskChange::default()
    }
}

/// A change to a state.
pub(super) fn to(state: RunTaskState) -> RunTaskChange {
    RunTaskChange {
        state: Some(state),
        ..RunTaskChange::default()
    }
}

/// A change to done and complete.
pub(super) fn complete() -> RunTaskChange {
    RunTaskChange {
        state: Some(RunTaskState::Done),
        ..percent(100.0)
    }
}

/// Asks for a run as the client `local`.
pub(super) fn key(run: &Run) -> RunKey {
    RunKey {
        scope: own("local"),
        uid: run.uid,
    }
}

impl Probe {
    /// Opens the ledger, without leases.
    pub async fn open(ledger: &dyn RunLedger) -> Self {
        Self::open_with(ledger, Lease::default()).await
    }

    /// Opens the ledger with this lease.
    pub async fn open_with(ledger: &dyn RunLedger, lease: Lease) -> Self {
        let start = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").expect("a time");
        let now = Arc::new(Mutex::new(start.to_utc()));
        let told = Arc::clone(&now);
        let clock = Arc::new(move || *told.lock().expect("the time"));
        Self {
            runs: ledger.open_runs(Some(clock)).await,
            now,
            lease,
        }
    }

    /// Lets seconds pass.
    pub fn pass(&self, seconds: i64) {
        *self.now.lock().expect("the time") += TimeDelta::seconds(seconds);
    }

    /// A new run of the client `local`.
    pub async fn make(&self, num_tasks: u32) -> Run {
        self.make_with(num_tasks, Payloads::None).await
    }

    /// A new run with payloads.
    pub async fn make_with(&self, num_tasks: u32, payloads: Payloads) -> Run {
        self.create_run(NewRun {
            uid: RunUid::mint(),
            client: Client::local(),
            num_tasks,
            payloads,
        })
        .await
        .expect("created")
    }

    /// Makes a worker of the client `local` known.
    pub async fn know(&self, worker: &str, session: Option<[u8; 32]>) -> i64 {
        self.register(NewPuller {
            client: Client::local(),
            name: name(worker),
            hostname: "host".to_owned(),
            pid: 1,
            session,
        })
        .await
        .expect("known")
    }

    /// Claims a task for each worker.
    pub async fn claims(&self, run: &Run, workers: &[&str]) -> Vec<Claimed> {
        let order = ClaimOrder {
            key: key(run),
            workers: workers.iter().map(|worker| name(worker)).collect(),
            lease: self.lease,
        };
        self.claim(order).await.expect("claimed").expect("a run")
    }

    /// Claims a task; `None`: there is none left.
    pub async fn take(&self, run: &Run, worker: &str) -> Option<ShownTask> {
        match self.claims(run, &[worker]).await.as_slice() {
            [Claimed::Task(task)] => Some((**task).clone()),
            [Claimed::NoMore] => None,
            other => panic!("{other:?}"),
        }
    }

    /// The number of the next task.
    pub async fn number(&self, run: &Run, worker: &str) -> Option<u32> {
        self.take(run, worker).await.map(|shown| shown.task.number)
    }

    /// Changes a task.
    pub async fn set(
        &self,
        run: &Run,
        number: u32,
        changer: Changer,
        change: RunTaskChange,
    ) -> Updated {
        let order = UpdateOrder {
            key: key(run),
            number,
            changer,
            change,
            lease: self.lease,
        };
        let updated = self.update(vec![order]).await.expect("answered");
        assert_eq!(updated.len(), 1);
        updated[0]
    }

    /// Changes a task as nobody in particular, which must succeed.
    pub async fn put(&self, run: &Run, number: u32, change: RunTaskChange) {
        let updated = self.set(run, number, Changer::Anybody, change).await;
        assert_eq!(updated, Updated::Done);
    }

    /// A task, whole.
    pub async fn shown(&self, run: &Run, number: u32) -> ShownTask {
        let found = self.find_run_task(key(run), number, true).await;
        found.expect("read").expect("a run").expect("a task")
    }

    /// A task.
    pub async fn look(&self, run: &Run, number: u32) -> RunTask {
        self.shown(run, number).await.task
    }

    /// A run as it is now.
    pub async fn again(&self, run: &Run) -> Run {
        let found = self.find_run(key(run), false).await;
        found.expect("read").expect("a run").0
    }

    /// How a run stands.
    pub async fn progress(&self, run: &Run) -> Progress {
        let found = self.find_run(key(run), true).await;
        found.expect("read").expect("a run").1
    }

    /// Waiting, computing, done.
    pub async fn counts(&self, run: &Run) -> (u32, u32, u32) {
        let progress = self.progress(run).await;
        (progress.waiting, progress.computing, progress.done)
    }
}
