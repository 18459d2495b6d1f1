//! The broker fails: it dies, stays away, loses its disk, hangs.

use std::time::{Duration, Instant};

use super::Row;
use crate::brokerview::{BrokerView, all_ways, ways};
use crate::load::{Load, Plan};
use crate::outcome::Limits;
use crate::scene::{Kind, Scene, until};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F1",
        fault: "broker killed, back after 10 s",
        promise: "While the broker is away tasks are accepted, and all of them are answered after it came back; \
                  workers and API find it again by themselves, within 10 s, and take no more at once than before.",
        is_quick: true,
        play: f1,
    },
    Row {
        name: "F2",
        fault: "broker away for longer than lapin would look for it",
        promise: "However long the broker is away, everybody goes on looking for it, at most twelve times a \
                  minute each; meanwhile the API lives, says that it is not ready, and accepts.",
        is_quick: false,
        play: f2,
    },
    Row {
        name: "F3",
        fault: "broker's disk wiped, tasks and accounts in it",
        promise: "The broker's whole data folder may be deleted: after `tasker init` every accepted task is \
                  still answered.",
        is_quick: true,
        play: f3,
    },
    Row {
        name: "F4",
        fault: "broker hangs for 30 s, its connections stay open",
        promise: "While the broker hangs no task is marked SENT; everybody notices, and all is well again within \
                  two heartbeats (20 s) after it goes on.",
        is_quick: false,
        play: f4,
    },
];

/// An API process and two workers.
pub(super) fn set(scene: &mut Scene<'_>, api: &[(&'static str, String)]) {
    scene.start_api(api);
    for endpoint in ["e1", "e2"] {
        scene.start_worker(Kind::Inside, endpoint, &[]);
    }
}

/// Ends the load. Only the broker was away: nobody is refused for that.
pub(super) fn end(scene: &mut Scene<'_>, load: Load) {
    scene.end(load);
    let posts = scene.posts();
    scene.note("202", posts.answered(202));
    scene.promise(
        "an answer 5xx while only the broker was away",
        posts.answered(503) + posts.answered(500) == 0,
    );
}

/// Settles, and judges how long the first task after the fault took.
fn settle(scene: &mut Scene<'_>, recovery: Duration) {
    scene.settle("once", Limits::default());
    let took = scene.outcome.recovery;
    scene.promise(
        &format!("the recovery took longer than {recovery:?}"),
        took.is_some_and(|took| took <= recovery),
    );
}

/// A fault that lasts so long by design; what is looked at meanwhile, ten times a second.
pub(super) fn last(duration: Duration, mut look: impl FnMut()) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        look();
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How long whoever lost the broker may take to find it again.
const FOUND_WITHIN: Duration = Duration::from_secs(10);

fn f1(scene: &mut Scene<'_>) {
    set(scene, &[]);
    let view = BrokerView::of(scene);
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(400);
    let (node, consumers) = (scene.stage.broker.pid(), 6);
    let begun = Instant::now();
    scene.stage.broker.kill();
    let is_lost = || all_ways(scene, |way| way.open()) == 0;
    until("all connections to be lost", || is_lost().then_some(()));
    load.wait_accepted(600);
    last(
        Duration::from_secs(10).saturating_sub(begun.elapsed()),
        || (),
    );
    scene.stage.broker.restart();
    scene.cleared();
    let restarted = Instant::now();
    scene.injected("kills", u64::from(scene.stage.broker.pid() != node), 1);
    until("all consumers to be back", || {
        (view.listening() >= consumers).then_some(())
    });
    // The recovery says something else: the task that measures it stands in line behind all that was
    // accepted meanwhile, which is more work the slower the machine is.
    let found = restarted.elapsed();
    scene.note(
        "all consumers back after",
        format!("{:.1} s", found.as_secs_f64()),
    );
    scene.promise(
        "somebody did not find the broker within 10 s",
        found <= FOUND_WITHIN,
    );
    let (mut most, mut is_bound) = (0, true);
    // The broker counts what is unacknowledged every 5 s.
    last(Duration::from_secs(6), || {
        for consuming in view.consuming() {
            most = most.max(consuming.unacked);
            is_bound &= consuming.prefetch > 0 && consuming.unacked <= consuming.prefetch;
        }
    });
    load.wait_accepted(200);
    end(scene, load);
    scene.note("most unacked of a consumer", most);
    scene.promise("a consumer came back without its prefetch", is_bound);
    scene.settle("once", Limits::default());
}

/// After so many attempts lapin's own recovery gives up.
const LAPIN_STEPS: u64 = 16;
/// Connections of a process to the broker: one to publish, one to consume.
const CONNECTIONS: u64 = 2;

