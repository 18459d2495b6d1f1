//! How many tasks a second come from the POST to recorded responses of all endpoints.

use std::time::Duration;

use serde::Serialize;

use crate::bench::{Audience, Bench, count};
use crate::error::BenchError;
use crate::posting::{Until, post};
use crate::spread::{per_second, rounded};
use crate::walk::{Goal, Walked};

/// What is posted.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many endpoints perform each task.
    pub endpoints: usize,
    /// How many tasks.
    pub tasks: u64,
    /// How many tasks go before them, to be through before the clock starts.
    pub warm_up: u64,
    /// Whether a task is posted only when the one before is through.
    pub one_by_one: bool,
    /// Whether the tasks name them.
    pub audience: Audience,
    /// How many POSTs are under way at once.
    pub in_flight: usize,
    /// The payload of each task.
    pub payload_bytes: usize,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    section: &'static str,
    endpoints: usize,
    audience: &'static str,
    in_flight: usize,
    payload_bytes: usize,
    tasks: u64,
    /// From the first POST until all responses were recorded; one by one: the sum of that over the tasks.
    /// With a list, that is when the last task was DONE.
    seconds: f64,
    tasks_per_second: f64,
    responses_per_second: f64,
    /// From the first POST until the last task was DONE. An open task waits for endpoints that might
    /// come, `api.wait_for_endpoints_timeout`.
    done_seconds: f64,
    fsyncs: u64,
    /// Why the figures do not count.
    pub void: Option<String>,
}

/// Posts the tasks and waits until all of them are through.
///
/// # Errors
/// [`BenchError`].
pub async fn run(bench: &Bench<'_>, plan: &Plan) -> Result<Report, BenchError> {
    let mut running = bench.start(plan.endpoints).await?;
    let listed = plan.audience == Audience::Listed;
    let order = bench.order(
        plan.payload_bytes,
        listed.then_some(running.names.as_slice()),
    )?;
    let mut client = bench.client();
    let endpoints = count(&running);
    let goal = match plan.audience {
        Audience::Listed => Goal::Done(endpoints),
        Audience::Open => Goal::Recorded(endpoints),
    };
    let all = plan.warm_up + plan.tasks;
    let mut syncs_before = 0;
    if plan.warm_up > 0 {
        let until = Until::Numbers(0..plan.warm_up);
        let order = order.clone();
        post(&bench.target, order, plan.in_flight, until, bench.progress).await?;
        let warm = bench.finish(&mut running, &mut client, plan.warm_up, goal);
        // What is void now is void at the end.
        warm.await?;
        syncs_before = running.fleet.journal.syncs();
    }
    let at_once = if plan.one_by_one { 1 } else { plan.tasks };
    let (mut span, mut begun, mut recorded) = (Duration::ZERO, None, None);
    let mut next = plan.warm_up;
    while next < all && recorded.as_ref().is_none_or(Walked::is_fine) {
        let until = Until::Numbers(next..next + at_once);
        next += at_once;
        let order = order.clone();
        let posted = post(&bench.target, order, plan.in_flight, until, bench.progress).await?;
        let walked = bench.finish(&mut running, &mut client, next, goal).await?;
        span += walked.at.duration_since(posted.started);
        begun.get_or_insert(posted.started);
        recorded = Some(walked);
    }
    let (Some(begun), Some(recorded)) = (begun, recorded) else {
        return Err(BenchError::Usage("no task is no measurement".to_owned()));
    };
    let fsyncs = running.fleet.journal.syncs() - syncs_before;
    let done = match plan.audience {
        Audience::Open if recorded.void.is_none() => {
            let goal = Goal::Done(endpoints);
            bench.walk(&mut client, all, goal).await?
        }
        _ => recorded,
    };
    Ok(Report {
        section: "fanout",
        endpoints: plan.endpoints,
        audience: plan.audience.as_str(),
        in_flight: plan.in_flight,
        payload_bytes: plan.payload_bytes,
        tasks: plan.tasks,
        seconds: rounded(span.as_secs_f64()),
        tasks_per_second: per_second(plan.tasks, span),
        responses_per_second: per_second(plan.tasks * u64::from(endpoints), span),
        done_seconds: rounded(done.at.duration_since(begun).as_secs_f64()),
        fsyncs,
        void: done.void,
    })
}
