//! `tasker bench`: measures an installation.
//!
//! The endpoints are simulated in this process, with real queues and a real journal; the rest is
//! whatever the URL and the configuration name. What it leaves behind: its tasks, which are purged like
//! all others, and the names of its endpoints; their inboxes it deletes itself if the configuration
//! has an administrator of the broker.

pub mod args;
mod progress;
mod table;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tasker_bench::bench::ENDPOINTS_A_BROKER;
use tasker_bench::{Audience, Bench, BenchError, accept, fanout, latency, reads};
use tasker_core::EndpointName;
use tasker_core::broker::Broker;
use tasker_core::wire::MAX_ENVELOPE_BYTES;

use self::args::{BenchArgs, BenchCommand, ReadsArgs};
use self::progress::Shown;
use crate::client::{self, Client};
use crate::config::{self, Config, LogFormat, Needs, Secret};
use crate::exit::{Exit, Failure};
use crate::rabbitmq::api::ManagementApi;
use crate::rabbitmq::setup::Setup;
use crate::terminal::{self, tell};
use crate::{logging, signals, wiring};

/// How long the end may take.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How an interrupted run ends.
const INTERRUPTED: &str = "stopped; nothing was measured";

/// Measures, and prints a table or JSON. A void run fails.
///
/// # Errors
/// [`Failure`].
pub fn run(command: &BenchCommand) -> Result<Exit, Failure> {
    let args = command.common();
    let mut config = load(args)?;
    if !config.names().contains(&args.task_type) {
        let name = args.task_type.as_str();
        let message = format!("task type {name:?} is not in task_types: add it, or see --type");
        return Err(Failure::Usage(message));
    }
    config.log.format = LogFormat::Human;
    config.log.level = "error".to_owned();
    logging::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::Failed(e.to_string()))?;
    let shown = Shown::new();
    let mut endpoints = Vec::new();
    let measured = runtime.block_on(measure(command, &config, &shown, &mut endpoints));
    runtime.shutdown_timeout(END_WITHIN);
    shown.end();
    let exit = measured.and_then(|measured| print(args, measured));
    clean_up(&config, args, &endpoints);
    exit
}

fn print(args: &BenchArgs, (report, void): Measured) -> Result<Exit, Failure> {
    terminal::print(&match args.json {
        true => report,
        false => table::table(&report)?,
    })?;
    Ok(match void {
        Some(why) => {
            tell(&format!("void: {}", terminal::harmless(&why)));
            Exit::FAILED
        }
        None => Exit::OK,
    })
}

/// The configuration, with the broker's administrator if it can be had.
fn load(args: &BenchArgs) -> Result<Config, Failure> {
    let load = |needs| config::load(&args.mode.mode, args.mode.config.as_deref(), needs);
    let with_administrator = Needs {
        rabbitmq: true,
        ..Needs::WORKER
    };
    Ok(load(with_administrator).or_else(|_| load(Needs::WORKER))?)
}

/// A report as JSON, and why it is void.
type Measured = (String, Option<String>);

async fn measure(
    command: &BenchCommand,
    config: &Config,
    shown: &Shown,
    endpoints: &mut Vec<EndpointName>,
) -> Result<Measured, Failure> {
    let args = command.common();
    let stop = signals::stop_token()?;
    let brokers = brokers(config, usize::from(command.endpoints()))?;
    let journal = args.journal.clone().unwrap_or_else(std::env::temp_dir);
    // Also checks the URL like every other command.
    let url = Client::new(&args.url)?.url().to_owned();
    if url.starts_with("https://") {
        let message = "tasker bench measures an API without TLS: give it an http:// URL";
        return Err(Failure::Usage(message.to_owned()));
    }
    let task_type = args.task_type.clone();
    let token = client::token(args.token_file.as_deref())?;
    let bench = Bench::new(
        &url,
        token.as_ref().map(Secret::expose),
        task_type,
        brokers.clone(),
        journal,
        shown,
    )
    .map_err(failure)?;
    *endpoints = bench
        .endpoints(command.endpoints().into())
        .map_err(failure)?;
    let measured = tokio::select! {
        measured = section(command, &bench) => measured,
        () = stop.cancelled() => Err(Failure::Failed(INTERRUPTED.to_owned())),
    };
    for broker in brokers {
        broker.close().await;
    }
    measured
}

