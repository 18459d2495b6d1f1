//! The role of `tasker-worker`: one worker a task type, sharing their broker connections.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use tasker_core::broker::Broker;
use tasker_core::handler::Handler;
use tasker_core::wire::MAX_ENVELOPE_BYTES;
use tasker_core::{EndpointName, TaskType};
use tasker_worker::{Drained, LastTry, WorkerError, WorkerSettings};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::ModeArgs;
use crate::config::{self, Config, Needs};
use crate::exit::{Exit, Failure};
use crate::{logging, signals, wiring};

/// Performs tasks on this endpoint.
#[derive(Debug, Parser)]
#[command(name = "tasker-worker", version, about, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 drained, 1 failed, 64 usage, 75 drained with tasks left in the \
    journal for the next start."
)]
pub struct WorkerArgs {
    /// The name of this endpoint
    #[arg(long, value_name = "NAME")]
    pub endpoint: EndpointName,
    /// A task type to perform; several times, or separated by commas
    #[arg(long, required = true, value_delimiter = ',', value_name = "TYPE")]
    pub tasktype: Vec<TaskType>,
    /// Which configuration.
    #[command(flatten)]
    pub mode: ModeArgs,
    /// The folder of handlers [default: worker.handlers_dir]
    #[arg(long, value_name = "DIR")]
    pub handlers: Option<PathBuf>,
    /// Perform everything with the stub handler, which does what its payload says
    #[arg(long, conflicts_with = "handlers")]
    pub stub: bool,
}

/// Performs tasks until SIGINT or SIGTERM, then lets running handlers end within `worker.drain_s`.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &WorkerArgs) -> Result<Exit, Failure> {
    run_with(args, |config| {
        let dir = args.handlers.as_ref();
        let dir = dir.unwrap_or(&config.worker.handlers_dir);
        wiring::handlers(&types(args), dir, args.stub)
    })
}

/// The handlers of a worker, by task type.
pub type Handlers = BTreeMap<TaskType, Arc<dyn Handler>>;

/// The same with handlers written in Rust: the `main` of a worker of one's own.
///
/// # Errors
/// [`Failure`].
pub fn run_with(
    args: &WorkerArgs,
    handlers: impl FnOnce(&Config) -> Result<Handlers, Failure>,
) -> Result<Exit, Failure> {
    let mode = &args.mode;
    let config = config::load(&mode.mode, mode.config.as_deref(), Needs::WORKER)?;
    logging::start(&config.log)?;
    let known = config.names();
    if let Some(unknown) = types(args).iter().find(|t| !known.contains(t)) {
        let message = format!("task type {:?} is not in task_types", unknown.as_str());
        return Err(Failure::Usage(message));
    }
    // A worker mostly waits: two threads, whatever the machine has, keep it small.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::Failed(e.to_string()))?;
    let ended = runtime.block_on(perform(args, &config, handlers));
    // A handler that ignores the end of its patience must not keep the process.
    runtime.shutdown_background();
    ended
}

fn types(args: &WorkerArgs) -> Vec<TaskType> {
    let mut types = args.tasktype.clone();
    types.sort();
    types.dedup();
    types
}

async fn perform(
    args: &WorkerArgs,
    config: &Config,
    handlers: impl FnOnce(&Config) -> Result<Handlers, Failure>,
) -> Result<Exit, Failure> {
    let stop = signals::stop_token()?;
    let missing = || Failure::Usage("manager.message_queue is missing".to_owned());
    let queue = config.message_queue.as_ref().ok_or_else(missing)?;
    let account = config.worker.account.as_ref().or(queue.account.as_ref());
    let account = account.ok_or_else(missing)?;
    let handlers = handlers(config)?;
    let name = format!("tasker-worker {}", args.endpoint);
    let broker: Arc<dyn Broker> = wiring::rabbitmq(queue, account, &name, MAX_ENVELOPE_BYTES)?;

    let mut workers = JoinSet::new();
    let last_try = LastTry::default();
    for (task_type, handler) in handlers {
        let settings = WorkerSettings {
            last_try: last_try.clone(),
            ..wiring::worker_settings(&config.worker, args.endpoint.clone(), task_type.clone())
        };
        let (broker, stop) = (Arc::clone(&broker), stop.clone());
        workers.spawn(async move {
            (
                task_type,
                tasker_worker::run(settings, handler, broker, stop).await,
            )
        });
    }
    let ended = wait(workers, &stop).await;
    broker.close().await;
    let left = ended?;
    tracing::info!(left, "ended");
    Ok(if left == 0 { Exit::OK } else { Exit::NOT_YET })
}

type Ended = (TaskType, Result<Drained, WorkerError>);

/// Waits for all workers and returns how many tasks are left. When one fails the others are drained
/// too: the supervisor sees one process and starts it again as a whole.
async fn wait(mut workers: JoinSet<Ended>, stop: &CancellationToken) -> Result<usize, Failure> {
    let mut left = 0;
    let mut failure = None;
    while let Some(joined) = workers.join_next().await {
        let error = match joined {
            Ok((_, Ok(drained))) => {
                left += drained.left;
                continue;
            }
            Ok((task_type, Err(error))) => format!("the worker of {task_type} ended: {error}"),
            Err(error) => format!("a worker ended: {error}"),
        };
        tracing::error!(%error, "a worker cannot go on; stopping");
        failure.get_or_insert(Failure::Failed(error));
        stop.cancel();
    }
    failure.map_or(Ok(left), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn verify_cli() {
        WorkerArgs::command().debug_assert();
        let parse = |args: &[&str]| WorkerArgs::try_parse_from(args);
        let args = parse(&[
            "w",
            "--endpoint",
            "a",
            "--tasktype",
            "x,y",
            "--tasktype",
            "z",
        ])
        .unwrap();
        assert_eq!(args.tasktype.len(), 3);
        assert!(parse(&["w", "--endpoint", "a"]).is_err());
        assert!(parse(&["w", "--endpoint", "a b", "--tasktype", "x"]).is_err());
        assert!(
            parse(&[
                "w",
                "--endpoint",
                "a",
                "--tasktype",
                "x",
                "--stub",
                "--handlers",
                "d"
            ])
            .is_err()
        );
    }
}
