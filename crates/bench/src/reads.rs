//! How long one request takes when nothing else is asked: POST, GET of a recent task, GET of any task,
//! a list.

use std::time::Instant;

use rand::seq::IndexedRandom;
use serde::Serialize;

use crate::bench::{Bench, count};
use crate::client::{Client, refused};
use crate::error::BenchError;
use crate::spread::{Percentiles, Spread};
use crate::walk::Goal;

/// How many tasks the API shows at once.
const PAGE: u32 = 200;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many requests of each kind, one after the other.
    pub requests: u64,
    /// How many endpoints perform the posted tasks.
    pub endpoints: usize,
    /// The payload of each posted task.
    pub payload_bytes: usize,
    /// From which tasks any one is chosen. Empty: from all tasks of the type, whose list is read
    /// before, which warms the database's cache.
    pub identifiers: Vec<String>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    section: &'static str,
    requests: u64,
    endpoints: usize,
    payload_bytes: usize,
    /// From how many tasks any one was chosen.
    tasks: u64,
    post_p50_ms: f64,
    post_p99_ms: f64,
    recent_get_p50_ms: f64,
    recent_get_p99_ms: f64,
    uniform_get_p50_ms: f64,
    uniform_get_p99_ms: f64,
    list_p50_ms: f64,
    list_p99_ms: f64,
    /// Why the figures do not count.
    pub void: Option<String>,
}

/// Posts, waits until all is done, then reads.
///
/// # Errors
/// [`BenchError`].
pub async fn run(bench: &Bench<'_>, plan: &Plan) -> Result<Report, BenchError> {
    let mut client = bench.client();
    let mut all = plan.identifiers.clone();
    if all.is_empty() {
        all = list_all(bench, &mut client).await?;
    }
    let mut running = bench.start(plan.endpoints).await?;
    let order = bench.order(plan.payload_bytes, Some(running.names.as_slice()))?;
    let posts = post_one_by_one(bench, plan.requests, &mut client, |n| order.request(n)).await?;
    let goal = Goal::Done(count(&running));
    let walked = bench
        .finish(&mut running, &mut client, plan.requests, goal)
        .await?;
    let posted: Vec<_> = (0..plan.requests).map(|n| order.identifier(n)).collect();
    if all.is_empty() {
        all.clone_from(&posted);
    }
    bench.progress.begin("reads", plan.requests);
    let list = format!("/{}", bench.target.task_type);
    let (mut recents, mut uniforms, mut lists) =
        (Spread::default(), Spread::default(), Spread::default());
    for number in 0..plan.requests {
        for (from, spread) in [(&posted, &mut recents), (&all, &mut uniforms)] {
            if let Some(identifier) = from.choose(&mut rand::rng()) {
                let path = client.path(identifier);
                timed(&mut client, &path, spread).await?;
            }
        }
        timed(&mut client, &list, &mut lists).await?;
        bench.progress.at(number + 1);
    }
    let [posts, recents, uniforms, lists] =
        [posts, recents, uniforms, lists].map(Spread::percentiles);
    Ok(report(
        plan,
        all.len() as u64,
        [posts, recents, uniforms, lists],
        walked.void,
    ))
}

fn report(plan: &Plan, tasks: u64, of: [Percentiles; 4], void: Option<String>) -> Report {
    let [posts, recents, uniforms, lists] = of;
    Report {
        section: "reads",
        requests: plan.requests,
        endpoints: plan.endpoints,
        payload_bytes: plan.payload_bytes,
        tasks,
        post_p50_ms: posts.p50_ms,
        post_p99_ms: posts.p99_ms,
        recent_get_p50_ms: recents.p50_ms,
        recent_get_p99_ms: recents.p99_ms,
        uniform_get_p50_ms: uniforms.p50_ms,
        uniform_get_p99_ms: uniforms.p99_ms,
        list_p50_ms: lists.p50_ms,
        list_p99_ms: lists.p99_ms,
        void,
    }
}

async fn timed(client: &mut Client, path: &str, spread: &mut Spread) -> Result<(), BenchError> {
    let started = Instant::now();
    client.get(path).await?;
    spread.add(started.elapsed());
    Ok(())
}

async fn post_one_by_one(
    bench: &Bench<'_>,
    requests: u64,
    client: &mut Client,
    request: impl Fn(u64) -> Vec<u8>,
) -> Result<Spread, BenchError> {
    bench.progress.begin("tasks", requests);
    let mut spread = Spread::default();
    for number in 0..requests {
        let request = request(number);
        let started = Instant::now();
        let (head, body) = client.call(&request).await?;
        if !(200..=202).contains(&head.status) {
            return Err(refused("a POST", head.status, body));
        }
        spread.add(started.elapsed());
        bench.progress.at(number + 1);
    }
    Ok(spread)
}

/// The identifiers of all tasks of the type: one GET for 200 of them.
async fn list_all(bench: &Bench<'_>, client: &mut Client) -> Result<Vec<String>, BenchError> {
    bench.progress.begin("listed", 0);
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = client.page(PAGE, cursor.as_deref()).await?;
        all.extend(page.tasks.into_iter().map(|task| task.identifier));
        bench.progress.at(all.len() as u64);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}
