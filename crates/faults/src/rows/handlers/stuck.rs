//! A handler that does not end, and leaves processes that hide.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{finish, is_finished, order, script, set, starts, wait_state};
use crate::scene::{Scene, until};

/// How long a stopped run may clean up, and how long it may then take until nothing of it is left.
const GRACE: Duration = Duration::from_secs(5 + 3);

/// How many background processes of scripts live.
pub(super) fn strays(scene: &Scene<'_>) -> usize {
    let dir = scene.installation.dir().display().to_string();
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let is_stray = |path: &Path| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
        words
            .windows(2)
            .any(|two| two == [b"stray".as_slice(), dir.as_bytes()])
    };
    processes
        .filter(|process| is_stray(&process.path()))
        .count()
}

/// Three ways to hide, and never an end.
const HANG: &str = r#"trap '' TERM HUP INT
STRAY
STRAY setsid
(STRAY setsid env -i)
while :; do sleep 1; done
"#;
/// Background processes of each run of it.
const HIDDEN: usize = 3;

pub(super) fn f28(scene: &mut Scene<'_>) {
    script(scene, "rough", HANG);
    let timeout = Duration::from_secs(6);
    let env = [("T_TIMEOUT", timeout.as_secs().to_string())];
    let load = set(scene, &["rough"], &env);
    let mut all = 0;
    for (how, runs) in [("CANCELLED", 4), ("TIMED_OUT", 6)] {
        let names: Vec<String> = (0..runs).map(|n| format!("{how}-{n}")).collect();
        for name in &names {
            order(scene, "rough", name, "e1", &Value::Null);
        }
        until("daemons to be there", || {
            (strays(scene) == runs * HIDDEN).then_some(())
        });
        all += runs * HIDDEN;
        let mut due = Instant::now();
        if how == "CANCELLED" {
            for name in &names {
                let (status, answer) = scene
                    .api()
                    .post(&format!("/rough/{name}/cancel"), &json!({}));
                assert!(matches!(status, 200..=202), "{status} {answer}");
            }
        } else {
            due += timeout;
        }
        while strays(scene) > 0 && Instant::now() < due + 2 * GRACE {
            std::thread::sleep(Duration::from_millis(50));
        }
        let latency = due.elapsed();
        let survivors = strays(scene);
        scene.note(&format!("{how}: kill latency"), format!("{latency:.1?}"));
        scene.promise(
            &format!("{survivors} processes survived ({how})"),
            survivors == 0,
        );
        let what = format!("it took {latency:.1?} until nothing was left ({how})");
        scene.promise(&what, latency <= GRACE);
        for name in &names {
            let response = wait_state(scene, "rough", name, is_finished);
            let what = format!("{name} became {response}");
            scene.promise(&what, response["state"] == how);
            scene.promise(&format!("{name} ran again"), starts(scene, name) == 1);
        }
    }
    scene.injected("processes that heed only KILL", all as u64, 30);
    let is_running = scene.workers[0].program.is_running();
    scene.promise("the worker died of it", is_running);
    finish(scene, load);
}
