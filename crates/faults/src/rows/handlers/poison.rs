//! A task that kills its worker.

use std::time::{Duration, Instant};

use serde_json::json;
use tasker_core::errnr;

use super::{finish, is_finished, order, response, script, set, starts, wait_state};
use crate::scene::{PATIENCE, Scene};

/// Kills the worker if the payload says so; otherwise works a moment and succeeds.
const POISON: &str = r#"case "$request" in
*'"poison"'*) kill -9 "$PPID"; sleep 10 ;;
esac
sleep 0.2
"#;

pub(super) fn f27(scene: &mut Scene<'_>) {
    let types = ["rough", "rough-again"];
    for task_type in types {
        script(scene, task_type, POISON);
    }
    let permits = 4;
    let env = [
        ("T_CONCURRENCY", permits.to_string()),
        ("T_TIMEOUT", "60".to_owned()),
    ];
    let load = set(scene, &types, &env);
    let tasks: Vec<(&str, String)> = (0..40)
        .map(|number| (types[number % 2], format!("innocent-{number}")))
        .collect();
    for (number, (task_type, identifier)) in tasks.iter().enumerate() {
        if let 10 | 21 = number {
            order(
                scene,
                task_type,
                &format!("poison-{task_type}"),
                "e1",
                &json!("poison"),
            );
        }
        order(scene, task_type, identifier, "e1", &json!("innocent"));
    }
    let mut deaths = 0;
    let mut first_death = None;
    let begun = Instant::now();
    let mut is_open = |scene: &mut Scene<'_>| {
        if !scene.workers[0].program.is_running() {
            first_death.get_or_insert_with(Instant::now);
            deaths += 1;
            scene.restart_worker(0, &[]);
        }
        let open = tasks.iter().filter(|(task_type, identifier)| {
            let response = response(scene, task_type, identifier);
            !is_finished(response["state"].as_str().unwrap_or_default())
        });
        open.count() > 0
    };
    while is_open(scene) && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = first_death.map_or(Duration::ZERO, |at| at.elapsed());
    scene.note(
        "from the first death to the last innocent answer",
        format!("{took:.1?}"),
    );
    // Three by the idempotent one, one by the other.
    scene.injected("deaths of the worker", deaths, 4);
    scene.promise("more deaths than runs of poison", deaths <= 4);
    for (task_type, state, errnr, runs) in [
        ("rough", "INTERRUPTED", errnr::INTERRUPTED, 1),
        ("rough-again", "REJECTED", errnr::POISON, 3),
    ] {
        let poison = format!("poison-{task_type}");
        let response = wait_state(scene, task_type, &poison, is_finished);
        let is_right = response["state"] == state && response["errnr"] == errnr;
        let what = format!("poison of {task_type} became {response}");
        scene.promise(&what, is_right);
        let begun = starts(scene, &poison);
        scene.promise(
            &format!("poison of {task_type} ran {begun} times"),
            begun == runs,
        );
    }
    let mut interrupted = 0;
    for (task_type, identifier) in &tasks {
        let response = response(scene, task_type, identifier);
        match response["state"].as_str() {
            Some("SUCCEEDED") => {}
            Some("INTERRUPTED") if *task_type == "rough" => interrupted += 1,
            _ => scene.promise(
                &format!("{identifier} of {task_type} became {response}"),
                false,
            ),
        }
        let runs = starts(scene, identifier);
        let is_repeated = *task_type == "rough" && runs > 1;
        scene.promise(
            &format!("{identifier} of rough ran {runs} times"),
            !is_repeated,
        );
    }
    scene.note("innocent INTERRUPTED", interrupted);
    let what = format!("{interrupted} innocent runs interrupted by {deaths} deaths");
    scene.promise(&what, interrupted <= permits * deaths);
    finish(scene, load);
}
