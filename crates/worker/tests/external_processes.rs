//! Programs that flood, hang, fork and hide: nothing blocks, nothing survives.

#![allow(clippy::unwrap_used, reason = "what tests call may panic")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{ENDPOINT, Folder, TestContext, is_alive, pid_in, run, run_with, until};
use serde_json::value::RawValue;
use tasker_core::TaskUid;
use tasker_core::handler::Stop;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_flood_is_drained_and_not_kept() {
    // Once small, so that what is loaded anyway does not count.
    run("#!/bin/sh\nhead -c 1000000 /dev/zero\n").await.unwrap();
    let before = resident_kib();
    let script = "#!/bin/sh\nhead -c 300000000 /dev/zero | tr '\\0' '\\377' &\n\
                  head -c 100000000 /dev/zero | tr '\\0' '\\n' >&2\nwait\n";
    run(script).await.unwrap();
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 8 << 10, "grew by {grown} KiB");
}

#[tokio::test]
async fn a_program_that_does_not_read_its_request_blocks_nobody() {
    let payload = RawValue::from_string(format!("\"{}\"", "x".repeat(256 << 10))).unwrap();
    for script in [
        "#!/bin/sh\n",
        "#!/bin/sh\nexec < /dev/null\nhead -c 1000000 /dev/zero\n",
    ] {
        let folder = Folder::new(script, "");
        let handler = folder.handler();
        let uid = TaskUid::mint();
        run_with(handler.as_ref(), uid, Some(&payload), &TestContext::new())
            .await
            .unwrap();
    }
}

/// Leaves its own number and those of an escaped child, an orphan without the mark and a plain child,
/// all deaf to TERM.
fn clinging(place: &Path, last: &str) -> String {
    format!(
        "#!/bin/sh\ncd {place}\ntrap '' TERM\n\
         setsid sh -c 'echo $$ > escaped.new; mv escaped.new escaped; exec sleep 999' &\n\
         (env -i sh -c 'echo $$ > bare.new; mv bare.new bare; exec sleep 999' &)\n\
         sleep 999 &\necho $! > child\n{last}\n",
        place = place.display(),
    )
}

const TRACES: [&str; 3] = ["escaped", "bare", "child"];

async fn pids(place: &Path, names: &[&str]) -> Vec<i32> {
    until("all processes run", || {
        names.iter().all(|n| pid_in(&place.join(n)).is_some())
    })
    .await;
    names
        .iter()
        .map(|name| pid_in(&place.join(name)).unwrap())
        .collect()
}

#[tokio::test]
async fn a_run_that_is_stopped_leaves_no_process() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(&clinging(place.path(), "wait; sleep 999"), "");
    let (handler, context) = (folder.handler(), TestContext::new());
    let grace = handler.stop_grace();
    let running = tokio::spawn({
        let context = context.clone();
        async move { run_with(handler.as_ref(), TaskUid::mint(), None, &context).await }
    });
    let pids = pids(place.path(), &TRACES).await;
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    let began = Instant::now();
    context.stop.send_replace(Some(Stop::TimedOut));
    assert_eq!(running.await.unwrap().unwrap_err().errnr, 1012);
    // TERM was given its time, and the worker's patience was not used up.
    assert!(began.elapsed() >= Duration::from_secs(5) && began.elapsed() < grace);
    for (name, pid) in TRACES.iter().zip(pids) {
        assert!(!is_alive(pid), "{name} survived");
    }
}

#[tokio::test]
async fn a_program_that_heeds_term_ends_at_once() {
    let place = tempfile::tempdir().unwrap();
    let script = format!(
        "#!/bin/sh\ncd {}\ntrap 'echo bye > bye; exit 0' TERM\necho $$ > self\n\
         while :; do sleep 0.05; done\n",
        place.path().display()
    );
    let folder = Folder::new(&script, "");
    let (handler, context) = (folder.handler(), TestContext::new());
    let running = tokio::spawn({
        let context = context.clone();
        async move { run_with(handler.as_ref(), TaskUid::mint(), None, &context).await }
    });
    let pids = pids(place.path(), &["self"]).await;
    let began = Instant::now();
    context.stop.send_replace(Some(Stop::Cancelled));
    running.await.unwrap().unwrap_err();
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    assert!(place.path().join("bye").exists() && !is_alive(pids[0]));
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_no_process() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(&clinging(place.path(), "wait; sleep 999"), "");
    let handler = folder.handler();
    let running = tokio::spawn(async move {
        run_with(handler.as_ref(), TaskUid::mint(), None, &TestContext::new()).await
    });
    let pids = pids(place.path(), &TRACES).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    for (name, pid) in TRACES.iter().zip(pids) {
        until(&format!("{name} is gone"), || !is_alive(pid)).await;
    }
}

#[tokio::test]
async fn what_lingers_in_the_group_goes_and_a_daemon_stays() {
    let place = tempfile::tempdir().unwrap();
    let last = "while [ ! -e escaped ] || [ ! -e bare ]; do sleep 0.02; done; exit 0";
    let folder = Folder::new(&clinging(place.path(), last), "");
    let began = Instant::now();
    let handler = folder.handler();
    run_with(handler.as_ref(), TaskUid::mint(), None, &TestContext::new())
        .await
        .unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "the open pipes held it up"
    );
    let pids = pids(place.path(), &TRACES).await;
    let daemon = pids[0];
    assert!(
        is_alive(daemon) && !is_alive(pids[1]) && !is_alive(pids[2]),
        "{pids:?}"
    );
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(daemon),
        nix::sys::signal::SIGKILL,
    )
    .unwrap();
}

#[tokio::test]
async fn the_next_start_ends_what_a_dead_worker_left() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new("#!/bin/sh\n", "");
    let (uid, other) = (TaskUid::mint(), TaskUid::mint());
    // As the worker would have left them.
    let run_dir = std::env::temp_dir().join(format!("tasker-{ENDPOINT}-{uid}-abc"));
    std::fs::create_dir(&run_dir).unwrap();
    let start = |uid: TaskUid, script: &str| {
        std::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(place.path())
            .env("TASKER_RUN", format!("{ENDPOINT}/{uid}"))
            .spawn()
            .unwrap()
    };
    let mut left = start(
        uid,
        "setsid sh -c 'echo $$ > deep; exec sleep 999' & sleep 999",
    );
    let mut stranger = start(other, "exec sleep 999");
    let pids = pids(place.path(), &["deep"]).await;
    folder.handler().clean_up(ENDPOINT, uid).await;
    left.wait().unwrap();
    assert!(!is_alive(pids[0]) && !run_dir.exists());
    assert!(
        stranger.try_wait().unwrap().is_none(),
        "the run of another task was ended"
    );
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}
