//! Many endpoints.

use std::time::{Duration, Instant};

use tasker_testkit::installation::wait_for;

use super::Row;
use crate::load::Plan;
use crate::outcome::Limits;
use crate::scene::Scene;

pub(super) const ROWS: &[Row] = &[Row {
    name: "scale",
    fault: "200 endpoints, 1,000 tasks to each of them",
    promise: "A thousand tasks for two hundred endpoints are two hundred thousand runs, no more and no less.",
    is_quick: false,
    play: scale,
}];

const ENDPOINTS: usize = 200;
const TASKS: usize = 1000;
/// How long all of it may take.
const SPAN: Duration = Duration::from_secs(900);

fn scale(scene: &mut Scene<'_>) {
    scene.start_api(&[]);
    scene.start_fleet(ENDPOINTS);
    let begun = Instant::now();
    let load = scene.load(&Plan {
        most: TASKS,
        patience: Duration::from_secs(30),
        insists: true,
        ..Plan::new("once", &scene.endpoints())
    });
    wait_for("the tasks to be accepted", SPAN, || {
        (load.accepted() == TASKS as u64).then_some(())
    });
    let accepted = begun.elapsed();
    let api = scene.api().clone();
    let mut memory = [0, 0];
    wait_for("every task to be done", SPAN, || {
        let sizes = [&scene.apis[0].program, &scene.workers[0].program].map(|p| p.resident_kib());
        memory = [memory[0].max(sizes[0]), memory[1].max(sizes[1])];
        let is_none = |status: &str| {
            let (code, page) = api.get(&format!("/once?limit=1&status={status}"));
            code == 200 && page["tasks"].as_array().is_some_and(Vec::is_empty)
        };
        ["CREATED", "SENT", "INCOMPLETE"]
            .into_iter()
            .all(is_none)
            .then_some(())
    });
    let done = begun.elapsed();
    scene.end(load);
    scene.note("accepted in", format!("{:.1} s", accepted.as_secs_f64()));
    scene.note("done in", format!("{:.1} s", done.as_secs_f64()));
    let rate = (ENDPOINTS * TASKS) as f64 / done.as_secs_f64();
    scene.note("runs a second", format!("{rate:.0}"));
    scene.note("API", format!("{} MiB", memory[0] / 1024));
    scene.note("workers", format!("{} MiB", memory[1] / 1024));
    let ended = scene.runs().ended() as u64;
    scene.injected("handler ends", ended, (ENDPOINTS * TASKS) as u64);
    scene.promise("a handler ended twice", ended <= (ENDPOINTS * TASKS) as u64);
    scene.settle("once", Limits::default());
}
