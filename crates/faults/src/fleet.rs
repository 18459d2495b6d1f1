//! Many endpoints in one process: each a worker with a journal of its own, all on one connection to the
//! broker.

use std::sync::Arc;

use tasker::config::{self, Needs};
use tasker::exit::{Exit, Failure};
use tasker::worker::WorkerArgs;
use tasker::{logging, signals, wiring};
use tasker_core::EndpointName;
use tasker_core::broker::Broker;
use tasker_core::handler::Handler;
use tasker_core::wire::MAX_ENVELOPE_BYTES;
use tokio::task::JoinSet;

/// Runs `size` workers of the first task type, named like the endpoint with a number behind it, until
/// SIGTERM.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &WorkerArgs, size: usize, handler: &Arc<dyn Handler>) -> Result<Exit, Failure> {
    let mode = &args.mode;
    let config = config::load(&mode.mode, mode.config.as_deref(), Needs::WORKER)?;
    logging::start(&config.log)?;
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let stop = signals::stop_token()?;
        let missing = || Failure::Usage("an account at the broker is missing".to_owned());
        let queue = config.message_queue.as_ref().ok_or_else(missing)?;
        let account = config.worker.account.as_ref().ok_or_else(missing)?;
        let task_type = args.tasktype.first().ok_or_else(missing)?;
        let broker: Arc<dyn Broker> =
            wiring::rabbitmq(queue, account, "fleet", MAX_ENVELOPE_BYTES)?;
        let mut workers = JoinSet::new();
        for number in 1..=size {
            let name = format!("{}{number}", args.endpoint);
            let endpoint = EndpointName::parse(&name).map_err(|error| failed(&error))?;
            let settings = wiring::worker_settings(&config.worker, endpoint, task_type.clone());
            let (broker, handler, stop) = (Arc::clone(&broker), Arc::clone(handler), stop.clone());
            workers.spawn(tasker_worker::run(settings, handler, broker, stop));
        }
        let mut left = 0;
        while let Some(ended) = workers.join_next().await {
            let ended = ended.map_err(|error| failed(&error))?;
            left += ended.map_err(|error| failed(&error))?.left;
        }
        broker.close().await;
        Ok(if left == 0 { Exit::OK } else { Exit::NOT_YET })
    })
}
