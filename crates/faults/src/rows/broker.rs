//! The broker fails.

use super::Row;
use crate::load::Plan;
use crate::outcome::Limits;
use crate::scene::{Kind, Scene};

pub(super) const ROWS: &[Row] = &[Row {
    name: "F1",
    fault: "broker killed, back after 10 s",
    promise: "While the broker is away tasks are accepted, and all of them are answered after it came back.",
    is_quick: true,
    play: f1,
}];

fn f1(scene: &mut Scene<'_>) {
    scene.start_api(&[]);
    for endpoint in ["e1", "e2"] {
        scene.start_worker(Kind::Inside, endpoint, &[]);
    }
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(400);
    scene.stage.broker.kill();
    load.wait_accepted(1000);
    scene.stage.broker.restart();
    scene.cleared();
    load.wait_accepted(400);
    scene.end(load);
    scene.injected("kills", 1, 1);
    let posts = scene.posts();
    scene.note("202", posts.answered(202));
    scene.promise(
        "an answer 5xx while only the broker was away",
        posts.answered(503) + posts.answered(500) == 0,
    );
    scene.settle("once", Limits::default());
}
