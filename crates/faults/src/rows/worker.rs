//! The worker dies, at any moment and at the worst ones.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rand::RngExt;
use serde_json::json;
use tasker_core::ResponseState::{Received, Running};

use super::Row;
use crate::collect::collect;
use crate::load::{Load, Plan};
use crate::outcome::Limits;
use crate::scene::{Kind, PATIENCE, Scene, until};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F23",
        fault: "worker killed in the middle of runs, unsynced journal lost",
        promise: "A run whose worker died is INTERRUPTED and not repeated if its task type says once; otherwise it \
                  is repeated, and counted.",
        is_quick: true,
        play: f23,
    },
    Row {
        name: "F23b",
        fault: "worker killed and its journals deleted",
        promise: "An endpoint that lost its disk repeats nothing that may run only once: what it had taken and \
                  not answered is INTERRUPTED.",
        is_quick: false,
        play: f23b,
    },
    Row {
        name: "F24",
        fault: "worker dies between the end of a run and its report",
        promise: "An end that is in the journal is reported by the next start, and the run not repeated.",
        is_quick: true,
        play: f24,
    },
    Row {
        name: "F25",
        fault: "worker dies before the claim, after it, and before the handler begins",
        promise: "What was delivered and not claimed is delivered again by the broker; what was claimed is in \
                  the journal; nothing of it runs twice.",
        is_quick: false,
        play: f25,
    },
];

/// Runs of a task type at a time on an endpoint, and so the most that a death can interrupt.
const PERMITS: usize = 16;

/// Seconds after which a response that stands still is asked for: not so soon that whoever is slow gets
/// more to do by it.
const ASK: &str = "30";

type Key = (String, String);

/// A worker for both task types, and a load of each.
fn set(scene: &mut Scene<'_>) -> [Load; 2] {
    scene.start_api(&[("T_ASK", ASK.to_owned())]);
    scene.start_worker(
        Kind::Inside,
        "e1",
        &[("T_CONCURRENCY", PERMITS.to_string())],
    );
    [("once", 100), ("again", 40)].map(|(task_type, rate)| {
        let plan = Plan {
            payload: json!({"ms": 80}),
            rate,
            ..Plan::new(task_type, &scene.endpoints())
        };
        scene.load(&plan)
    })
}

/// Ends both loads when there are enough tasks, and settles both types.
fn finish(scene: &mut Scene<'_>, [once, again]: [Load; 2], interrupted: usize) {
    scene.cleared();
    once.wait_accepted(1000_u64.saturating_sub(once.accepted()).max(100));
    scene.end(once);
    scene.end(again);
    settle_both(scene, interrupted);
}

/// Settles both types; enough tasks of them together must be accepted.
fn settle_both(scene: &mut Scene<'_>, interrupted: usize) {
    let limits = Limits {
        interrupted,
        ..Limits::default()
    };
    scene.settle(
        "once",
        Limits {
            accepted: 0,
            ..limits
        },
    );
    scene.settle("again", limits);
}

/// Runs that an endpoint has begun and not ended.
fn under_way(scene: &Scene<'_>, endpoint: &str) -> BTreeSet<Key> {
    let runs = scene.runs();
    let is_open = |key: &&Key| key.1 == endpoint && !runs.ends.contains_key(*key);
    runs.starts.keys().filter(is_open).cloned().collect()
}

fn f23(scene: &mut Scene<'_>) {
    let loads = set(scene);
    let kills = 6;
    let mut cut_off = BTreeSet::new();
    for _ in 0..kills {
        loads[0].wait_accepted(scene.rng.random_range(80..200));
        // Not before it runs again: a kill between two runs proves little.
        let runs = scene.runs().ended();
        until("runs to end", || {
            (scene.runs().ended() > runs).then_some(())
        });
        scene.kill_worker(0);
        cut_off.extend(under_way(scene, "e1"));
        scene.restart_worker(0, &[]);
    }
    scene.injected("kills", kills as u64, 6);
    scene.injected("runs cut off", cut_off.len() as u64, 6);
    finish(scene, loads, kills * PERMITS);
    let runs = scene.runs();
    let interrupted = collect(scene.api(), &["once"])
        .into_iter()
        .filter_map(|row| {
            let is_interrupted = row.state == "INTERRUPTED";
            is_interrupted.then_some((row.identifier, row.endpoint?))
        });
    // The others were cut off between START and the handler's begin, or between its end and END.
    let is_unexplained = |key: &Key| {
        let is_open = runs.starts.contains_key(key) && !runs.ends.contains_key(key);
        is_open && !cut_off.contains(key)
    };
    let unexplained = interrupted.filter(is_unexplained).count();
    let what = "a run is INTERRUPTED that was not under way when its worker was killed";
    scene.promise(what, unexplained == 0);
    let starts = runs.starts.values().flatten();
    let reruns = starts.filter(|(_, run)| *run > 1).count();
    scene.note("reruns of idempotent runs", reruns);
    let asks = scene.api().metric("tasker_asks_total", "");
    scene.note("asks", asks);
    scene.promise("no idempotent run was repeated", reruns > 0);
}

