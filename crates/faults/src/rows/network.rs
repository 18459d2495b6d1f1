//! The network between tasker and the broker fails.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;
use tasker_testkit::faultproxy::{Direction, Toxics};
use tasker_testkit::installation::Program;

use super::Row;
use super::broker::{end, last, set};
use crate::brokerview::{BrokerView, all_ways, ways};
use crate::load::Plan;
use crate::outcome::Limits;
use crate::scene::{Scene, until};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F5",
        fault: "silent partition between worker and broker, first of the acks",
        promise: "A worker that the network has cut off finishes what it runs; what the broker delivers again \
                  afterwards is not run again.",
        is_quick: true,
        play: f5,
    },
    Row {
        name: "F6",
        fault: "every connection to the broker reset, each 2 s for 30 s",
        promise: "However often connections break, they are made anew at a bounded rate: no descriptor leaks, no \
                  process spins.",
        is_quick: false,
        play: f6,
    },
    Row {
        name: "F7",
        fault: "half-open connection: what the API publishes does not arrive, or late",
        promise: "What is not confirmed in time is published again, and nobody performs it twice.",
        is_quick: false,
        play: f7,
    },
];

fn blackhole() -> Toxics {
    Toxics {
        is_blackhole: true,
        ..Toxics::default()
    }
}

fn f5(scene: &mut Scene<'_>) {
    set(scene, &[]);
    let view = BrokerView::of(scene);
    // Runs that last, so that some are under way when the network goes.
    let plan = Plan {
        rate: 100,
        payload: json!({"ms": 100}),
        ..Plan::new("once", &scene.endpoints())
    };
    let load = scene.load(&plan);
    load.wait_accepted(300);
    scene.workers[0]
        .broker
        .poison(Direction::ToServer, blackhole());
    // Delivered, claimed, and the acknowledgement does not arrive.
    let cut = until("deliveries without acknowledgement", || {
        Some(view.queue("once.e1", "messages_unacknowledged")).filter(|unacked| *unacked >= 5)
    });
    scene.injected("cut before the ack", cut, 5);
    scene.workers[0].broker.poison_both(&blackhole());
    let begun = Instant::now();
    until("the broker to notice", || {
        (view.queue("once.e1", "consumers") == 0).then_some(())
    });
    let noticed = begun.elapsed();
    scene.workers[0].broker.heal();
    scene.cleared();
    let again = until("deliveries to be repeated", || {
        Some(view.queue("once.e1", "message_stats.redeliver")).filter(|again| *again >= 1)
    });
    scene.injected("redelivered", again, 1);
    load.wait_accepted(100);
    end(scene, load);
    scene.note(
        "noticed by the broker after",
        format!("{:.0} s", noticed.as_secs_f64()),
    );
    scene.settle("once", Limits::default());
}

/// How long the storm lasts and how often it strikes.
const STORM: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_secs(2);
/// Descriptors that come and go by themselves, as connections of clients do. One leaked with every
/// connection that is reset would be more.
const FEW: usize = 8;

