//! A handler that prints without end.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{finish, is_finished, order, response, script, set, wait_state};
use crate::scene::{PATIENCE, Scene};

/// As much as fits through a pipe, if the payload says so.
const FLOOD: &str = r#"case "$request" in
*'"flood"'*) head -c 2147483648 /dev/zero | tr '\000' '\377' ;;
esac
echo '"dry"' > "$TASKER_REPLY"
"#;
/// What the memory of the worker may grow by.
const MOST_GROWTH_KIB: u64 = 8 << 10;

pub(super) fn f29(scene: &mut Scene<'_>) {
    script(scene, "rough", FLOOD);
    let env = [("T_TIMEOUT", "120".to_owned())];
    let load = set(scene, &["rough"], &env);
    // Whatever a first run needs is none of the flood's.
    for number in 0..20 {
        order(
            scene,
            "rough",
            &format!("drop-{number}"),
            "e1",
            &json!("drop"),
        );
    }
    for number in 0..20 {
        wait_state(scene, "rough", &format!("drop-{number}"), is_finished);
    }
    let before = scene.workers[0].program.resident_kib();
    order(scene, "rough", "flood", "e1", &json!("flood"));
    let begun = Instant::now();
    let mut most = before;
    let flood = loop {
        most = most.max(scene.workers[0].program.resident_kib());
        let flood = response(scene, "rough", "flood");
        if is_finished(flood["state"].as_str().unwrap_or_default())
            || begun.elapsed() > 2 * PATIENCE
        {
            break flood;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let log = scene.workers[0].program.printed();
    let seen = log.rsplit_once("output_bytes").and_then(|(_, rest)| {
        let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse::<u64>()
            .ok()
    });
    scene.injected("MiB written", seen.unwrap_or(0) >> 20, 2048);
    scene.note("flood took", format!("{:.1?}", begun.elapsed()));
    scene.note("memory grew by", format!("{} KiB", most - before));
    let what = format!("the worker's memory grew by {} KiB", most - before);
    scene.promise(&what, most - before < MOST_GROWTH_KIB);
    let what = format!("the flood's answer is {flood}");
    scene.promise(
        &what,
        flood["state"] == "SUCCEEDED" && flood["payload"] == "dry",
    );
    finish(scene, load);
}
