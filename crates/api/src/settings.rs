//! What an API process is told: task types, limits, time spans. Plain values with defaults; reading
//! them from a file is the binary's part.

mod webhooks;

use std::collections::HashSet;
use std::time::Duration;

use tasker_core::purge::Retention;
use tasker_core::retry::{MAX_ATTEMPTS, MAX_BACKOFF_S, RetryPolicy};
use tasker_core::runs::Lease;
use tasker_core::schema::PayloadSchema;
use tasker_core::store::Timing;
use tasker_core::task::RunPolicy;
use tasker_core::wire::MAX_REPORT_BYTES;
use tasker_core::{EndpointName, TaskType};
use tasker_tls::ServerConfig;

pub use webhooks::Webhooks;

/// The life span of a task whose client names none, in seconds: one day.
pub const DEFAULT_EXPIRES_IN_S: u32 = 86_400;
/// The longest long-poll, in seconds.
pub const MAX_WAIT_S: u32 = 60;

/// What endpoints do that a task's list does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unlisted {
    /// They ignore the task. The default.
    #[default]
    Ignore,
    /// They perform it too; the list only says who is expected (the original's behaviour).
    Perform,
}

/// What a task type is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Kind {
    /// Tasks for many endpoints. The default.
    #[default]
    Task,
    /// A datasource: jobs for one server.
    Job {
        /// The endpoint whose worker performs them; `None`: the server speaks HTTP.
        endpoint: Option<EndpointName>,
    },
}

impl Kind {
    /// A datasource whose server speaks HTTP.
    pub const JOB: Self = Self::Job { endpoint: None };

    /// The endpoint whose worker performs the jobs.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&EndpointName> {
        match self {
            Self::Task => None,
            Self::Job { endpoint } => endpoint.as_ref(),
        }
    }
}

/// One configured kind of task.
#[derive(Debug)]
pub struct TaskTypeSettings {
    /// Its name.
    pub name: TaskType,
    /// What it is.
    pub kind: Kind,
    /// What endpoints do that a task's list does not name.
    pub unlisted: Unlisted,
    /// Whether a list may only name endpoints whose worker has said hello before.
    pub known_endpoints_only: bool,
    /// What happens to an interrupted run.
    pub run_policy: RunPolicy,
    /// How often a failure is tried again by itself.
    pub retry: RetryPolicy,
    /// How long one run may take if the client does not say, in seconds.
    pub timeout_s: u32,
    /// The greatest `timeout_s` that a client may ask for.
    pub max_timeout_s: u32,
    /// What payloads must look like.
    pub schema: Option<PayloadSchema>,
}

impl TaskTypeSettings {
    /// A task type with the defaults: listed endpoints only, unknown names allowed, `once`, no
    /// automatic retry, runs of at most an hour (a day, if the client asks for it), any payload.
    #[must_use]
    pub const fn new(name: TaskType) -> Self {
        Self {
            name,
            kind: Kind::Task,
            unlisted: Unlisted::Ignore,
            known_endpoints_only: false,
            run_policy: RunPolicy::Once,
            retry: RetryPolicy::DEFAULT,
            timeout_s: 3600,
            max_timeout_s: 86_400,
            schema: None,
        }
    }
}

/// How the store step works.
#[derive(Debug, Clone, Copy)]
pub struct AcceptSettings {
    /// Requests that may wait for the database; more are answered 503.
    pub queue: usize,
    /// How long a request may wait until a transaction takes it; then it is answered 503 and nothing is
    /// stored.
    pub wait: Duration,
    /// Tasks in one transaction, at most.
    pub batch: usize,
    /// Bytes of payloads and names in one transaction, about, at most.
    pub batch_bytes: usize,
}

impl Default for AcceptSettings {
    fn default() -> Self {
        Self {
            queue: 4096,
            wait: Duration::from_secs(2),
            batch: 512,
            batch_bytes: 4 << 20,
        }
    }
}

/// How the relay works.
#[derive(Debug, Clone, Copy)]
pub struct RelaySettings {
    /// Tasks in one message, at most.
    pub batch: usize,
    /// Bytes of one message, about, at most.
    pub batch_bytes: usize,
    /// Messages that wait for their confirm at once.
    pub in_flight: usize,
    /// Tasks in memory, at most. What does not fit is found again by the sweep.
    pub memory: usize,
    /// Bytes of tasks in memory, about, at most.
    pub memory_bytes: usize,
    /// How long the last tasks may take to be published when the process stops.
    pub flush_within: Duration,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            batch: 500,
            batch_bytes: 1 << 20,
            in_flight: 128,
            memory: 20_000,
            memory_bytes: 128 << 20,
            flush_within: Duration::from_secs(5),
        }
    }
}

/// What unacknowledged messages of one queue may take in the recorder's memory.
const RECORDER_MEMORY_BYTES: usize = 256 << 20;

