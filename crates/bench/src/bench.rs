//! What all measurements share: the installation, the names of a run, the endpoints, the verdict.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tasker_core::broker::Broker;
use tasker_core::{EndpointName, TaskType};
use uuid::Uuid;

use crate::client::{Client, Order, Target};
use crate::error::BenchError;
use crate::fleet::Running;
use crate::progress::Progress;
use crate::walk::{Goal, Walk, Walked};

/// How many endpoints share a connection to the broker. Each needs a channel, of which RabbitMQ allows
/// 2,047 by default, and one for each look at an inbox that is not there yet.
pub const ENDPOINTS_A_BROKER: usize = 500;

/// How long nothing may move until a run is given up. More than the API waits for the endpoints of an
/// open task, by default a minute.
const PATIENCE: Duration = Duration::from_secs(150);

/// Whom tasks are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every task names all simulated endpoints.
    Listed,
    /// Tasks are for whoever is subscribed.
    Open,
}

impl Audience {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Open => "open",
        }
    }
}

/// One run against an installation.
pub struct Bench<'a> {
    pub(crate) target: Target,
    /// What identifiers and names of this run begin with.
    run: String,
    brokers: Vec<Arc<dyn Broker>>,
    journal_dir: PathBuf,
    pub(crate) progress: &'a dyn Progress,
}

impl std::fmt::Debug for Bench<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let brokers = self.brokers.len();
        f.debug_struct("Bench")
            .field("target", &self.target)
            .field("run", &self.run)
            .field("brokers", &brokers)
            .field("journal_dir", &self.journal_dir)
            .finish_non_exhaustive()
    }
}

impl<'a> Bench<'a> {
    /// A run with tasks of this type; `token` is what an API with accounts wants to see. The endpoints are spread over the brokers, one for each
    /// [`ENDPOINTS_A_BROKER`]; `journal_dir` should be on a real disk.
    ///
    /// # Errors
    /// [`BenchError::BadUrl`] if `url` is not `http://host:port`.
    pub fn new(
        url: &str,
        token: Option<&str>,
        task_type: TaskType,
        brokers: Vec<Arc<dyn Broker>>,
        journal_dir: PathBuf,
        progress: &'a dyn Progress,
    ) -> Result<Self, BenchError> {
        let id = Uuid::new_v4().simple().to_string();
        Ok(Self {
            target: Target::parse(url, task_type, token)?,
            run: format!("bench-{}", &id[..8]),
            brokers,
            journal_dir,
            progress,
        })
    }

    /// The simulated endpoints of this run. No other run has the same names.
    ///
    /// # Errors
    /// [`BenchError::Usage`] if a name cannot be used.
    pub fn endpoints(&self, count: usize) -> Result<Vec<EndpointName>, BenchError> {
        let name = |number| EndpointName::parse(&format!("{}-{number}", self.run));
        let names: Result<_, _> = (1..=count).map(name).collect();
        names.map_err(|e| BenchError::Usage(e.to_string()))
    }

    /// Starts simulated endpoints.
    pub(crate) async fn start(&self, count: usize) -> Result<Running, BenchError> {
        if count == 0 || self.brokers.is_empty() {
            return Err(BenchError::Usage(
                "at least one endpoint is needed".to_owned(),
            ));
        }
        // An API that is away, or does not know the task type, would welcome nobody.
        self.client().page(1, None).await?;
        Running::start(
            &self.brokers,
            &self.target.task_type,
            self.endpoints(count)?,
            &self.journal_dir,
            self.progress,
        )
        .await
    }

    /// What is posted.
    pub(crate) fn order(
        &self,
        payload_bytes: usize,
        endpoints: Option<&[EndpointName]>,
    ) -> Result<Order, BenchError> {
        Order::new(&self.target, &self.run, payload_bytes, endpoints)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.target)
    }

    /// Waits until the endpoints have reported all tasks, then until the API shows all of them at the
    /// goal.
    pub(crate) async fn finish(
        &self,
        running: &mut Running,
        client: &mut Client,
        tasks: u64,
        goal: Goal,
    ) -> Result<Walked, BenchError> {
        let runs = tasks * running.names.len() as u64;
        self.progress.begin("responses", runs);
        if !running.all_ended(runs, PATIENCE, self.progress).await? {
            let trouble = running.fleet.trouble().unwrap_or_default();
            return Ok(Walked {
                at: Instant::now(),
                done: 0,
                void: Some(format!("not all tasks came to all endpoints; {trouble}")),
            });
        }
        self.walk(client, tasks, goal).await
    }

    /// Waits until the API shows all tasks at the goal.
    pub(crate) async fn walk(
        &self,
        client: &mut Client,
        tasks: u64,
        goal: Goal,
    ) -> Result<Walked, BenchError> {
        let walk = Walk {
            run: &self.run,
            tasks,
            goal,
            patience: PATIENCE,
        };
        walk.walk(client, self.progress).await
    }
}

/// How many endpoints, as the API counts them.
pub(crate) fn count(running: &Running) -> u32 {
    u32::try_from(running.names.len()).unwrap_or(u32::MAX)
}