fn f2(scene: &mut Scene<'_>) {
    set(scene, &[]);
    // What piles up in a long absence must be done in the time that all rows have.
    let plan = Plan {
        rate: 40,
        ..Plan::new("once", &scene.endpoints())
    };
    let load = scene.load(&plan);
    load.wait_accepted(200);
    scene.stage.broker.kill();
    let begun = Instant::now();
    let before: Vec<u64> = ways(scene).map(|way| way.refused()).collect();
    let tried = |scene: &Scene<'_>| -> Vec<u64> {
        let now = ways(scene).map(|way| way.refused());
        now.zip(&before).map(|(now, before)| now - before).collect()
    };
    let (mut lives, mut looks, mut not_ready) = (0_u64, 0_u64, 0_u64);
    let patience = Duration::from_secs(150);
    while tried(scene)
        .iter()
        .any(|n| *n < (LAPIN_STEPS + 1) * CONNECTIONS)
        && begun.elapsed() < patience
    {
        last(Duration::from_secs(1), || ());
        looks += 1;
        lives += u64::from(scene.api().get("/healthz").0 == 200);
        not_ready += u64::from(scene.api().get("/readyz").0 == 503);
    }
    let (tried, away) = (tried(scene), begun.elapsed());
    scene.stage.broker.restart();
    scene.cleared();
    load.wait_accepted(200);
    end(scene, load);
    let fewest = tried.iter().min().copied().unwrap_or(0) / CONNECTIONS;
    let most = tried
        .iter()
        .max()
        .copied()
        .unwrap_or(0)
        .div_ceil(CONNECTIONS);
    scene.injected("attempts of a connection in vain", fewest, LAPIN_STEPS + 1);
    // The first one is made at once.
    let rate = most.saturating_sub(1) as f64 * 60.0 / away.as_secs_f64();
    scene.note("away", format!("{:.0} s", away.as_secs_f64()));
    scene.note("attempts a minute", format!("{rate:.1}"));
    scene.promise(
        "a connection was tried more than twelve times a minute",
        rate <= 12.0,
    );
    scene.promise("the API said that it was dead", lives == looks);
    scene.promise("the API said that it was ready", not_ready == looks);
    scene.settle("once", Limits::default());
}

fn f3(scene: &mut Scene<'_>) {
    set(scene, &[]);
    let view = BrokerView::of(scene);
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(400);
    // So that something is in the broker and nowhere else when it loses its disk.
    scene.workers[1].program.signal("STOP");
    let wiped = until("messages to wait for the worker", || {
        Some(view.queue("once.e2", "messages_ready")).filter(|ready| *ready >= 20)
    });
    scene.stage.broker.kill();
    scene.stage.broker.wipe();
    scene.workers[1].program.signal("CONT");
    load.wait_accepted(400);
    scene.stage.broker.restart();
    scene.injected("messages wiped", wiped, 20);
    // Accounts lay on that disk, too; the administrator's one command brings them back.
    scene.installation.tasker_ok(&["init", "--rabbitmq"]);
    scene.cleared();
    load.wait_accepted(200);
    end(scene, load);
    scene.settle("once", Limits::default());
    scene.note("asked", scene.api().metric("tasker_asks_total", ""));
}

fn f4(scene: &mut Scene<'_>) {
    // So that nothing else than a confirm moves a task.
    set(scene, &[("T_WAIT", "600".to_owned())]);
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(600);
    let before: Vec<u64> = ways(scene).map(|way| way.accepted()).collect();
    let sent = |scene: &Scene<'_>| {
        let name = scene.installation.name();
        scene.stage.sql(&format!(
            "SELECT COUNT(*) FROM {name}.tasks WHERE sent_at IS NOT NULL"
        ))
    };
    let timed_out = |scene: &Scene<'_>| {
        scene
            .api()
            .metric("tasker_confirm_failures_total", "timed_out")
    };
    let timed_out_before = timed_out(scene);
    scene.stage.broker.hang(true);
    let begun = Instant::now();
    // Marks of what was confirmed before ride in a transaction a little later.
    last(Duration::from_secs(4), || ());
    let (sent_before, accepted_before) = (sent(scene), load.accepted());
    last(
        Duration::from_secs(30).saturating_sub(begun.elapsed()),
        || (),
    );
    let (sent_after, accepted) = (sent(scene), load.accepted() - accepted_before);
    scene.stage.broker.hang(false);
    scene.cleared();
    load.wait_accepted(400);
    end(scene, load);
    let late = timed_out(scene) - timed_out_before;
    scene.injected("confirms too late", late, 1);
    let replaced: u64 = ways(scene)
        .zip(before)
        .map(|(way, before)| CONNECTIONS.min(way.accepted() - before))
        .sum();
    scene.injected("connections given up", replaced, 6);
    scene.note("accepted meanwhile", accepted);
    scene.promise(
        "tasks were marked SENT while nobody could confirm them",
        sent_before == sent_after && accepted > 0,
    );
    settle(scene, Duration::from_secs(20));
}
