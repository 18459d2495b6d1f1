//! Jobs whose server is a worker: each becomes a task for its endpoint, and follows the response of it.
//!
//! One look for all that is to be done, woken by whoever submits, cancels or records, and by the clock.
//! What is to be done is read from the rows alone, so nothing is lost when a process dies between two steps,
//! and any number of processes may look at the same time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tasker_core::jobs::{Due, JobStatus, Jobs, Marked, Outcome, Unfollowed, Update};
use tasker_core::name::{EndpointName, Identifier, TaskType};
use tasker_core::store::{Changed, Store, StoreError};
use tasker_core::task::{Audience, NewTask};
use tasker_core::{Client, ProcessId, TaskId, TaskStatus, TaskUid};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::accept::{Accepted, Intake};
use crate::board::Board;
use crate::chain::chain;
use crate::metrics::{Metrics, count};
use crate::news::News;
use crate::outage::Outage;
use crate::pause::{backoff, pause};
use crate::recorder::tell_settled;
use crate::settings::{ApiSettings, DEFAULT_EXPIRES_IN_S, TaskTypeSettings};

/// Jobs looked at in one round.
const ROUND: u32 = 200;

/// Wakes the bridge.
#[derive(Debug)]
pub(crate) struct Bell {
    /// The datasources whose server is a worker.
    datasources: HashSet<TaskType>,
    rung: Notify,
}

impl Bell {
    pub(crate) fn new(settings: &ApiSettings) -> Self {
        let served = settings.task_types.iter();
        let served = served.filter(|known| known.kind.endpoint().is_some());
        Self {
            datasources: served.map(|known| known.name.clone()).collect(),
            rung: Notify::new(),
        }
    }

    /// Whether there is such a datasource.
    pub(crate) fn has_any(&self) -> bool {
        !self.datasources.is_empty()
    }

    /// Whether this is one.
    pub(crate) fn is_for(&self, task_type: &TaskType) -> bool {
        self.datasources.contains(task_type)
    }

    /// Something has happened to a task of one.
    pub(crate) fn ring(&self) {
        self.rung.notify_one();
    }

    /// Something has happened to a job of this datasource.
    pub(crate) fn ring_for(&self, datasource: &TaskType) {
        if self.is_for(datasource) {
            self.ring();
        }
    }
}

/// The bridge of one process.
pub(crate) struct Bridge {
    pub(crate) bell: Arc<Bell>,
    pub(crate) jobs: Arc<dyn Jobs>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) intake: Intake,
    pub(crate) ledger: Arc<Outage>,
    pub(crate) news: Arc<News>,
    pub(crate) board: Arc<Board>,
    pub(crate) asks: Arc<Notify>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: Arc<ApiSettings>,
    pub(crate) owner: ProcessId,
}

