//! The one place that names concrete backends: configuration → settings, stores, brokers, handlers.
//!
//! `tasker-worker` links this file too. It calls nothing of the store's, so the linker leaves the
//! store and its databases out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tasker_api::{ApiSettings, TaskTypeSettings, Webhooks};
use tasker_broker::amqp::{AmqpBroker, AmqpSettings};
use tasker_broker::local::LocalBroker;
use tasker_core::broker::Broker;
use tasker_core::handler::Handler;
use tasker_core::purge::Retention;
use tasker_core::schema::PayloadSchema;
use tasker_core::store::{Ports, Timing};
use tasker_core::{EndpointName, TaskType};
use tasker_store::{OpenError, Place, StoreOptions};
use tasker_tls::{Ca, Identity, TlsError};
use tasker_webhook::{Sender, Settings as SenderSettings};
use tasker_worker::WorkerSettings;
use tasker_worker::external::load_handlers;
use tasker_worker::stub::StubHandler;

use crate::config::{
    ApiConfig, ApiTls, Auth, Config, Credentials, DbConfig, Kind, MessageQueue, QueueType,
    Unlisted, WebhookConfig, WorkerConfig,
};
use crate::exit::Failure;

fn database(db: &DbConfig, error: OpenError) -> Failure {
    match error {
        OpenError::BadUrl { .. } => Failure::Usage(format!("manager.db.uri: {error}")),
        OpenError::Unreachable(_) => Failure::Unavailable(format!("{}: {error}", db.uri)),
        OpenError::Refused(_) => Failure::Failed(format!("{}: {error}", db.uri)),
    }
}

fn unusable(key: &str, error: &TlsError) -> Failure {
    Failure::Usage(format!("{key}: {error}"))
}

/// Reads the authorities that a key names.
fn ca(key: &str, file: Option<&PathBuf>) -> Result<Option<Ca>, Failure> {
    let read = file.map(|file| Ca::read(file)).transpose();
    read.map_err(|e| unusable(key, &e))
}

fn database_ca(db: &DbConfig) -> Result<Option<Ca>, Failure> {
    ca("manager.db.tls.ca", db.tls_ca.as_ref())
}

fn broker_ca(queue: &MessageQueue) -> Result<Option<Ca>, Failure> {
    ca("manager.message_queue.tls.ca", queue.tls_ca.as_ref())
}

/// What the API shows its clients; `None` if it is not to speak TLS.
///
/// # Errors
/// [`Failure::Usage`] if certificate or key cannot be used.
pub fn identity(api: &ApiConfig) -> Result<Option<Identity>, Failure> {
    let read = |tls: &ApiTls| Identity::read(&tls.cert, &tls.key);
    let read = api.tls.as_ref().map(read).transpose();
    read.map_err(|e| unusable("api.tls", &e))
}

/// Reads every certificate that a configuration names, as the programs do when they start.
///
/// # Errors
/// [`Failure::Usage`] with the first that cannot be used.
pub fn check_certificates(config: &Config) -> Result<(), Failure> {
    identity(&config.api)?;
    config.db.as_ref().map(database_ca).transpose()?;
    config.message_queue.as_ref().map(broker_ca).transpose()?;
    let file = config.rabbitmq.as_ref().and_then(|r| r.ca.as_ref());
    ca("rabbitmq.ca", file).map(drop)
}

/// Opens the ledger. Nothing is connected yet.
///
/// # Errors
/// [`Failure::Usage`] if URL or CA cannot be used.
pub fn open_store(db: &DbConfig, timing: Timing) -> Result<Ports, Failure> {
    let options = StoreOptions {
        pool_size: db.pool,
        timing,
        verbose: db.verbose,
        tls: database_ca(db)?,
        ..StoreOptions::default()
    };
    tasker_store::open(db.uri.expose(), &options).map_err(|e| database(db, e))
}

/// Brings the database's schema up to date.
///
/// # Errors
/// [`Failure`].
pub async fn migrate(db: &DbConfig) -> Result<(), Failure> {
    let ca = database_ca(db)?;
    tasker_store::migrate(Place::new(db.uri.expose(), ca.as_ref()))
        .await
        .map_err(|e| database(db, e))
}

/// Drops everything in the database and makes the schema anew.
///
/// # Errors
/// [`Failure`].
pub async fn reset(db: &DbConfig) -> Result<(), Failure> {
    let ca = database_ca(db)?;
    tasker_store::reset(Place::new(db.uri.expose(), ca.as_ref()))
        .await
        .map_err(|e| database(db, e))
}

/// Whether the database holds no task.
///
/// # Errors
/// [`Failure`].
pub async fn is_empty(db: &DbConfig) -> Result<bool, Failure> {
    let ca = database_ca(db)?;
    tasker_store::is_empty(Place::new(db.uri.expose(), ca.as_ref()))
        .await
        .map_err(|e| database(db, e))
}

/// Whether the database's schema is the one that this release needs.
///
/// # Errors
/// [`Failure`]; [`Failure::Unavailable`] if the database is away.
pub async fn schema_is_current(db: &DbConfig) -> Result<bool, Failure> {
    let ca = database_ca(db)?;
    tasker_store::schema_is_current(Place::new(db.uri.expose(), ca.as_ref()))
        .await
        .map_err(|e| database(db, e))
}

