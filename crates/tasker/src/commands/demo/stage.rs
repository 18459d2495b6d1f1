//! API and workers in one process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tasker_core::handler::Handler;
use tasker_core::{EndpointName, TaskType};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::handler::Sample;
use crate::commands::api::bind;
use crate::config::{Config, DbConfig, DbUri};
use crate::exit::Failure;
use crate::wiring;

/// What the demonstration runs on. Its parts run until they are told to stop.
pub(super) struct Stage {
    address: SocketAddr,
    endpoints: Vec<EndpointName>,
    parts: JoinSet<Result<(), String>>,
}

impl Stage {
    /// Starts an API and the workers `console1` to `consoleN` of every task type.
    pub(super) async fn set(
        config: &Config,
        dir: &Path,
        endpoints: u16,
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        // Before anything is written: a taken port is the most likely fault.
        let listener = bind((Ipv4Addr::LOCALHOST, config.api.port).into())?;
        let address = listener
            .local_addr()
            .map_err(|e| Failure::Failed(e.to_string()))?;
        let db = DbConfig {
            uri: DbUri::new(format!("sqlite://{}", dir.join("tasker.db").display())),
            verbose: false,
            pool: 4,
        };
        wiring::migrate(&db).await?;
        let ports = wiring::open_store(&db, config.timing)?;
        let broker = wiring::local_broker();
        // The API does it too, but beside what already consumes; nothing should be missing at first.
        let declared = broker.declare(&config.names()).await;
        declared.map_err(|e| Failure::Failed(e.to_string()))?;
        let endpoints: Vec<_> = (1..=endpoints)
            .filter_map(|n| EndpointName::parse(&format!("console{n}")).ok())
            .collect();

        let mut parts = JoinSet::new();
        let settings = tasker_api::ApiSettings {
            auth: tasker_api::Auth::None,
            ..wiring::api_settings(config)?
        };
        let serving =
            tasker_api::serve(listener, settings, ports, Arc::clone(&broker), stop.clone());
        parts.spawn(async move {
            let ended = serving.await.map_err(|e| format!("the API ended: {e}"));
            ended.map(drop)
        });
        let handler: Arc<dyn Handler> = Arc::new(Sample);
        for endpoint in &endpoints {
            for task_type in config.names() {
                let opened = broker.open_inbox(&task_type, endpoint).await;
                opened.map_err(|e| Failure::Failed(e.to_string()))?;
                let (handler, broker) = (Arc::clone(&handler), Arc::clone(&broker));
                parts.spawn(work(
                    config,
                    endpoint,
                    task_type,
                    handler,
                    broker,
                    stop.clone(),
                ));
            }
        }
        Ok(Self {
            address,
            endpoints,
            parts,
        })
    }

    /// Where the API answers.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn endpoints(&self) -> &[EndpointName] {
        &self.endpoints
    }

    /// Waits until a part ends by itself, which none should. While all are told to stop, for ever.
    pub(super) async fn ended(&mut self) -> Failure {
        loop {
            match self.parts.join_next().await {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(why))) => return Failure::Failed(why),
                Some(Err(error)) => return Failure::Failed(format!("a part ended: {error}")),
                None => std::future::pending().await,
            }
        }
    }

    /// Waits for all parts, which were told to stop.
    pub(super) async fn strike(mut self, within: Duration) {
        let all = async { while self.parts.join_next().await.is_some() {} };
        if tokio::time::timeout(within, all).await.is_err() {
            tracing::warn!(?within, "parts of the demonstration did not end in time");
        }
    }
}

fn work(
    config: &Config,
    endpoint: &EndpointName,
    task_type: TaskType,
    handler: Arc<dyn Handler>,
    broker: Arc<dyn tasker_core::broker::Broker>,
    stop: CancellationToken,
) -> impl Future<Output = Result<(), String>> + use<> {
    let name = format!("the worker of {task_type} on {endpoint}");
    let mut settings = wiring::worker_settings(&config.worker, endpoint.clone(), task_type);
    // Nobody wants to wait for a sample run after Ctrl-C.
    settings.drain_deadline = Duration::from_secs(1);
    async move {
        let ended = tasker_worker::run(settings, handler, broker, stop).await;
        ended
            .map(drop)
            .map_err(|error| format!("{name} ended: {error}"))
    }
}
