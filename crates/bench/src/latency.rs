//! How long one task takes from its POST until it is DONE, when the installation is not busy.
//!
//! Tasks are posted at a fixed rate, whatever became of the earlier ones. Each is followed by a GET that
//! waits until the task is settled, so the figure ends when its answer is here: one more local exchange
//! than the ledger needed, and nothing is polled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tasker_core::TaskStatus;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::bench::{Bench, count};
use crate::client::{Client, Order, refused};
use crate::error::BenchError;
use crate::spread::{Spread, rounded};
use crate::walk::Goal;

/// How long a GET waits. In seconds.
const WAIT_S: u32 = 60;

/// What is posted.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Tasks a second.
    pub rate: u32,
    /// Each task names all of them.
    pub endpoints: usize,
    /// For how long.
    pub span: Duration,
    /// The payload of each task.
    pub payload_bytes: usize,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    section: &'static str,
    rate: u32,
    endpoints: usize,
    payload_bytes: usize,
    tasks: u64,
    seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Why the figures do not count.
    pub void: Option<String>,
}

/// Posts at a rate and follows each task.
///
/// # Errors
/// [`BenchError`].
pub async fn run(bench: &Bench<'_>, plan: &Plan) -> Result<Report, BenchError> {
    let mut running = bench.start(plan.endpoints).await?;
    let names = Some(running.names.as_slice());
    let order = Arc::new(bench.order(plan.payload_bytes, names)?);
    let tasks = u64::from(plan.rate) * plan.span.as_secs();
    bench.progress.begin("tasks", tasks);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / plan.rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    let mut idle: Vec<Client> = Vec::new();
    let mut spread = Spread::default();
    let mut take = |ended: Result<_, tokio::task::JoinError>, idle: &mut Vec<Client>| {
        let (client, took) = ended.map_err(|e| BenchError::Strange(e.to_string()))??;
        spread.add(took);
        idle.push(client);
        Ok::<(), BenchError>(())
    };
    let started = Instant::now();
    for number in 0..tasks {
        ticks.tick().await;
        while let Some(ended) = under_way.try_join_next() {
            take(ended, &mut idle)?;
        }
        let client = idle.pop().unwrap_or_else(|| bench.client());
        under_way.spawn(follow(client, Arc::clone(&order), number));
        bench.progress.at(number + 1);
    }
    while let Some(ended) = under_way.join_next().await {
        take(ended, &mut idle)?;
    }
    let seconds = rounded(started.elapsed().as_secs_f64());
    let goal = Goal::Done(count(&running));
    let walked = bench
        .finish(&mut running, &mut bench.client(), tasks, goal)
        .await?;
    let percentiles = spread.percentiles();
    Ok(Report {
        section: "latency",
        rate: plan.rate,
        endpoints: plan.endpoints,
        payload_bytes: plan.payload_bytes,
        tasks,
        seconds,
        p50_ms: percentiles.p50_ms,
        p99_ms: percentiles.p99_ms,
        max_ms: percentiles.max_ms,
        void: walked.void,
    })
}

/// One task, from its POST to its DONE.
async fn follow(
    mut client: Client,
    order: Arc<Order>,
    number: u64,
) -> Result<(Client, Duration), BenchError> {
    let request = order.request(number);
    let identifier = order.identifier(number);
    let started = Instant::now();
    let (head, body) = client.call(&request).await?;
    if !(200..=202).contains(&head.status) {
        return Err(refused("a POST", head.status, body));
    }
    while client.status(&identifier, WAIT_S).await? != TaskStatus::Done {}
    Ok((client, started.elapsed()))
}
