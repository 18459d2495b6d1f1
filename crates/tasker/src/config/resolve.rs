//! From what is written to what it means: lays the files over each other and reads every group.

use std::path::PathBuf;
use std::time::Duration;

use tasker_core::EndpointName;
use tasker_core::retry::{MAX_ATTEMPTS, MAX_BACKOFF_S, RetryPolicy};
use tasker_core::runs::Lease;
use tasker_core::schema::PayloadSchema;
use tasker_core::store::Timing;
use tasker_core::task::RunPolicy;

use super::Needs;
use super::file::{Api, ClientTls, File, TaskTypeEntry, TimingKeys};
use super::problem::ConfigError;
use super::reader::Reader;
use super::secret::DbUri;
use super::source::Source;
use super::types::{
    ApiConfig, ApiTls, Auth, Config, DbConfig, Kind, LogConfig, LogFormat, MessageQueue, QueueType,
    RabbitmqConfig, RunsConfig, TaskTypeConfig, Unlisted, WorkerConfig,
};
use super::validate;
use super::written::{Lookup, Written};

/// One day, in seconds.
const DAY: u64 = 86_400;
/// The longest run and the longest life of a task, in seconds.
const MAX_SPAN: u64 = 30 * DAY;
/// A run's time-out if neither the client nor the task type says one, in seconds.
const RUN_TIMEOUT: u64 = 3_600;
/// How long a client may let a run take if the task type does not say, in seconds.
const MAX_RUN_TIMEOUT: u64 = DAY;

/// A hundred years.
const MAX_RETENTION_DAYS: u64 = 36_500;

/// The words of `log.level`.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Makes a configuration of the default and a file over it.
pub(super) fn resolve(
    mode: &str,
    base: Source,
    over: Option<Source>,
    needs: Needs,
    lookup: &dyn Lookup,
) -> Result<Config, ConfigError> {
    let mut file = base.file.clone();
    if let Some(over) = &over {
        file.overlay(over.file.clone());
    }
    let mut reader = Reader {
        base,
        over,
        lookup,
        // Secrets belong neither into a repository nor into a file that many may read. Development
        // uses well-known ones.
        inline_secrets: matches!(mode, "development" | "default"),
        problems: Vec::new(),
    };
    let config = reader.config(mode, &file, needs);
    for broken in validate::check(&config, needs) {
        // A refused value was replaced by a placeholder, which proves nothing.
        if !broken.keys.iter().any(|key| reader.has_problem(key)) {
            reader.fault_of(&broken.keys, broken.message);
        }
    }
    if reader.problems.is_empty() {
        return Ok(config);
    }
    reader
        .problems
        .sort_by_key(|p| (p.place.is_none(), p.place));
    Err(ConfigError(reader.problems))
}

/// What is written, or else the default.
fn or(written: &Option<Written<u64>>, default: u64) -> Option<Written<u64>> {
    written.clone().or(Some(Written::Value(default)))
}

