//! The database dies, or the answer of a commit does not arrive.

use std::time::{Duration, Instant};

use rand::RngExt;
use tasker_testkit::faultproxy::{Direction, Toxics};

use super::{promise_refusals, set};
use crate::args::Mutation;
use crate::load::Plan;
use crate::outcome::Limits;
use crate::scene::{Scene, until};

/// How often the database found at its start that it had not been stopped in order.
fn crash_recoveries(scene: &Scene<'_>) -> u64 {
    let log = scene.stage.dir().join("mariadb/mysqld.log");
    let log = std::fs::read_to_string(log).expect("the log of the database");
    log.matches("Starting crash recovery").count() as u64
}

pub(super) fn f14(scene: &mut Scene<'_>) {
    set(scene, 1, &[]);
    let before = crash_recoveries(scene);
    let (kills, every) = if scene.is_quick {
        (3, Duration::from_secs(8))
    } else {
        (9, Duration::from_secs(20))
    };
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(200);
    for _ in 0..kills {
        let due = Instant::now() + every;
        scene.stage.database.kill();
        // How long it is away is part of the fault, as is how often it dies.
        std::thread::sleep(Duration::from_millis(scene.rng.random_range(0..3000)));
        scene.stage.database.restart();
        load.wait_accepted(200);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    scene.cleared();
    load.wait_accepted(200);
    scene.end(load);
    let found = crash_recoveries(scene) - before;
    scene.injected("crash recoveries", found, kills);
    promise_refusals(scene);
    scene.settle("once", Limits::default());
}

/// A commit as its message begins: the command byte of a query, and its text. Not the `READ COMMITTED`
/// of a new connection.
const COMMIT: &[u8] = b"\x03COMMIT";
/// Commits of a connection until one is not answered.
const COMMITS: u64 = 20;

pub(super) fn f15(scene: &mut Scene<'_>) {
    set(scene, 2, &[]);
    if scene.mutation == Some(Mutation::UniqueRow) {
        let name = scene.installation.name().to_owned();
        scene
            .stage
            .sql(&format!("ALTER TABLE {name}.tasks DROP INDEX tasks_key"));
    }
    let before = scene.to_database.ended();
    let cut = Toxics {
        swallow_answer_to: Some(COMMIT),
        swallow_every: COMMITS,
        ..Toxics::default()
    };
    scene.to_database.poison(Direction::ToServer, cut);
    let plan = Plan {
        insists: true,
        is_doubled: true,
        threads: 24,
        ..Plan::new("once", &scene.endpoints())
    };
    let load = scene.load(&plan);
    load.wait_accepted(1000);
    until("connections to be cut", || {
        (scene.to_database.ended() - before >= 20).then_some(())
    });
    scene.to_database.heal();
    scene.cleared();
    load.wait_accepted(200);
    scene.end(load);
    let cut = scene.to_database.ended() - before;
    scene.injected("cut commits", cut, 20);
    let recovered = scene.posts().recovered.len() as u64;
    scene.injected("stored, and the client not told", recovered, 1);
    promise_refusals(scene);
    scene.settle("once", Limits::default());
}