impl Bridge {
    /// Does what is to be done, until `stop`.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let mut backoff = backoff();
        while !stop.is_cancelled() {
            let done = self.look().await;
            self.ledger.learn(&done);
            match done {
                Ok(true) => backoff.reset(),
                Ok(false) => {
                    backoff.reset();
                    let rest = timeout(self.settings.scheduler.tick, self.bell.rung.notified());
                    stop.run_until_cancelled(rest).await;
                }
                Err(error) => {
                    count(&self.metrics.loop_failures, "loop", "bridge", 1);
                    if !matches!(error, StoreError::Unavailable(_)) {
                        tracing::error!(error = %chain(&error), "the ledger refused the bridge");
                    }
                    pause(&mut backoff, stop).await;
                }
            }
        }
    }

    /// One look at every datasource. Returns whether to look again at once.
    async fn look(&self) -> Result<bool, StoreError> {
        let mut is_more = false;
        let within = Duration::from_secs(DEFAULT_EXPIRES_IN_S.into());
        for kind in &self.settings.task_types {
            let Some(endpoint) = kind.kind.endpoint() else {
                continue;
            };
            let found = self.jobs.unfollowed(&kind.name, within, ROUND).await?;
            // What cannot be helped now must not be looked at for ever.
            is_more |= self.help(kind, endpoint, found).await? >= ROUND as usize;
        }
        Ok(is_more)
    }

    /// Does what is to be done with these jobs. Returns how many steps came of it: a job may make two.
    async fn help(
        &self,
        kind: &TaskTypeSettings,
        endpoint: &EndpointName,
        found: Vec<Unfollowed>,
    ) -> Result<usize, StoreError> {
        let (mut orders, mut followers, mut helped) = (Vec::new(), Vec::new(), 0);
        for Unfollowed { job, due } in found {
            match due {
                Due::Perform {
                    task,
                    client,
                    request,
                } => {
                    let asked = (task, client, request);
                    orders.push((job, new_task(kind, &self.settings, endpoint, asked)));
                }
                Due::GiveUp => helped += usize::from(self.give_up(kind, job).await?),
                Due::Cancel(task) => helped += usize::from(self.cancel(task).await?),
                Due::Follow => followers.push(job),
            }
        }
        // At once, so that they share a transaction.
        let performing = orders
            .into_iter()
            .map(|(job, task)| self.perform(job, task));
        let performed = join_all(performing).await;
        helped += performed.into_iter().filter(|is_stored| *is_stored).count();
        if !followers.is_empty() {
            let Marked { marks, .. } = self.jobs.follow(&kind.name, followers).await?;
            self.news.publish(&marks);
            helped += marks.len();
        }
        Ok(helped)
    }

    /// Stores the task of a job, as a POST would. The next look sees whether it is there.
    async fn perform(&self, job: Identifier, task: NewTask) -> bool {
        match self.intake.accept(task).await {
            Ok(Accepted::New { .. } | Accepted::Same(_)) => true,
            Ok(Accepted::Reused) => {
                tracing::warn!(%job, "its task was stored by a process with other settings");
                false
            }
            // The cause has been logged.
            Err(_) => false,
        }
    }

    async fn give_up(&self, kind: &TaskTypeSettings, job: Identifier) -> Result<bool, StoreError> {
        let update = Update {
            datasource: kind.name.clone(),
            job,
            client: None,
            outcome: Outcome {
                error: Some("no task could be made of it in time".to_owned()),
                ..Outcome::of(JobStatus::Cancelled)
            },
        };
        let marked = self.jobs.update(update).await?;
        self.news.publish(&marked.marks);
        Ok(!marked.marks.is_empty())
    }

    async fn cancel(&self, task: TaskId) -> Result<bool, StoreError> {
        let Changed::Changed(head, _) = self.store.cancel(task, self.owner).await? else {
            return Ok(false);
        };
        let settled = [(head.uid, TaskStatus::Cancelled)];
        tell_settled(&self.metrics, &self.board, &settled);
        // Its endpoint is told by the next ask, or by the relay if it is away.
        self.asks.notify_one();
        Ok(true)
    }
}

/// The task of a job. The same job makes the same task, whichever process does it.
fn new_task(
    kind: &TaskTypeSettings,
    settings: &ApiSettings,
    endpoint: &EndpointName,
    (uid, client, payload): (TaskUid, Client, Option<Bytes>),
) -> NewTask {
    let endpoints = vec![endpoint.clone()];
    NewTask {
        uid,
        client,
        task_type: kind.name.clone(),
        // Names of jobs are free again one day, those of tasks may still be known then.
        identifier: Identifier::from(uid),
        body_hash: NewTask::hash(payload.as_deref(), Some(&endpoints), None, None, None),
        payload,
        endpoints: Some(endpoints),
        audience: Audience::Listed,
        run_policy: kind.run_policy,
        retry: kind.retry,
        timeout_s: kind.timeout_s,
        expires_in_s: DEFAULT_EXPIRES_IN_S,
        wait_s: settings.wait_for_endpoints_timeout_s,
        // The job's end is told, not the task's.
        callback_url: None,
    }
}