/// How the recorder works.
#[derive(Debug, Clone, Copy)]
pub struct RecorderSettings {
    /// Messages taken at once, at most.
    pub batch: usize,
    /// Reports in one transaction, at most.
    pub reports: usize,
    /// Bytes of replies in one transaction, about, at most.
    pub report_bytes: usize,
    /// Unacknowledged messages of a queue, at most. With [`MAX_REPORT_BYTES`] each they must fit into
    /// 256 MiB.
    pub prefetch: u16,
    /// Hellos answered at once.
    pub hellos: usize,
}

impl Default for RecorderSettings {
    fn default() -> Self {
        Self {
            batch: 256,
            reports: 1000,
            report_bytes: 4 << 20,
            prefetch: 256,
            hellos: 16,
        }
    }
}

/// How the scheduler works.
#[derive(Debug, Clone, Copy)]
pub struct SchedulerSettings {
    /// How often it looks without being woken.
    pub tick: Duration,
    /// Tasks or rows in one transaction, at most.
    pub batch: u32,
    /// Ask messages that wait for their confirm at once.
    pub in_flight: usize,
    /// How often it looks for tasks that may be purged, about.
    pub purge_every: Duration,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            batch: 500,
            in_flight: 64,
            purge_every: Duration::from_secs(3600),
        }
    }
}

/// Who may use the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// Who has an account, within its role and grants. The default.
    #[default]
    Required,
    /// Everybody, as the administrator `local`. For one's own machine.
    None,
}

/// Everything that an API process is told.
#[derive(Debug)]
pub struct ApiSettings {
    /// The configured kinds of tasks.
    pub task_types: Vec<TaskTypeSettings>,
    /// Who may use the API.
    pub auth: Auth,
    /// Whether a proxy of ours stands in front: then the address of a client is the last one in
    /// `X-Forwarded-For`.
    pub behind_proxy: bool,
    /// How long after creation all expected endpoints should have received a task, in seconds.
    pub wait_for_endpoints_timeout_s: u32,
    /// How long a POST waits for the broker's confirm before it answers 202.
    pub wait_for_sent: Duration,
    /// The greatest request body, in bytes.
    pub max_body_bytes: usize,
    /// The greatest payload, in bytes.
    pub max_payload_bytes: usize,
    /// The longest list of endpoints, duplicates folded.
    pub max_endpoints: usize,
    /// How long a request body may take to arrive, and how long a client may take nothing of an answer.
    pub body_timeout: Duration,
    /// Bytes of request bodies in memory at once; more are answered 503.
    pub body_memory_bytes: usize,
    /// Long-polls at once; more are answered at once with how the task stands.
    pub long_polls: usize,
    /// Subscriptions to jobs at once; more are answered 503.
    pub subscribers: usize,
    /// How often a subscription without news says that it is alive.
    pub heartbeat: Duration,
    /// How often subscriptions look for what no event told them of.
    pub look_every: Duration,
    /// Connections of one HTTP worker at once; more wait in the kernel's queue.
    pub max_connections: usize,
    /// How connections are encrypted; `None`: not at all.
    pub tls: Option<ServerConfig>,
    /// HTTP worker threads.
    pub http_workers: usize,
    /// How long the process may take to stop.
    pub drain_deadline: Duration,
    /// How long tasks are kept after they were settled; `None`: for ever.
    pub retention: Option<Retention>,
    /// How long a worker that pulled a task of a run may be silent; off: for ever.
    pub run_lease: Lease,
    /// The ledger's time spans; the same ones that the store was opened with.
    pub timing: Timing,
    /// The store step.
    pub accept: AcceptSettings,
    /// The relay.
    pub relay: RelaySettings,
    /// The recorder.
    pub recorder: RecorderSettings,
    /// The scheduler.
    pub scheduler: SchedulerSettings,
    /// Where completions may be told, and how; `None`: nowhere.
    pub webhooks: Option<Webhooks>,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            task_types: Vec::new(),
            auth: Auth::Required,
            behind_proxy: false,
            wait_for_endpoints_timeout_s: 30,
            wait_for_sent: Duration::from_millis(500),
            max_body_bytes: 8 << 20,
            max_payload_bytes: 256 << 10,
            max_endpoints: 50_000,
            body_timeout: Duration::from_secs(30),
            body_memory_bytes: 256 << 20,
            long_polls: 10_000,
            subscribers: 1_000,
            heartbeat: Duration::from_secs(15),
            look_every: Duration::from_secs(5),
            max_connections: 10_000,
            tls: None,
            http_workers: 2,
            drain_deadline: Duration::from_secs(20),
            retention: None,
            run_lease: Lease::default(),
            timing: Timing::default(),
            accept: AcceptSettings::default(),
            relay: RelaySettings::default(),
            recorder: RecorderSettings::default(),
            scheduler: SchedulerSettings::default(),
            webhooks: None,
        }
    }
}

