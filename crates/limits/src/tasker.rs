//! What is measured of tasker, but for growth.

use std::time::Duration;

use crate::args::Args;
use crate::figures::Figures;
use crate::limits::CROWD_ROUNDS;
use crate::product::Product;
use crate::stage::Stage;

/// How long an open task waits for more endpoints, in seconds; others: as shipped.
const OPEN_WAIT_S: u32 = 20;
const WAIT_S: u32 = 60;

/// Durable POSTs with everything else running.
///
/// # Panics
/// If the installation cannot be made.
pub async fn accept(stage: &Stage, args: &Args, figures: &mut Figures) {
    posts(stage, args.seconds(60), "accept", figures).await;
}

/// The same for ten minutes.
///
/// # Panics
/// If the installation cannot be made.
pub async fn soak(stage: &Stage, args: &Args, figures: &mut Figures) {
    posts(stage, args.seconds(600), "soak", figures).await;
}

async fn posts(stage: &Stage, lasts: Duration, name: &str, figures: &mut Figures) {
    let product = Product::make(stage);
    let mut running = product.start(WAIT_S);
    let seconds = lasts.as_secs().to_string();
    let watched = running.bench(&["accept", "--seconds", &seconds]);
    if watched.run.as_ref().is_ok_and(|run| run.void.is_none()) {
        figures.add(format!("{name}.api_mib"), watched.peak_mib());
        figures.add(format!("{name}.api_growth"), watched.growth());
    }
    figures.take(name, watched.run);
    drop(running);
    product.forget(stage).await;
}

/// Many tasks to so many endpoints.
///
/// # Panics
/// If the installation cannot be made.
pub async fn fanout(
    stage: &Stage,
    endpoints: usize,
    is_open: bool,
    args: &Args,
    figures: &mut Figures,
) {
    let audience = if is_open { "open" } else { "listed" };
    let tasks = match endpoints {
        ..10 => args.size(20_000, 500),
        10..100 => args.size(10_000, 200),
        _ => args.size(1000, 50),
    };
    let name = format!("fanout.{endpoints}.{audience}");
    let wait = if is_open { OPEN_WAIT_S } else { WAIT_S };
    let size = Size {
        endpoints,
        tasks,
        warm_up: 0,
    };
    run_fanout(stage, size, audience, wait, &name, figures).await;
}

/// One task to so many endpoints: the mean of three in turn, after as many that warmed everything.
///
/// # Panics
/// If the installation cannot be made.
pub async fn crowd(stage: &Stage, endpoints: usize, figures: &mut Figures) {
    let name = format!("crowd.{endpoints}");
    let size = Size {
        endpoints,
        tasks: CROWD_ROUNDS,
        warm_up: CROWD_ROUNDS,
    };
    run_fanout(stage, size, "listed", WAIT_S, &name, figures).await;
    if let Some(seconds) = figures.latest(&format!("{name}.seconds")) {
        let seconds = seconds / f64::from(CROWD_ROUNDS);
        figures.add(format!("{name}.ms"), seconds * 1e3);
        let each = seconds * 1e6 / endpoints as f64;
        figures.add(format!("{name}.us_each"), each);
    }
}

/// How many of what.
struct Size {
    endpoints: usize,
    tasks: u32,
    warm_up: u32,
}

async fn run_fanout(
    stage: &Stage,
    size: Size,
    audience: &str,
    wait_s: u32,
    name: &str,
    figures: &mut Figures,
) {
    let product = Product::make(stage);
    let mut running = product.start(wait_s);
    let (endpoints, tasks) = (size.endpoints.to_string(), size.tasks.to_string());
    let warm_up = size.warm_up.to_string();
    let audience = format!("--{audience}");
    let mut args = vec![
        "fanout",
        "--endpoints",
        &endpoints,
        "--tasks",
        &tasks,
        "--warm-up",
        &warm_up,
        &audience,
    ];
    // Whoever warms up measures single tasks.
    if size.warm_up > 0 {
        args.push("--one-by-one");
    }
    let watched = running.bench(&args);
    figures.take(name, watched.run);
    drop(running);
    product.forget(stage).await;
}

/// The time of one task at 10 tasks a second.
///
/// # Panics
/// If the installation cannot be made.
pub async fn latency(stage: &Stage, args: &Args, figures: &mut Figures) {
    let product = Product::make(stage);
    let mut running = product.start(WAIT_S);
    let seconds = args.seconds(30).as_secs().to_string();
    let watched = running.bench(&["latency", "--rate", "10", "--seconds", &seconds]);
    figures.take("latency", watched.run);
    drop(running);
    product.forget(stage).await;
}