impl Reader<'_> {
    fn config(&mut self, mode: &str, file: &File, needs: Needs) -> Config {
        let worker = self.worker(file, needs);
        let needs_account = needs.api_account || (needs.worker_account && worker.account.is_none());
        Config {
            mode: mode.to_owned(),
            task_types: self.task_types(file),
            api: self.api(file, needs),
            db: needs.db.then(|| self.db(file)),
            message_queue: needs
                .message_queue
                .then(|| self.message_queue(file, needs_account)),
            rabbitmq: needs.rabbitmq.then(|| self.rabbitmq(file)),
            worker,
            runs: self.runs(file),
            timing: self.timing(file),
            webhooks: needs.webhooks.then(|| self.webhooks(file)).flatten(),
            log: self.log(file),
        }
    }

    fn task_types(&mut self, file: &File) -> Vec<TaskTypeConfig> {
        let entries = file.task_types.as_ref().map_or(&[][..], |list| &list.0);
        if entries.is_empty() {
            self.fault("task_types", "names no task type");
        }
        let entries = entries.iter().enumerate();
        entries
            .map(|(i, entry)| self.task_type(&format!("task_types[{i}]"), entry))
            .collect()
    }

    fn task_type(&mut self, above: &str, entry: &TaskTypeEntry) -> TaskTypeConfig {
        let key = |name: &str| format!("{above}.{name}");
        let schema = entry.schema.as_ref().and_then(|yaml| {
            let schema = serde_json::to_value(yaml).map_err(|e| e.to_string());
            let compiled = schema.and_then(|schema| {
                PayloadSchema::compile(&schema).map_err(|e| e.to_string())?;
                Ok(schema)
            });
            compiled
                .map_err(|message| self.fault(key("schema"), message))
                .ok()
        });
        // A longer default run than the usual limit is meant to raise the limit as well.
        let timeout_s = self.small(
            &key("timeout_s"),
            &or(&entry.timeout_s, RUN_TIMEOUT),
            1..=MAX_SPAN,
        );
        let retry = self.retry(&key, entry);
        let max_timeout = or(&entry.max_timeout_s, MAX_RUN_TIMEOUT.max(timeout_s.into()));
        TaskTypeConfig {
            name: entry.name.clone(),
            kind: self.optional_word(
                &key("kind"),
                &entry.kind,
                &[("task", Kind::Task), ("job", Kind::Job)],
            ),
            endpoint: self.endpoint(&key("endpoint"), &entry.endpoint),
            run_policy: self.optional_word(
                &key("run_policy"),
                &entry.run_policy,
                &[
                    ("once", RunPolicy::Once),
                    ("idempotent", RunPolicy::Idempotent),
                ],
            ),
            retry,
            timeout_s,
            max_timeout_s: self.small(&key("max_timeout_s"), &max_timeout, 1..=MAX_SPAN),
            unlisted: self.optional_word(
                &key("unlisted"),
                &entry.unlisted,
                &[("ignore", Unlisted::Ignore), ("perform", Unlisted::Perform)],
            ),
            known_endpoints_only: self
                .value(&key("known_endpoints_only"), &entry.known_endpoints_only)
                .unwrap_or(false),
            schema,
        }
    }

    fn endpoint(&mut self, key: &str, written: &Option<Written<String>>) -> Option<EndpointName> {
        written.as_ref()?;
        let text = self.text(key, written);
        EndpointName::parse(&text)
            .map_err(|error| self.fault(key, format!("{text:?} {error}")))
            .ok()
    }

    fn retry(&mut self, key: &dyn Fn(&str) -> String, entry: &TaskTypeEntry) -> RetryPolicy {
        let usual = RetryPolicy::DEFAULT;
        let max_attempts = or(&entry.max_attempts, usual.max_attempts.into());
        let pause = or(&entry.retry_backoff_s, usual.backoff_s.into());
        let pauses = 1..=u64::from(MAX_BACKOFF_S);
        let backoff_s = self.small(&key("retry_backoff_s"), &pause, pauses.clone());
        // As with the time-outs: a longer first pause than the usual limit raises the limit.
        let limit = or(
            &entry.retry_backoff_max_s,
            usual.backoff_max_s.max(backoff_s).into(),
        );
        RetryPolicy {
            max_attempts: self.small(
                &key("max_attempts"),
                &max_attempts,
                1..=u64::from(MAX_ATTEMPTS),
            ),
            backoff_s,
            backoff_max_s: self.small(&key("retry_backoff_max_s"), &limit, pauses),
        }
    }

    fn api(&mut self, file: &File, needs: Needs) -> ApiConfig {
        let api: Api = file.api.clone().unwrap_or_default();
        let bind = self.text("api.bind", &api.bind);
        let bind = bind.parse().unwrap_or_else(|_| {
            self.fault("api.bind", format!("must be an IP address, is {bind:?}"));
            std::net::Ipv4Addr::LOCALHOST.into()
        });
        let port = self.small("api.port", &api.port, 0..=65_535);
        // The files are on the API's host only.
        let tls = self.group("api.tls", api.tls);
        let tls = tls.filter(|_| needs.api).map(|tls| ApiTls {
            cert: self.path("api.tls.cert", &tls.cert),
            key: self.path("api.tls.key", &tls.key),
        });
        ApiConfig {
            bind,
            port: u16::try_from(port).unwrap_or_default(),
            auth: self.word(
                "api.auth",
                &api.auth,
                &[("required", Auth::Required), ("none", Auth::None)],
            ),
            tls,
            behind_tls_proxy: self.required("api.behind_tls_proxy", &api.behind_tls_proxy),
            wait_for_endpoints_timeout: self.small(
                "api.wait_for_endpoints_timeout",
                &api.wait_for_endpoints_timeout,
                1..=DAY,
            ),
            wait_for_sent: Duration::from_millis(self.number(
                "api.wait_for_sent_ms",
                &api.wait_for_sent_ms,
                0..=30_000,
            )),
            max_body_bytes: self.size("api.max_body_bytes", &api.max_body_bytes, 1_024..=64 << 20),
            max_payload_bytes: self.size(
                "api.max_payload_bytes",
                &api.max_payload_bytes,
                0..=4 << 20,
            ),
            max_endpoints: self.size("api.max_endpoints", &api.max_endpoints, 1..=200_000),
            threads: self.size("api.threads", &api.threads, 1..=256),
            drain: self.seconds("api.drain_s", &api.drain_s, 1..=3_600),
            retention_days: match self.small(
                "api.retention_days",
                &api.retention_days,
                0..=MAX_RETENTION_DAYS,
            ) {
                0 => None,
                days => Some(days),
            },
        }
    }

    fn db(&mut self, file: &File) -> DbConfig {
        let db = file
            .manager
            .clone()
            .unwrap_or_default()
            .db
            .unwrap_or_default();
        let uri = DbUri::new(self.text("manager.db.uri", &db.uri));
        if matches!(&db.uri, Some(Written::Value(_)))
            && !self.inline_secrets
            && uri.to_string() != uri.expose()
        {
            self.fault(
                "manager.db.uri",
                "holds a password: write ${NAME} or ${file:/path} instead of it",
            );
        }
        DbConfig {
            uri,
            tls_ca: self.ca("manager.db.tls", db.tls),
            verbose: self.required("manager.db.verbose", &db.verbose),
            pool: self.size("manager.db.pool", &db.pool, 1..=1_000),
        }
    }

    fn message_queue(&mut self, file: &File, needs_account: bool) -> MessageQueue {
        let manager = file.manager.clone().unwrap_or_default();
        let keys = manager.message_queue.unwrap_or_default();
        let key = |name: &str| format!("manager.message_queue.{name}");
        let port = self.small(&key("port"), &keys.port, 1..=65_535);
        MessageQueue {
            host: self.text(&key("host"), &keys.host),
            port: u16::try_from(port).unwrap_or_default(),
            tls_ca: self.ca(&key("tls"), keys.tls),
            account: needs_account
                .then(|| self.account("manager.message_queue", &keys.username, &keys.password)),
            virtual_host: self.text(&key("virtual_host"), &keys.virtual_host),
            exchange: self.text(&key("exchange"), &keys.exchange),
            queue_type: self.word(
                &key("queue_type"),
                &keys.queue_type,
                &[
                    ("classic", QueueType::Classic),
                    ("quorum", QueueType::Quorum),
                ],
            ),
        }
    }

    /// The CA of a group that is there.
    fn ca(&mut self, group: &str, keys: Option<ClientTls>) -> Option<PathBuf> {
        self.group(group, keys)
            .map(|tls| self.path(&format!("{group}.ca"), &tls.ca))
    }

    fn rabbitmq(&mut self, file: &File) -> RabbitmqConfig {
        let keys = file.rabbitmq.clone().unwrap_or_default();
        let apiurl = self.text("rabbitmq.apiurl", &keys.apiurl);
        RabbitmqConfig {
            apiurl: apiurl
                .trim_end_matches('/')
                .trim_end_matches("/api")
                .to_owned(),
            ca: keys
                .ca
                .is_some()
                .then(|| self.path("rabbitmq.ca", &keys.ca)),
            account: self.account("rabbitmq", &keys.username, &keys.password),
        }
    }

    fn worker(&mut self, file: &File, needs: Needs) -> WorkerConfig {
        let keys = file.worker.clone().unwrap_or_default();
        let is_written = keys.username.is_some() || keys.password.is_some();
        let is_known = || self.can_be_read(&keys.username) && self.can_be_read(&keys.password);
        let has_account =
            is_written && (needs.worker_account || (needs.known_worker_account && is_known()));
        WorkerConfig {
            account: has_account.then(|| self.account("worker", &keys.username, &keys.password)),
            journal_dir: PathBuf::from(self.text("worker.journal_dir", &keys.journal_dir)),
            handlers_dir: PathBuf::from(self.text("worker.handlers_dir", &keys.handlers_dir)),
            concurrency: self.size("worker.concurrency", &keys.concurrency, 1..=10_000),
            window_tasks: self.size("worker.window_tasks", &keys.window_tasks, 1..=1_000_000),
            window_bytes: self.size("worker.window_bytes", &keys.window_bytes, 1 << 20..=4 << 30),
            heartbeat: self.seconds("worker.heartbeat_s", &keys.heartbeat_s, 1..=3_600),
            drain: self.seconds("worker.drain_s", &keys.drain_s, 0..=DAY),
        }
    }

    fn runs(&mut self, file: &File) -> RunsConfig {
        let keys = file.runs.clone().unwrap_or_default();
        let lease = self.seconds("runs.lease_s", &keys.lease_s, 0..=MAX_SPAN);
        RunsConfig {
            lease: Lease((!lease.is_zero()).then_some(lease)),
        }
    }

    fn timing(&mut self, file: &File) -> Timing {
        let keys: TimingKeys = file.timing.clone().unwrap_or_default();
        Timing {
            lease: self.seconds("timing.lease_s", &keys.lease_s, 1..=3_600),
            ask_every: self.seconds("timing.ask_every_s", &keys.ask_every_s, 1..=DAY),
            offline_after: self.seconds("timing.offline_after_s", &keys.offline_after_s, 1..=DAY),
            lost_after: self.seconds("timing.lost_after_s", &keys.lost_after_s, 1..=MAX_SPAN),
            rows_after: Timing::default().rows_after,
        }
    }

    fn log(&mut self, file: &File) -> LogConfig {
        let keys = file.log.clone().unwrap_or_default();
        LogConfig {
            format: self.word(
                "log.format",
                &keys.format,
                &[
                    ("auto", LogFormat::Auto),
                    ("human", LogFormat::Human),
                    ("json", LogFormat::Json),
                ],
            ),
            level: self
                .word(
                    "log.level",
                    &keys.level,
                    &LEVELS.map(|level| (level, level)),
                )
                .to_owned(),
        }
    }
}
