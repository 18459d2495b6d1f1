//! How many tasks a second are accepted durably, while the whole line works on them.

use std::time::Duration;

use serde::Serialize;

use crate::bench::{Bench, count};
use crate::error::BenchError;
use crate::posting::{Until, post};
use crate::spread::{per_second, rounded};
use crate::walk::{Goal, backlog};

/// What is posted.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// For how long.
    pub span: Duration,
    /// Keep-alive connections, each with one POST under way.
    pub connections: usize,
    /// The payload of each task.
    pub payload_bytes: usize,
    /// Each task names all of them.
    pub endpoints: usize,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    section: &'static str,
    connections: usize,
    payload_bytes: usize,
    endpoints: usize,
    tasks: u64,
    seconds: f64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    refused: u64,
    errors: u64,
    backlog_at_end: u64,
    drain_seconds: f64,
    done: u64,
    fsyncs: u64,
    /// Why the figures do not count.
    pub void: Option<String>,
}

/// Posts for a time, then waits until all is drained.
///
/// # Errors
/// [`BenchError`].
pub async fn run(bench: &Bench<'_>, plan: &Plan) -> Result<Report, BenchError> {
    let mut running = bench.start(plan.endpoints).await?;
    let names = Some(running.names.as_slice());
    let order = bench.order(plan.payload_bytes, names)?;
    let until = Until::Over(plan.span);
    let posted = post(
        &bench.target,
        order,
        plan.connections,
        until,
        bench.progress,
    )
    .await?;
    let ended = posted.started + posted.span;
    let order = bench.order(0, names)?;
    let mut client = bench.client();
    let identifier = |number| order.identifier(number);
    let backlog_at_end = backlog(&mut client, posted.tasks, identifier).await?;
    let goal = Goal::Done(count(&running));
    let walked = bench
        .finish(&mut running, &mut client, posted.tasks, goal)
        .await?;
    let percentiles = posted.spread.percentiles();
    Ok(Report {
        section: "accept",
        connections: plan.connections,
        payload_bytes: plan.payload_bytes,
        endpoints: plan.endpoints,
        tasks: posted.tasks,
        seconds: rounded(posted.span.as_secs_f64()),
        per_second: per_second(posted.tasks, posted.span),
        p50_ms: percentiles.p50_ms,
        p99_ms: percentiles.p99_ms,
        max_ms: percentiles.max_ms,
        refused: posted.refused,
        errors: posted.errors,
        backlog_at_end,
        drain_seconds: rounded(walked.at.duration_since(ended).as_secs_f64()),
        done: walked.done,
        fsyncs: running.fleet.journal.syncs(),
        void: walked.void,
    })
}