/// A broker for each so many endpoints.
fn brokers(config: &Config, endpoints: usize) -> Result<Vec<Arc<dyn Broker>>, Failure> {
    let missing = || Failure::Usage("manager.message_queue is missing".to_owned());
    let queue = config.message_queue.as_ref().ok_or_else(missing)?;
    let account = config.worker.account.as_ref().or(queue.account.as_ref());
    let account = account.ok_or_else(missing)?;
    let broker = |_| wiring::rabbitmq(queue, account, "tasker bench", MAX_ENVELOPE_BYTES);
    (0..endpoints.div_ceil(ENDPOINTS_A_BROKER))
        .map(broker)
        .collect()
}

async fn section(command: &BenchCommand, bench: &Bench<'_>) -> Result<Measured, Failure> {
    let payload_bytes = command.common().payload_bytes as usize;
    let endpoints = command.endpoints().into();
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    match command {
        BenchCommand::Accept(args) => {
            let plan = accept::Plan {
                span: seconds(args.seconds),
                connections: args.connections.into(),
                payload_bytes,
                endpoints,
            };
            let report = accept::run(bench, &plan).await.map_err(failure)?;
            measured(&report, &report.void)
        }
        BenchCommand::Fanout(args) => {
            let plan = fanout::Plan {
                endpoints,
                tasks: args.tasks,
                warm_up: args.warm_up,
                one_by_one: args.one_by_one,
                audience: match args.open {
                    true => Audience::Open,
                    false => Audience::Listed,
                },
                in_flight: args.in_flight.into(),
                payload_bytes,
            };
            let report = fanout::run(bench, &plan).await.map_err(failure)?;
            measured(&report, &report.void)
        }
        BenchCommand::Latency(args) => {
            let plan = latency::Plan {
                rate: args.rate,
                endpoints,
                span: seconds(args.seconds),
                payload_bytes,
            };
            let report = latency::run(bench, &plan).await.map_err(failure)?;
            measured(&report, &report.void)
        }
        BenchCommand::Reads(args) => {
            let plan = reads::Plan {
                requests: args.requests.into(),
                endpoints,
                payload_bytes,
                identifiers: identifiers(args)?,
            };
            let report = reads::run(bench, &plan).await.map_err(failure)?;
            measured(&report, &report.void)
        }
    }
}

fn identifiers(args: &ReadsArgs) -> Result<Vec<String>, Failure> {
    let Some(path) = &args.identifiers else {
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn measured(report: &impl Serialize, void: &Option<String>) -> Result<Measured, Failure> {
    let json = serde_json::to_string(report).map_err(|e| Failure::Failed(e.to_string()))?;
    Ok((json, void.clone()))
}

fn failure(error: BenchError) -> Failure {
    match error {
        BenchError::BadUrl(_) | BenchError::Usage(_) => Failure::Usage(error.to_string()),
        BenchError::Unreachable { .. } => Failure::Unavailable(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    }
}

/// The inboxes of simulated endpoints would be copied to by every open task until they expire.
fn clean_up(config: &Config, args: &BenchArgs, endpoints: &[EndpointName]) {
    let (Some(queue), Some(rabbitmq)) = (&config.message_queue, &config.rabbitmq) else {
        if !endpoints.is_empty() {
            tell(
                "no administrator of the broker is configured: the inboxes of the simulated endpoints stay until they expire, after 24 h",
            );
        }
        return;
    };
    let api = match ManagementApi::new(rabbitmq, &queue.virtual_host) {
        Ok(api) => api,
        Err(error) => {
            tell(&error.to_string());
            return;
        }
    };
    let setup = Setup::new(&api, queue);
    for endpoint in endpoints {
        let inbox = setup.names().inbox_queue(&args.task_type, endpoint);
        if let Err(error) = api.delete_queue(&inbox) {
            tell(&format!(
                "inboxes of simulated endpoints stay until they expire, after 24 h: {error}"
            ));
            return;
        }
    }
}