fn f6(scene: &mut Scene<'_>) {
    set(scene, &[]);
    let view = BrokerView::of(scene);
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(400);
    let files = |scene: &Scene<'_>| {
        let mut files = of_all(scene, Program::open_files);
        // The API opens more connections to the database when more is to be done.
        let to_database = usize::try_from(scene.to_database.open()).unwrap_or(0);
        files[0] = files[0].saturating_sub(to_database);
        files
    };
    let (files_before, computed_before) = (files(scene), of_all(scene, Program::computed));
    let counts = |scene: &Scene<'_>| {
        (
            all_ways(scene, |w| w.ended()),
            all_ways(scene, |w| w.accepted()),
        )
    };
    let (ended, made) = counts(scene);
    let begun = Instant::now();
    while begun.elapsed() < STORM {
        ways(scene).for_each(|way| way.reset());
        last(EVERY, || ());
    }
    let storm = begun.elapsed();
    let computed = of_all(scene, Program::computed);
    let (ended, made) = (counts(scene).0 - ended, counts(scene).1 - made);
    scene.cleared();
    load.wait_accepted(200);
    // What is too many may be on its way out; what leaked stays.
    let is_back = |scene: &Scene<'_>| {
        let now = files(scene);
        now.iter()
            .zip(&files_before)
            .all(|(now, before)| *now <= before + FEW)
            && view.connections() == 6
    };
    let patient = Instant::now();
    while !is_back(scene) && patient.elapsed() < Duration::from_secs(20) {
        last(Duration::from_millis(500), || ());
    }
    let files_after = files(scene);
    scene.promise("descriptors or connections have leaked", is_back(scene));
    end(scene, load);
    scene.injected("connections reset", ended, 20);
    let rate = made as f64 / storm.as_secs_f64();
    scene.note("new connections a second", format!("{rate:.1}"));
    // Six connections, each at most every 5 s, and once more when another one finds the broker.
    scene.promise("connections were made too often", rate <= 6.0 * 2.0 / 5.0);
    scene.note(
        "descriptors before and after",
        format!("{files_before:?} {files_after:?}"),
    );
    let spent = computed.iter().zip(&computed_before);
    let most = spent
        .map(|(after, before)| *after - *before)
        .max()
        .unwrap_or_default();
    let share = 100.0 * most.as_secs_f64() / storm.as_secs_f64();
    scene.note("most computing of a process", format!("{share:.0} %"));
    scene.promise("a process computed for half of the storm", share < 50.0);
    scene.settle("once", Limits::default());
}

/// A figure of every API process and every worker.
fn of_all<T>(scene: &Scene<'_>, figure: impl Fn(&Program) -> T) -> Vec<T> {
    let apis = scene.apis.iter().map(|api| &api.program);
    let workers = scene.workers.iter().map(|worker| &worker.program);
    apis.chain(workers).map(figure).collect()
}

fn f7(scene: &mut Scene<'_>) {
    // Nobody is asked meanwhile, so that whatever comes twice was published twice.
    set(scene, &[("T_ASK", "600".to_owned())]);
    let view = BrokerView::of(scene);
    view.tap("once");
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(400);
    let failures = |scene: &Scene<'_>| {
        scene
            .api()
            .metric("tasker_confirm_failures_total", "timed_out")
    };
    let (before, asked) = (failures(scene), scene.api().metric("tasker_asks_total", ""));
    // Short: the connection outlives it, what was held back arrives, and the repetition behind it.
    scene.to_broker.poison(Direction::ToServer, blackhole());
    until("a confirm to be missed", || {
        (failures(scene) > before).then_some(())
    });
    scene.to_broker.heal();
    load.wait_accepted(400);
    let mut times: HashMap<String, u64> = HashMap::new();
    until("repetitions to arrive", || {
        for id in view.tapped() {
            *times.entry(id).or_default() += 1;
        }
        times.values().any(|times| *times > 1).then_some(())
    });
    let twice = times.values().filter(|times| **times > 1).count();
    // Long: the connection is given up, and what it held back arrives after the repetition.
    let connections = scene.to_broker.accepted();
    scene.to_broker.poison(Direction::ToServer, blackhole());
    until("the connection to be given up", || {
        (scene.to_broker.accepted() > connections).then_some(())
    });
    scene.to_broker.heal();
    scene.cleared();
    load.wait_accepted(400);
    end(scene, load);
    scene.injected("confirms missed", failures(scene) - before, 2);
    scene.injected("messages published twice", twice as u64, 1);
    scene.settle("once", Limits::default());
    let refused = until("workers to tell what they refused", || {
        let refused = scene.api().metric("tasker_worker_refused_total", "known");
        (refused > 0).then_some(refused)
    });
    scene.note("tasks refused as known", refused);
    let asks = scene.api().metric("tasker_asks_total", "") - asked;
    scene.note("asks", asks);
}