impl ApiSettings {
    /// The settings of a task type; `None` if it is not configured.
    #[must_use]
    pub fn task_type(&self, name: &str) -> Option<&TaskTypeSettings> {
        self.task_types
            .iter()
            .find(|known| known.name.as_str() == name)
    }

    /// What makes these settings unusable; `None` if nothing does.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let mut names = HashSet::new();
        for task_type in &self.task_types {
            let name = &task_type.name;
            if !names.insert(name) {
                return Some(format!("task type {name} is configured twice"));
            }
            if task_type.timeout_s == 0 || task_type.timeout_s > task_type.max_timeout_s {
                return Some(format!(
                    "timeout_s of task type {name} must be within 1..={}",
                    task_type.max_timeout_s
                ));
            }
            let retry = &task_type.retry;
            if !(1..=MAX_ATTEMPTS).contains(&retry.max_attempts) {
                return Some(format!(
                    "max_attempts of task type {name} must be within 1..={MAX_ATTEMPTS}"
                ));
            }
            let (pause, longest) = (retry.backoff_s, retry.backoff_max_s);
            if pause == 0 || pause > longest || longest > MAX_BACKOFF_S {
                return Some(format!(
                    "retry_backoff_s of task type {name} must be within 1..=retry_backoff_max_s, \
                     and that within 1..={MAX_BACKOFF_S}"
                ));
            }
        }
        let most = RECORDER_MEMORY_BYTES / MAX_REPORT_BYTES;
        if usize::from(self.recorder.prefetch) > most {
            return Some(format!("recorder.prefetch must be at most {most}"));
        }
        [
            ("max_body_bytes", self.max_body_bytes),
            ("max_endpoints", self.max_endpoints),
            ("http_workers", self.http_workers),
            ("max_connections", self.max_connections),
            ("accept.queue", self.accept.queue),
            ("accept.batch", self.accept.batch),
            ("relay.batch", self.relay.batch),
            ("relay.in_flight", self.relay.in_flight),
            ("relay.memory", self.relay.memory),
            ("recorder.batch", self.recorder.batch),
            ("recorder.reports", self.recorder.reports),
            ("recorder.prefetch", self.recorder.prefetch.into()),
            ("recorder.hellos", self.recorder.hellos),
            ("scheduler.batch", self.scheduler.batch as usize),
            ("scheduler.in_flight", self.scheduler.in_flight),
            (
                "webhooks.in_flight",
                self.webhooks.as_ref().map_or(1, |w| w.in_flight),
            ),
            (
                "webhooks.per_host",
                self.webhooks.as_ref().map_or(1, |w| w.per_host as usize),
            ),
        ]
        .into_iter()
        .find(|(_, value)| *value == 0)
        .map(|(name, _)| format!("{name} must be at least 1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> TaskTypeSettings {
        TaskTypeSettings::new(TaskType::parse("worker").unwrap())
    }

    #[test]
    fn the_defaults_are_usable() {
        assert_eq!(ApiSettings::default().fault(), None);
    }

    #[test]
    fn unusable_settings_name_their_fault() {
        let twice = ApiSettings {
            task_types: vec![worker(), worker()],
            ..ApiSettings::default()
        };
        assert!(
            twice
                .fault()
                .unwrap()
                .contains("worker is configured twice")
        );
        let hasty = ApiSettings {
            task_types: vec![TaskTypeSettings {
                timeout_s: 0,
                ..worker()
            }],
            ..ApiSettings::default()
        };
        assert!(
            hasty
                .fault()
                .unwrap()
                .starts_with("timeout_s of task type worker")
        );
        for (prefetch, fault) in [
            (0, Some("recorder.prefetch must be at least 1")),
            (256, None),
            (257, Some("recorder.prefetch must be at most 256")),
        ] {
            let recorder = RecorderSettings {
                prefetch,
                ..RecorderSettings::default()
            };
            let settings = ApiSettings {
                recorder,
                ..ApiSettings::default()
            };
            assert_eq!(settings.fault().as_deref(), fault);
        }
        for (retry, part) in [
            ((0, 1, 1), "max_attempts of task type worker"),
            ((101, 1, 1), "max_attempts"),
            ((1, 0, 1), "retry_backoff_s of task type worker"),
            ((1, 2, 1), "retry_backoff_s"),
            ((1, 1, 86_401), "retry_backoff_max_s"),
        ] {
            let (max_attempts, backoff_s, backoff_max_s) = retry;
            let retry = RetryPolicy {
                max_attempts,
                backoff_s,
                backoff_max_s,
            };
            let stubborn = ApiSettings {
                task_types: vec![TaskTypeSettings { retry, ..worker() }],
                ..ApiSettings::default()
            };
            let fault = stubborn.fault().unwrap();
            assert!(fault.contains(part), "{retry:?}: {fault}");
        }
        let idle = ApiSettings {
            http_workers: 0,
            ..ApiSettings::default()
        };
        assert_eq!(idle.fault().unwrap(), "http_workers must be at least 1");
    }
}
