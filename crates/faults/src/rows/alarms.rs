//! The broker is short of memory or disk: it reads nothing from connections that publish.

use std::time::{Duration, Instant};

use super::Row;
use crate::brokerview::BrokerView;
use crate::load::Plan;
use crate::outcome::Limits;
use crate::scene::{Kind, Scene, until};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F8",
        fault: "memory alarm of the broker",
        promise: "While the broker blocks whoever publishes, tasks are accepted and what lies in inboxes is \
                  taken.",
        is_quick: true,
        play: f8,
    },
    Row {
        name: "F9",
        fault: "disk alarm of the broker, an API and a worker stopped meanwhile",
        promise: "A blocked broker holds up no stop: API and worker end within their budgets, and nothing is \
                  lost.",
        is_quick: false,
        play: f9,
    },
];

/// What an API may take to end, over its `drain_s`: its connections to the broker are closed.
const CLOSING: Duration = Duration::from_secs(5);
/// `api.drain_s` and `worker.drain_s` of drills.
const DRAIN: Duration = Duration::from_secs(20);
/// What a worker may take over its `drain_s`: stopped handlers end, the last reports leave, connections
/// are closed.
const LAST_WORDS: Duration = Duration::from_secs(20);

fn f8(scene: &mut Scene<'_>) {
    scene.start_api(&[]);
    for endpoint in ["e1", "e2"] {
        scene.start_worker(Kind::Inside, endpoint, &[]);
    }
    let view = BrokerView::of(scene);
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(400);
    // What lies in this inbox when the alarm begins is taken while it lasts.
    scene.workers[1].program.signal("STOP");
    load.wait_accepted(300);
    let broker = &scene.stage.broker;
    broker.rabbitmqctl(&["set_vm_memory_high_watermark", "0"]);
    let blocked = until("the API's connection to be blocked", || {
        Some(view.blocked_publishers()).filter(|&n| n > 0)
    });
    let depth = || view.depth(&scene.stage.broker, "once.e2");
    let (accepted, waiting, begun) = (load.accepted(), depth(), Instant::now());
    scene.workers[1].program.signal("CONT");
    until("the inbox to be empty", || (depth() == 0).then_some(()));
    let taken_in = begun.elapsed();
    load.wait_accepted(400);
    let meanwhile = load.accepted() - accepted;
    let still = view.blocked_publishers();
    broker.rabbitmqctl(&["set_vm_memory_high_watermark", "0.6"]);
    scene.cleared();
    load.wait_accepted(200);
    scene.end(load);
    scene.injected("connections blocked", blocked.min(still), 1);
    scene.injected("messages taken during the alarm", waiting, 50);
    scene.note("within", format!("{:.1} s", taken_in.as_secs_f64()));
    scene.note("accepted during the alarm", meanwhile);
    let posts = scene.posts();
    scene.note("202", posts.answered(202));
    scene.promise(
        "an answer 5xx while the broker only blocked",
        posts.answered(503) + posts.answered(500) == 0,
    );
    scene.settle("once", Limits::default());
}

fn f9(scene: &mut Scene<'_>) {
    for _ in 0..2 {
        scene.start_api(&[]);
    }
    for endpoint in ["e1", "e2"] {
        scene.start_worker(Kind::Inside, endpoint, &[]);
    }
    let view = BrokerView::of(scene);
    let load = scene.load(&Plan {
        fails_over: true,
        insists: true,
        ..Plan::new("once", &scene.endpoints())
    });
    load.wait_accepted(400);
    let broker = &scene.stage.broker;
    broker.rabbitmqctl(&["set_disk_free_limit", "100000GB"]);
    let blocked = until("the APIs' connections to be blocked", || {
        Some(view.blocked_publishers()).filter(|&n| n > 1)
    });
    load.wait_accepted(200);

    let begun = Instant::now();
    let code = scene.apis[0].program.stop(DRAIN + CLOSING);
    let api = begun.elapsed();
    scene.promise("the API hides what it left to others", code == Some(75));
    let begun = Instant::now();
    let code = scene.workers[0].program.stop(DRAIN + LAST_WORDS);
    let worker = begun.elapsed();
    scene.promise("the worker did not drain", matches!(code, Some(0 | 75)));
    let still = view.blocked_publishers();
    scene
        .stage
        .broker
        .rabbitmqctl(&["set_disk_free_limit", "200MB"]);
    scene.cleared();
    scene.restart_api(0, &[]);
    scene.restart_worker(0, &[]);
    load.wait_accepted(400);
    scene.end(load);
    scene.injected("connections blocked", blocked, 2);
    scene.injected("of them at the end", still, 1);
    scene.note("API ended in", format!("{:.1} s", api.as_secs_f64()));
    scene.note("worker ended in", format!("{:.1} s", worker.as_secs_f64()));
    scene.settle("once", Limits::default());
}
