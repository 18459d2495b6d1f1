//! API processes die or hang where it hurts, and everything is restarted in order.

use std::time::{Duration, Instant};

use serde_json::json;
use tasker_testkit::faultproxy::{Direction, Toxics};

use super::Row;
use crate::load::{Load, Plan};
use crate::outcome::Limits;
use crate::scene::{Kind, PATIENCE, Scene, until};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F35",
        fault: "API killed between commit and publish",
        promise: "What a dead API process stored is published by another one when its lease is over.",
        is_quick: true,
        play: f35,
    },
    Row {
        name: "F36",
        fault: "one of two APIs paused for longer than its lease",
        promise: "A paused API is replaced, and does no harm when it wakes up.",
        is_quick: false,
        play: f36,
    },
    Row {
        name: "F38",
        fault: "rolling restart of two APIs and twelve workers",
        promise: "A restart in order loses nothing, refuses nobody, and says whether something was left.",
        is_quick: true,
        play: f38,
    },
];

/// How often the API of row F35 dies.
const KILLS: u64 = 5;
/// `timing.lease_s` of drills.
const LEASE_S: f64 = 3.0;
/// The longest way of a task whose API died, in seconds: the lease, the sweep of half a lease, and what
/// a busy machine takes.
const TAKEN_OVER_S: f64 = LEASE_S * 1.5 + 3.5;

fn f35(scene: &mut Scene<'_>) {
    let dies = ("FAILPOINTS", "after_commit=40*off->return".to_owned());
    scene.start_api(&[dies]);
    scene.start_api(&[]);
    for endpoint in ["e1", "e2"] {
        scene.start_worker(Kind::Inside, endpoint, &[]);
    }
    // Nobody is expected to answer these, so nobody is asked about them either: only another relay can
    // find them.
    let load = scene.load(&Plan {
        endpoints: None,
        insists: true,
        fails_over: true,
        ..Plan::new("once", &[])
    });
    let mut kills = 0;
    while kills < KILLS {
        until("the API to die", || {
            (!scene.apis[0].program.is_running()).then_some(())
        });
        kills += 1;
        let again = if kills < KILLS {
            "after_commit=40*off->return"
        } else {
            ""
        };
        scene.restart_api(0, &[("FAILPOINTS", again.to_owned())]);
        load.wait_accepted(150);
    }
    scene.cleared();
    load.wait_accepted(200);
    scene.end(load);
    let ended = Instant::now();
    while unsent(scene) > 0 && ended.elapsed().as_secs_f64() < TAKEN_OVER_S {
        std::thread::sleep(Duration::from_millis(100));
    }
    let unsent = unsent(scene);
    scene.note("never published", unsent);
    scene.promise("a task of a dead API was never published", unsent == 0);
    let (taken_over, longest) = ways(scene);
    scene.injected("kills", kills, KILLS);
    scene.injected("taken over", taken_over, KILLS);
    scene.note("longest way to the broker", format!("{longest:.1} s"));
    scene.promise(
        "a task waited for longer than its dead API's lease",
        longest <= TAKEN_OVER_S,
    );
    scene.settle("once", Limits::default());
}

/// How many tasks no relay has published.
fn unsent(scene: &Scene<'_>) -> u64 {
    let name = scene.installation.name();
    let count = format!("SELECT COUNT(*) FROM {name}.tasks WHERE sent_at IS NULL");
    scene.stage.sql(&count).parse().expect("a number")
}

/// How many tasks were published after a lease, and the longest way of a task from commit to publish in
/// seconds.
fn ways(scene: &Scene<'_>) -> (u64, f64) {
    let name = scene.installation.name();
    let way = "TIMESTAMPDIFF(MICROSECOND, created_at, sent_at) / 1e6";
    let select = format!(
        "SELECT COALESCE(SUM({way} >= {LEASE_S}), 0), COALESCE(MAX({way}), 0) FROM {name}.tasks"
    );
    let line = scene.stage.sql(&select);
    let (late, longest) = line.split_once('\t').expect("two columns");
    let late: f64 = late.parse().expect("a number");
    (late as u64, longest.parse().expect("a number"))
}