fn f23b(scene: &mut Scene<'_>) {
    let loads = set(scene);
    let wipes = 2;
    let mut open = 0;
    for _ in 0..wipes {
        loads[0].wait_accepted(200);
        scene.workers[0].program.kill();
        std::fs::remove_dir_all(scene.journal_dir(0)).expect("the journals");
        wait_recorded(scene);
        open += scene.answers("once", "e1", &[Received, Running]);
        scene.restart_worker(0, &[]);
    }
    scene.injected("disks wiped", wipes, 2);
    scene.injected("claims lost with them", open, 1);
    finish(scene, loads, usize::try_from(open).unwrap_or(usize::MAX));
}

/// Waits until the ledger knows everything that workers have reported.
fn wait_recorded(scene: &Scene<'_>) {
    let name = scene.installation.name();
    let reports = format!("{name}.reports\t0");
    until("reports to be recorded", || {
        let list = ["-q", "list_queues", "-p", name, "name", "messages"];
        let queues = scene.stage.broker.rabbitmqctl(&list);
        queues.lines().any(|line| line == reports).then_some(())
    });
}

/// Waits until a worker has died; whether by a signal.
fn has_died(scene: &mut Scene<'_>, index: usize) -> bool {
    scene.workers[index].program.wait(PATIENCE).is_none()
}

fn f24(scene: &mut Scene<'_>) {
    scene.start_api(&[]);
    // One run at a time: nothing else is under way when it dies.
    let mut env = vec![("T_CONCURRENCY", "1".to_owned())];
    env.push(("FAILPOINTS", "after_end=50*off->return".to_owned()));
    scene.start_worker(Kind::Inside, "e1", &env);
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    let mut deaths = 0;
    for later in [100, 150, 0] {
        deaths += u64::from(has_died(scene, 0));
        let before = under_way(scene, "e1").len();
        scene.promise("it died with a run under way", before == 0);
        let failpoints = match later {
            0 => String::new(),
            later => format!("after_end={later}*off->return"),
        };
        scene.restart_worker(0, &[("FAILPOINTS", failpoints)]);
    }
    scene.injected("deaths after END", deaths, 3);
    scene.cleared();
    load.wait_accepted(1000_u64.saturating_sub(load.accepted()).max(50));
    scene.end(load);
    scene.settle("once", Limits::default());
}

fn f25(scene: &mut Scene<'_>) {
    scene.start_api(&[("T_ASK", ASK.to_owned())]);
    let permits = 4;
    let places = [
        ("e1", "again", "before_claim=20*off->return"),
        ("e2", "once", "after_claim=30*off->return"),
        ("e3", "once", "after_start=50*off->return"),
    ];
    for (endpoint, task_type, place) in places {
        let env = [
            ("T_CONCURRENCY", permits.to_string()),
            ("FAILPOINTS", place.to_owned()),
        ];
        scene.start_worker_of(Kind::Inside, endpoint, &[task_type], &env);
    }
    let loads = ["again", "once"].map(|task_type| {
        let plan = Plan {
            rate: 80,
            ..Plan::new(task_type, &scene.endpoints_of(task_type))
        };
        scene.load(&plan)
    });
    let deaths = (0..3).filter(|worker| has_died(scene, *worker)).count();
    scene.injected("deaths", deaths as u64, 3);
    for load in &loads {
        load.wait_accepted(510_u64.saturating_sub(load.accepted()).max(1));
    }
    for load in loads {
        scene.end(load);
    }
    // From here on the broker is on its own: nobody asks for what is missing.
    wait_published(scene);
    scene.apis[0].program.kill();
    for worker in 0..3 {
        scene.restart_worker(worker, &[("FAILPOINTS", String::new())]);
    }
    let expected = scene.posts_of("again").accepted.len();
    let begun = Instant::now();
    let ended = || scene.runs_of("again").ends.len();
    while ended() < expected && begun.elapsed() < PATIENCE / 2 {
        std::thread::sleep(Duration::from_millis(100));
    }
    let missing = expected.saturating_sub(ended());
    let what = format!("{missing} tasks that were delivered and not claimed did not come back");
    scene.promise(&what, missing == 0);
    let redelivered = redeliveries(scene, "again", "e1");
    scene.injected("redeliveries", redelivered, 1);
    scene.restart_api(0, &[]);
    scene.cleared();
    // What was under way in the two workers that run once.
    settle_both(scene, 2 * permits);
}

/// Waits until every task that was accepted is published, and the broker has confirmed it.
fn wait_published(scene: &Scene<'_>) {
    for task_type in ["once", "again"] {
        let path = format!("/{task_type}?limit=1&status=CREATED");
        scene.api().wait_until(&path, PATIENCE, |answer| {
            answer["tasks"].as_array().is_some_and(Vec::is_empty)
        });
    }
}

/// How many messages the broker has delivered again from an inbox. Its statistics are some seconds
/// behind.
fn redeliveries(scene: &Scene<'_>, task_type: &str, endpoint: &str) -> u64 {
    let name = scene.installation.name();
    let path = format!("queues/{name}/{name}.{task_type}.{endpoint}");
    let begun = Instant::now();
    loop {
        let queue = scene.installation.management().get(&path);
        let count = queue["message_stats"]["redeliver"].as_u64().unwrap_or(0);
        if count > 0 || begun.elapsed() > PATIENCE / 4 {
            return count;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