/// RabbitMQ. It connects by itself, for ever. Messages longer than `longest_body` are cut: they are read
/// by nobody.
///
/// # Errors
/// [`Failure::Usage`] if the CA cannot be used.
pub fn rabbitmq(
    queue: &MessageQueue,
    account: &Credentials,
    name: &str,
    longest_body: usize,
) -> Result<Arc<dyn Broker>, Failure> {
    let mut settings = AmqpSettings::new(queue.host.clone(), queue.port);
    settings.tls = broker_ca(queue)?;
    settings.username.clone_from(&account.username);
    settings.password = account.password.expose().into();
    settings.virtual_host.clone_from(&queue.virtual_host);
    settings.prefix.clone_from(&queue.exchange);
    settings.connection_name = name.to_owned();
    settings.longest_body = longest_body;
    settings.queue_type = match queue.queue_type {
        QueueType::Classic => tasker_broker::amqp::QueueType::Classic,
        QueueType::Quorum => tasker_broker::amqp::QueueType::Quorum,
    };
    Ok(AmqpBroker::new(settings))
}

/// The broker of a single process.
#[must_use]
pub fn local_broker() -> Arc<dyn Broker> {
    LocalBroker::new()
}

/// What the API process is told.
///
/// # Errors
/// [`Failure::Usage`] if a payload schema does not compile.
pub fn api_settings(config: &Config) -> Result<ApiSettings, Failure> {
    let mut task_types = Vec::with_capacity(config.task_types.len());
    for task_type in &config.task_types {
        let schema = task_type
            .schema
            .as_ref()
            .map(PayloadSchema::compile)
            .transpose();
        task_types.push(TaskTypeSettings {
            kind: match task_type.kind {
                Kind::Task => tasker_api::Kind::Task,
                Kind::Job => tasker_api::Kind::Job {
                    endpoint: task_type.endpoint.clone(),
                },
            },
            run_policy: task_type.run_policy,
            retry: task_type.retry,
            timeout_s: task_type.timeout_s,
            max_timeout_s: task_type.max_timeout_s,
            unlisted: match task_type.unlisted {
                Unlisted::Ignore => tasker_api::Unlisted::Ignore,
                Unlisted::Perform => tasker_api::Unlisted::Perform,
            },
            known_endpoints_only: task_type.known_endpoints_only,
            schema: schema.map_err(|e| Failure::Usage(format!("{}: {e}", task_type.name)))?,
            ..TaskTypeSettings::new(task_type.name.clone())
        });
    }
    let api = &config.api;
    Ok(ApiSettings {
        task_types,
        auth: match api.auth {
            Auth::Required => tasker_api::Auth::Required,
            Auth::None => tasker_api::Auth::None,
        },
        behind_proxy: api.behind_tls_proxy,
        wait_for_endpoints_timeout_s: api.wait_for_endpoints_timeout,
        wait_for_sent: api.wait_for_sent,
        max_body_bytes: api.max_body_bytes,
        max_payload_bytes: api.max_payload_bytes,
        max_endpoints: api.max_endpoints,
        http_workers: api.threads,
        drain_deadline: api.drain,
        retention: api.retention_days.map(Retention::days),
        run_lease: config.runs.lease,
        timing: config.timing,
        webhooks: config.webhooks.as_ref().map(webhooks).transpose()?,
        ..ApiSettings::default()
    })
}

/// How completions are told.
fn webhooks(config: &WebhookConfig) -> Result<Webhooks, Failure> {
    let sender = Sender::new(SenderSettings {
        allow: config.allow.clone(),
        secret: config.secret.expose().to_owned(),
        ca: config.ca.clone(),
    });
    let sender = sender.map_err(|e| Failure::Usage(format!("webhooks.ca: {e}")))?;
    Ok(Webhooks::new(config.allow.clone(), Arc::new(sender)))
}

/// What a worker is told.
#[must_use]
pub fn worker_settings(
    config: &WorkerConfig,
    endpoint: EndpointName,
    task_type: TaskType,
) -> WorkerSettings {
    WorkerSettings {
        concurrency: config.concurrency,
        window_tasks: config.window_tasks,
        window_bytes: config.window_bytes as u64,
        heartbeat: config.heartbeat,
        drain_deadline: config.drain,
        ..WorkerSettings::new(endpoint, task_type, &config.journal_dir)
    }
}

/// The handlers of these task types: programs of a folder, or the stub for all of them.
///
/// # Errors
/// [`Failure::Usage`] if a handler of the folder cannot be used, or a task type has none.
pub fn handlers(
    types: &[TaskType],
    dir: &Path,
    stub: bool,
) -> Result<BTreeMap<TaskType, Arc<dyn Handler>>, Failure> {
    if stub {
        let stub: Arc<dyn Handler> = Arc::new(StubHandler);
        return Ok(types
            .iter()
            .map(|t| (t.clone(), Arc::clone(&stub)))
            .collect());
    }
    let registry = load_handlers(dir).map_err(|e| Failure::Usage(e.to_string()))?;
    let mut handlers = BTreeMap::new();
    for task_type in types {
        let Some(registered) = registry.get(task_type) else {
            return Err(Failure::Usage(format!(
                "there is no handler for task type {:?}: {} has no such folder",
                task_type.as_str(),
                dir.join(task_type.as_str()).display()
            )));
        };
        handlers.insert(task_type.clone(), Arc::clone(&registered.handler));
    }
    Ok(handlers)
}
