//! The handler misbehaves: kills its worker, hangs, forks, floods.

mod flood;
mod orphans;
mod poison;
mod stuck;

use serde_json::{Value, json};
use tasker_core::ResponseState;

use super::Row;
use crate::load::{Load, Plan};
use crate::outcome::Limits;
use crate::scene::{Kind, Scene, until};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F23c",
        fault: "worker killed while its handlers have children of their own",
        promise: "The next start of a worker that was killed ends what its handlers left running, before it \
                  decides about their runs.",
        is_quick: false,
        play: orphans::f23c,
    },
    Row {
        name: "F27",
        fault: "handler kills its worker, whenever it runs",
        promise: "A task that kills its worker is REJECTED as poison after three deaths, INTERRUPTED after one if \
                  it may run only once; everything else goes on.",
        is_quick: false,
        play: poison::f27,
    },
    Row {
        name: "F28",
        fault: "handler hangs, ignores TERM, leaves daemons",
        promise: "A run that is to end, by time or by a cancel, ends within 5 s of grace with all processes that \
                  it ever started.",
        is_quick: true,
        play: stuck::f28,
    },
    Row {
        name: "F29",
        fault: "handler writes 2 GiB to stdout, no newline, no UTF-8",
        promise: "However much a handler prints, its worker's memory stays flat and its answer arrives.",
        is_quick: false,
        play: flood::f29,
    },
];

/// What every script begins with: the request, and a line for each start in `$T_DIR/rough`.
const HEAD: &str = r#"#!/bin/sh
read -r request
id=${request#*'"identifier":"'}
id=${id%%'"'*}
echo "$id" >> "$T_DIR/rough"
"#;

/// A background process that only KILL ends, started by the words that are given. `stray` and the folder
/// are there to be found by.
const STRAY: &str = r#"STRAY() { "$@" sh -c 'trap "" TERM HUP INT; while :; do sleep 1; done' stray "$T_DIR" & }
"#;

/// Puts a script in the place of the handlers of a task type.
fn script(scene: &Scene<'_>, task_type: &str, text: &str) {
    let path = scene
        .installation
        .dir()
        .join("handlers")
        .join(task_type)
        .join("run");
    std::fs::write(path, format!("{HEAD}{STRAY}{text}")).expect("a script");
}

/// How often a script began for a task.
fn starts(scene: &Scene<'_>, identifier: &str) -> usize {
    let ledger = std::fs::read_to_string(scene.installation.dir().join("rough"));
    let lines = ledger.unwrap_or_default();
    lines.lines().filter(|line| *line == identifier).count()
}

/// Orders a task for one endpoint.
fn order(scene: &Scene<'_>, task_type: &str, identifier: &str, endpoint: &str, payload: &Value) {
    let body = json!({"identifier": identifier, "endpoints": [endpoint], "payload": payload});
    let (status, answer) = scene.api().post(&format!("/{task_type}"), &body);
    assert!(matches!(status, 201 | 202), "{status} {answer}");
}

/// The only response of a task.
fn response(scene: &Scene<'_>, task_type: &str, identifier: &str) -> Value {
    let path = format!("/{task_type}/{identifier}/responses");
    scene.api().get(&path).1["responses"][0].clone()
}

/// Waits until the only response of a task is in a state, or no longer in another.
fn wait_state(
    scene: &Scene<'_>,
    task_type: &str,
    identifier: &str,
    is_it: impl Fn(&str) -> bool,
) -> Value {
    until("a response", || {
        let response = response(scene, task_type, identifier);
        response["state"]
            .as_str()
            .is_some_and(&is_it)
            .then_some(response)
    })
}

fn is_finished(state: &str) -> bool {
    ResponseState::from_word(state).is_some_and(ResponseState::is_finished)
}

/// Starts a shipped worker `e1` for handlers that misbehave, a worker `e2` that goes on beside it, and a
/// load on that one.
fn set(scene: &mut Scene<'_>, task_types: &[&str], env: &[(&'static str, String)]) -> Load {
    scene.start_api(env);
    scene.start_worker_of(Kind::Shipped, "e1", task_types, env);
    scene.start_worker_of(Kind::Inside, "e2", &["once"], &[]);
    scene.load(&Plan::new("once", &scene.endpoints_of("once")))
}

/// Ends the load when there are enough tasks, and settles it.
fn finish(scene: &mut Scene<'_>, load: Load) {
    scene.cleared();
    load.wait_accepted(1000_u64.saturating_sub(load.accepted()).max(50));
    scene.end(load);
    scene.settle("once", Limits::default());
}
