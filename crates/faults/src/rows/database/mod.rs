//! The database dies, is slow, refuses, or loses an answer.

mod answers;
mod deadlocks;
mod full;
mod hasty;
mod slow;

use std::time::{Duration, Instant};

use super::Row;
use crate::scene::{Kind, Scene};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F14",
        fault: "database killed every 20 s, for 3 minutes",
        promise: "Whenever the database dies, no accepted task is without its row; who cannot be served is \
                  told 503 and when to try again, never 500.",
        is_quick: true,
        play: answers::f14,
    },
    Row {
        name: "F15",
        fault: "connections cut between COMMIT and its answer",
        promise: "A client that was not told and sends the same request again, even to two API processes at \
                  once, gets the one task that is stored.",
        is_quick: true,
        play: answers::f15,
    },
    Row {
        name: "F16",
        fault: "database slow: 0.3 s, then 2 s a round trip",
        promise: "With a slow database more load is refused within 4 s instead of piling up, and what was \
                  accepted is published and answered.",
        is_quick: false,
        play: slow::f16,
    },
    Row {
        name: "F17",
        fault: "database frozen for writes",
        promise: "Reports that cannot be written wait; nothing is lost or run again.",
        is_quick: false,
        play: slow::f17,
    },
    Row {
        name: "F18",
        fault: "deadlock storm, and 1,000 reports of one task at once",
        promise: "A transaction that loses a race is tried again as a whole, and no client learns of it.",
        is_quick: false,
        play: deadlocks::f18,
    },
    Row {
        name: "F19",
        fault: "no connection to the database left",
        promise: "Without a connection clients are told 503 at once, and when there are connections again \
                  the API opens no more than its pool holds.",
        is_quick: false,
        play: slow::f19,
    },
    Row {
        name: "F20",
        fault: "the database's disk is full",
        promise: "While the database cannot write clients are told 503 and the log says so once; when there \
                  is space again everything goes on without a restart.",
        is_quick: false,
        play: full::f20,
    },
    Row {
        name: "F22",
        fault: "clients that reset their connection while their task is stored",
        promise: "A client that goes away leaves no transaction open; what was stored for it is performed.",
        is_quick: true,
        play: hasty::f22,
    },
];

/// API processes and two workers, all ready.
fn set(scene: &mut Scene<'_>, apis: usize, env: &[(&'static str, String)]) {
    for _ in 0..apis {
        scene.start_api(env);
    }
    for endpoint in ["e1", "e2"] {
        scene.start_worker(Kind::Inside, endpoint, &[]);
    }
}

/// What holds in every row in which the database cannot do its part: clients are told so, and when to
/// try again.
fn promise_refusals(scene: &mut Scene<'_>) {
    let posts = scene.posts();
    scene.note("503", posts.answered(503));
    scene.promise("an answer 500", posts.answered(500) == 0);
    let unhelpful: u64 = scene.loads.iter().map(|load| load.unhelpful).sum();
    scene.promise("503 without Retry-After", unhelpful == 0);
}

/// The time within which nearly all refusals of the last load were answered.
fn promise_quick_refusals(scene: &mut Scene<'_>, most: Duration) {
    let took = scene.loads.last().map(|load| load.busy_percentile(99));
    let took = took.unwrap_or_default();
    scene.note("503 p99", format!("{} ms", took.as_millis()));
    scene.promise(&format!("503 took {took:.1?}"), took <= most);
}

/// A fault that lasts for so long, by design; meanwhile looks twice a second.
fn last(span: Duration, mut look: impl FnMut()) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        look();
        std::thread::sleep(Duration::from_millis(500));
    }
}