fn f36(scene: &mut Scene<'_>) {
    for _ in 0..2 {
        scene.start_api(&[]);
    }
    for endpoint in ["e1", "e2"] {
        scene.start_worker(Kind::Inside, endpoint, &[]);
    }
    let load = scene.load(&Plan {
        // Half of them hang at the paused process.
        threads: 64,
        patience: Duration::from_secs(2),
        insists: true,
        ..Plan::new("once", &scene.endpoints())
    });
    load.wait_accepted(300);
    // So that the process is paused with tasks on their way that it cannot mark any more.
    let slow = Toxics {
        latency: Duration::from_millis(700),
        ..Toxics::default()
    };
    scene.to_broker.poison(Direction::ToClient, slow);
    load.wait_accepted(100);
    let before = recorded(scene);
    let paused = usize::from(before[1] > before[0]);
    scene.apis[paused].program.signal("STOP");
    let begun = Instant::now();
    scene.to_broker.heal();
    // The broker gives the reports to the other process when the heartbeats of this one are missing.
    let other = 1 - paused;
    until("the other API to record", || {
        (recorded_by(scene, other) >= before[other] + 200).then_some(())
    });
    let takeover = begun.elapsed();
    load.wait_accepted(300);
    scene.apis[paused].program.signal("CONT");
    let lasted = begun.elapsed();
    scene.cleared();
    load.wait_accepted(400);
    scene.end(load);
    scene.injected("seconds paused", lasted.as_secs(), LEASE_S as u64 + 1);
    scene.note("taken over in", format!("{:.1} s", takeover.as_secs_f64()));
    scene.settle("once", Limits::default());
    let known = |api: usize| {
        let api = &scene.apis[api].api;
        api.metric("tasker_worker_refused_total", "known")
    };
    let known = known(0) + known(1);
    scene.injected("extra deliveries refused", known, 1);
}

fn recorded(scene: &Scene<'_>) -> [u64; 2] {
    [recorded_by(scene, 0), recorded_by(scene, 1)]
}

fn recorded_by(scene: &Scene<'_>, api: usize) -> u64 {
    scene.apis[api].api.metric("tasker_reports_total", "")
}

/// Workers of row F38.
const WORKERS: usize = 12;
/// Its tasks a second: each is performed twelve times.
const RATE: u32 = 50;

fn f38(scene: &mut Scene<'_>) {
    for _ in 0..2 {
        scene.start_api(&[]);
    }
    for number in 1..=WORKERS {
        let kind = if number % 6 == 0 {
            Kind::Shipped
        } else {
            Kind::Inside
        };
        scene.start_worker(kind, &format!("e{number}"), &[]);
    }
    let load = scene.load(&Plan {
        rate: RATE,
        payload: json!({"ms": 50}),
        insists: true,
        fails_over: true,
        ..Plan::new("once", &scene.endpoints())
    });
    load.wait_accepted(100);
    let mut ends = Vec::new();
    for api in 0..2 {
        ends.push(end_api(scene, api));
        scene.restart_api(api, &[]);
        load.wait_accepted(50);
    }
    for worker in 0..WORKERS {
        ends.push(end_worker(scene, worker));
        scene.restart_worker(worker, &[]);
        wait_back(scene, worker, &load);
    }
    for api in 0..2 {
        ends.push(end_api(scene, api));
        scene.restart_api(api, &[]);
    }
    scene.cleared();
    let more = Limits::default().accepted as u64;
    load.wait_accepted(more.saturating_sub(load.accepted()).max(50));
    scene.end(load);
    let slowest = ends.iter().map(|end| end.took).max().unwrap_or_default();
    let left = ends.iter().filter(|end| end.code == Some(75)).count();
    scene.injected("orderly ends", ends.len() as u64, WORKERS as u64 + 4);
    scene.note("with something left", left);
    scene.note("slowest end", format!("{:.1} s", slowest.as_secs_f64()));
    scene.promise(
        "an exit code does not say what the log says was left",
        ends.iter().all(|end| {
            let expected = if end.has_left { 75 } else { 0 };
            end.code == Some(expected)
        }),
    );
    let posts = scene.posts();
    let failed: u64 = posts.statuses.range(500..).map(|(_, count)| count).sum();
    scene.promise("an answer 5xx during a restart in order", failed == 0);
    scene.settle("once", Limits::default());
}

/// How a process ended that was told to.
struct End {
    code: Option<i32>,
    took: Duration,
    /// Whether its log says that something is left.
    has_left: bool,
}

fn end_api(scene: &mut Scene<'_>, api: usize) -> End {
    let program = &mut scene.apis[api].program;
    let begun = Instant::now();
    let code = program.stop(PATIENCE);
    let log = program.printed();
    End {
        code,
        took: begun.elapsed(),
        has_left: !log.contains("\"left_to_others\":0") || !log.contains("\"in_time\":true"),
    }
}

fn end_worker(scene: &mut Scene<'_>, worker: usize) -> End {
    let program = &mut scene.workers[worker].program;
    let begun = Instant::now();
    let code = program.stop(PATIENCE);
    let log = program.printed();
    let last = log.lines().rev().find(|line| line.contains("\"ended\""));
    End {
        code,
        took: begun.elapsed(),
        has_left: !last.is_some_and(|line| line.contains("\"left\":0")),
    }
}

/// Waits until a worker that was started again has answered something new.
fn wait_back(scene: &Scene<'_>, worker: usize, load: &Load) {
    let endpoint = scene.workers[worker].endpoint.clone();
    load.wait_accepted(20);
    scene.api().wait_online(&endpoint, "once", PATIENCE);
}
