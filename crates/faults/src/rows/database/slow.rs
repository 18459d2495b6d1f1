//! The database answers late, does not write, or lets nobody in.

use std::time::{Duration, Instant};

use tasker_testkit::faultproxy::{Direction, Toxics};
use tasker_testkit::installation::rows;

use super::{last, promise_quick_refusals, promise_refusals, set};
use crate::load::{Load, Plan};
use crate::outcome::Limits;
use crate::scene::{Scene, until};
use crate::session::Session;

/// A load with enough clients to go on sending while many of them wait.
fn patient(scene: &Scene<'_>) -> Plan {
    Plan {
        threads: 250,
        rate: 100,
        patience: Duration::from_secs(25),
        ..Plan::new("once", &scene.endpoints())
    }
}

/// How much memory the first API process may gain under a load that it cannot serve.
const MEMORY_KIB: u64 = 48 << 10;

pub(super) fn f16(scene: &mut Scene<'_>) {
    // A heartbeat is noted by a transaction of several round trips.
    set(scene, 1, &[("T_OFFLINE", "20".into())]);
    let load = scene.load(&patient(scene));
    load.wait_accepted(900);
    let api = scene.api().clone();
    let heartbeats = || api.metric("tasker_heartbeats_total", "");
    let messages = || api.metric("tasker_messages_published_total", "");
    let memory = scene.apis[0].program.resident_kib();
    let (mut most, mut silent) = (memory, 0_u64);
    let broker_connections = scene.to_broker.accepted();

    // Slow, but within what a client waits for a transaction.
    slow_down(scene, Duration::from_millis(300));
    let (heartbeats_before, messages_before) = (heartbeats(), messages());
    last(Duration::from_secs(12), || {
        most = most.max(scene.apis[0].program.resident_kib());
        let (status, answer) = api.get("/endpoints");
        let is_online = |row: &serde_json::Value| row["online"] == true;
        silent += u64::from(status == 200 && !rows(&answer, "endpoints").iter().all(is_online));
    });
    let noted = heartbeats() - heartbeats_before;
    let published = messages() - messages_before;
    let slowest = end(scene, load);

    // Slower than a request waits for a transaction.
    slow_down(scene, Duration::from_secs(2));
    let load = scene.load(&patient(scene));
    last(Duration::from_secs(12), || {
        most = most.max(scene.apis[0].program.resident_kib());
    });
    let broker_connections = scene.to_broker.accepted() - broker_connections;
    scene.to_database.heal();
    scene.cleared();
    load.wait_accepted(300);
    scene.end(load);

    scene.injected("503", scene.posts().answered(503), 100);
    scene.injected("slowest accept, ms", slowest, 1000);
    scene.note("heartbeats noted", noted);
    scene.note("messages published", published);
    scene.note("API's memory", format!("+{} KiB", most - memory));
    scene.promise("heartbeats were not noted", noted > 0);
    scene.promise("nothing was published", published > 0);
    scene.promise("an endpoint counted as offline", silent == 0);
    scene.promise(
        "a connection to the broker was lost",
        broker_connections == 0,
    );
    scene.promise("the API's memory grew", most - memory < MEMORY_KIB);
    promise_quick_refusals(scene, Duration::from_secs(4));
    promise_refusals(scene);
    scene.settle("once", Limits::default());
}

/// Ends a load; the milliseconds of its slowest accept.
fn end(scene: &mut Scene<'_>, load: Load) -> u64 {
    scene.end(load);
    let times = scene.loads.last().map(|load| load.times_ms.as_slice());
    times
        .and_then(|times| times.last().copied())
        .unwrap_or(0)
        .into()
}

/// Every answer of the database comes so much later.
fn slow_down(scene: &Scene<'_>, round_trip: Duration) {
    let slow = Toxics {
        latency: round_trip,
        ..Toxics::default()
    };
    scene.to_database.poison(Direction::ToClient, slow);
}

/// Sessions of the programs under test that wait for the lock.
const WAITING: &str = "SELECT COUNT(*) FROM information_schema.processlist \
                       WHERE state LIKE 'Waiting for%lock'";

pub(super) fn f17(scene: &mut Scene<'_>) {
    set(scene, 1, &[]);
    let load = scene.load(&patient(scene));
    load.wait_accepted(700);
    let mut lock = Session::open(&scene.stage.database);
    lock.run("FLUSH TABLES WITH READ LOCK");
    let frozen = Instant::now();
    let queue = format!(
        "queues/{0}/{0}.reports?columns=messages",
        scene.installation.name()
    );
    let management = scene.installation.management();
    let (mut waiting, mut depth) = (0, 0);
    last(Duration::from_secs(20), || {
        let now = lock.run(WAITING).parse::<u64>().unwrap_or(0);
        waiting = waiting.max(now);
        depth = depth.max(management.get(&queue)["messages"].as_u64().unwrap_or(0));
    });
    lock.run("UNLOCK TABLES");
    let frozen = frozen.elapsed();
    scene.cleared();
    load.wait_accepted(300);
    scene.end(load);
    scene.injected("sessions that waited", waiting, 1);
    scene.injected("503", scene.posts().answered(503), 100);
    scene.note("frozen for", format!("{frozen:.0?}"));
    scene.note("reports in the queue, at most", depth);
    promise_refusals(scene);
    scene.settle("once", Limits::default());
}

/// How many connections the API may have, as its configuration says by default.
const POOL: u64 = 10;

pub(super) fn f19(scene: &mut Scene<'_>) {
    set(scene, 1, &[]);
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(600);
    let database = &scene.stage.database;
    let mut first = Session::open(database);
    let usual = first.run("SELECT @@max_connections");
    // Sessions that are let in before nobody is: root has one place more than all others, and is
    // everybody here.
    let mut held: Vec<Session> = (0..10).map(|_| Session::open(database)).collect();
    for session in &mut held {
        session.run("SELECT 1");
    }
    first.run("SET GLOBAL max_connections = 10");
    let refused = "SHOW GLOBAL STATUS LIKE 'Connection_errors_max_connections'";
    let count = |printed: String| {
        let number = printed.split('\t').nth(1).and_then(|n| n.parse().ok());
        number.unwrap_or(0_u64)
    };
    let before = count(first.run(refused));
    scene.to_database.cut();
    let (tries, begun) = (scene.to_database.accepted(), Instant::now());
    last(Duration::from_secs(15), || {});
    let away = begun.elapsed();
    let tries = scene.to_database.accepted() - tries;
    let turned_away = count(first.run(refused)) - before;
    first.run(&format!("SET GLOBAL max_connections = {usual}"));
    drop(held);
    let back = scene.to_database.accepted();
    scene.cleared();
    load.wait_accepted(400);
    until("a second to pass", || {
        (begun.elapsed() > away + Duration::from_secs(1)).then_some(())
    });
    let opened = scene.to_database.accepted() - back;
    scene.end(load);
    scene.injected("connections turned away", turned_away, 20);
    let rate = tries.checked_div(away.as_secs()).unwrap_or(0);
    scene.note("tries a second", rate);
    scene.note("opened on release", opened);
    scene.promise(
        "more connections were opened than the pool holds",
        opened <= 2 * POOL,
    );
    promise_quick_refusals(scene, Duration::from_millis(1500));
    promise_refusals(scene);
    scene.settle("once", Limits::default());
}
