//! What a configuration means, after references were looked up and bounds checked.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tasker_core::callback::AllowList;
use tasker_core::retry::RetryPolicy;
use tasker_core::runs::Lease;
use tasker_core::store::Timing;
use tasker_core::task::RunPolicy;
use tasker_core::{EndpointName, TaskType};

use super::secret::{DbUri, Secret};

/// A checked configuration. Its `Debug` shows no secret. `config/default.config.yaml` documents
/// every key.
#[derive(Debug, Clone)]
pub struct Config {
    /// The mode it was loaded for.
    pub mode: String,
    /// The task types, in the order of the file; no name twice.
    pub task_types: Vec<TaskTypeConfig>,
    /// `api`.
    pub api: ApiConfig,
    /// `manager.db`, if it was needed.
    pub db: Option<DbConfig>,
    /// `manager.message_queue`, if it was needed.
    pub message_queue: Option<MessageQueue>,
    /// `rabbitmq`, if it was needed.
    pub rabbitmq: Option<RabbitmqConfig>,
    /// `worker`.
    pub worker: WorkerConfig,
    /// `runs`.
    pub runs: RunsConfig,
    /// `timing`.
    pub timing: Timing,
    /// `webhooks`, if completions may be told anywhere and it was needed.
    pub webhooks: Option<WebhookConfig>,
    /// `log`.
    pub log: LogConfig,
}

impl Config {
    /// The names of the task types.
    #[must_use]
    pub fn names(&self) -> Vec<TaskType> {
        self.task_types.iter().map(|t| t.name.clone()).collect()
    }
}

/// Who performs a task that names its endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlisted {
    /// Only the named ones.
    Ignore,
    /// All subscribers; the list is only checked, as in the original.
    Perform,
}

/// What a task type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Tasks for many endpoints.
    Task,
    /// A datasource: jobs for one server.
    Job,
}

/// One of `task_types`.
#[derive(Debug, Clone)]
pub struct TaskTypeConfig {
    /// Its name.
    pub name: TaskType,
    /// What it is.
    pub kind: Kind,
    /// The endpoint whose worker performs the jobs of a datasource; `None`: its server speaks HTTP.
    pub endpoint: Option<EndpointName>,
    /// What happens to an interrupted run.
    pub run_policy: RunPolicy,
    /// `max_attempts`, `retry_backoff_s` and `retry_backoff_max_s`: how often a failure is tried again
    /// by itself.
    pub retry: RetryPolicy,
    /// How long a run may take if the client does not say, in seconds.
    pub timeout_s: u32,
    /// How long a client may let a run take, in seconds.
    pub max_timeout_s: u32,
    /// Who performs a task that names its endpoints.
    pub unlisted: Unlisted,
    /// Whether names of endpoints that were never seen are refused.
    pub known_endpoints_only: bool,
    /// JSON Schema of the payload; it is known to compile.
    pub schema: Option<serde_json::Value>,
}

/// Who may use the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Who has an account.
    Required,
    /// Everybody.
    None,
}

/// `api`.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// The address it listens on.
    pub bind: IpAddr,
    /// The port; 0 = any free one.
    pub port: u16,
    /// Who may use it.
    pub auth: Auth,
    /// What it shows its clients; `None`: nothing is encrypted.
    pub tls: Option<ApiTls>,
    /// Whether a proxy in front of it speaks TLS in its place.
    pub behind_tls_proxy: bool,
    /// How long after creation all expected endpoints should have received a task, in seconds.
    pub wait_for_endpoints_timeout: u32,
    /// How long a POST waits for the broker's confirm.
    pub wait_for_sent: Duration,
    /// The longest body, in bytes.
    pub max_body_bytes: usize,
    /// The longest payload, in bytes.
    pub max_payload_bytes: usize,
    /// The longest list of endpoints.
    pub max_endpoints: usize,
    /// How many threads answer requests.
    pub threads: usize,
    /// How long requests and messages under way may take after a signal to stop.
    pub drain: Duration,
    /// How long settled tasks are kept, in days; `None`: for ever.
    pub retention_days: Option<u32>,
}

/// `api.tls`.
#[derive(Debug, Clone)]
pub struct ApiTls {
    /// The file with its certificate.
    pub cert: PathBuf,
    /// The file with the certificate's key.
    pub key: PathBuf,
}

impl ApiConfig {
    /// Address and port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }
}

/// `runs`.
#[derive(Debug, Clone, Copy)]
pub struct RunsConfig {
    /// How long a worker that pulled a task may be silent; off: for ever.
    pub lease: Lease,
}

/// `manager.db`.
#[derive(Debug, Clone)]
pub struct DbConfig {
    /// Where the database is.
    pub uri: DbUri,
    /// The file with the authorities of its certificate; `None`: nothing is encrypted.
    pub tls_ca: Option<PathBuf>,
    /// Whether every operation is logged.
    pub verbose: bool,
    /// How many connections at most.
    pub pool: usize,
}

/// A name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// The kind of the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueType {
    /// On one node.
    Classic,
    /// Replicated in a cluster.
    Quorum,
}

/// `manager.message_queue`.
#[derive(Debug, Clone)]
pub struct MessageQueue {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The file with the authorities of its certificate; `None`: nothing is encrypted.
    pub tls_ca: Option<PathBuf>,
    /// The API's account; also the workers', unless `worker.username` is set. `None` if it was not
    /// needed.
    pub account: Option<Credentials>,
    /// The virtual host.
    pub virtual_host: String,
    /// The prefix of all exchanges and queues.
    pub exchange: String,
    /// The kind of the queues.
    pub queue_type: QueueType,
}

/// `rabbitmq`: an administrator of the broker, for `tasker init` and `tasker endpoint`.
#[derive(Debug, Clone)]
pub struct RabbitmqConfig {
    /// Where the management API is, without a slash at the end.
    pub apiurl: String,
    /// The file with the authorities of its certificate; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// The administrator.
    pub account: Credentials,
}

/// `worker`.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The worker's own account, if it has one.
    pub account: Option<Credentials>,
    /// Where the journals are.
    pub journal_dir: PathBuf,
    /// Where external handlers are.
    pub handlers_dir: PathBuf,
    /// How many handlers of a task type run at once.
    pub concurrency: usize,
    /// How many tasks are claimed at once.
    pub window_tasks: usize,
    /// How many bytes of tasks are claimed at once.
    pub window_bytes: usize,
    /// How often a worker says that it is alive.
    pub heartbeat: Duration,
    /// How long running handlers may go on after a signal to stop.
    pub drain: Duration,
}

/// `webhooks`.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// Where completions may be told; not empty.
    pub allow: AllowList,
    /// What they are signed with.
    pub secret: Secret,
    /// The file of the authorities that are believed; `None`: the system's.
    pub ca: Option<PathBuf>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// `log`.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
}
