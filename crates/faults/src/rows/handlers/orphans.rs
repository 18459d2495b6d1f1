//! A worker that is killed leaves the processes of its handlers behind.

use serde_json::Value;
use tasker_core::errnr;

use super::stuck::strays;
use super::{finish, is_finished, order, script, set, starts, wait_state};
use crate::scene::{Scene, until};

/// Two children, one of them in a session of its own, and no end; but the second run is a short one.
const FORK: &str = r#"case "$request" in
*'"run":1,'*) ;;
*) exit 0 ;;
esac
STRAY
STRAY setsid
while :; do sleep 1; done
"#;
/// Background processes of each first run.
const CHILDREN: usize = 2;
/// Tasks of each type.
const TASKS: usize = 4;

pub(super) fn f23c(scene: &mut Scene<'_>) {
    let types = ["rough", "rough-again"];
    for task_type in types {
        script(scene, task_type, FORK);
    }
    let load = set(scene, &types, &[("T_TIMEOUT", "120".to_owned())]);
    for task_type in types {
        for number in 0..TASKS {
            order(
                scene,
                task_type,
                &format!("{task_type}-{number}"),
                "e1",
                &Value::Null,
            );
        }
    }
    let all = types.len() * TASKS * CHILDREN;
    until("children to be there", || {
        (strays(scene) == all).then_some(())
    });
    scene.kill_worker(0);
    let left = strays(scene);
    scene.injected(
        "processes that outlived their worker",
        left as u64,
        all as u64,
    );
    scene.restart_worker(0, &[]);
    for (task_type, state, errnr, runs) in [
        ("rough", "INTERRUPTED", errnr::INTERRUPTED, 1),
        ("rough-again", "SUCCEEDED", 0, 2),
    ] {
        for number in 0..TASKS {
            let name = format!("{task_type}-{number}");
            let response = wait_state(scene, task_type, &name, is_finished);
            let is_right = response["state"] == state && response["errnr"] == errnr;
            scene.promise(&format!("{name} became {response}"), is_right);
            let begun = starts(scene, &name);
            scene.promise(&format!("{name} ran {begun} times"), begun == runs);
        }
    }
    let survivors = strays(scene);
    scene.promise(&format!("{survivors} processes survived"), survivors == 0);
    finish(scene, load);
}
