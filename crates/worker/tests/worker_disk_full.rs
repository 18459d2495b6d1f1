//! A disk that takes no more. Alone in its binary: the limit counts for the whole process.

#![allow(clippy::unwrap_used, reason = "what tests call may panic")]

mod rig;

use rig::{Probe, Rig, Sent, until};
use tasker_core::ResponseState::Succeeded;
use tokio::signal::unix::{SignalKind, signal};

/// `SIGXFSZ`; caught, so that a write beyond the limit is an error instead of the end.
const FILE_TOO_LARGE: i32 = 25;

fn limit_files_to(bytes: &str) {
    let status = std::process::Command::new("prlimit")
        .arg(format!("--fsize={bytes}:unlimited"))
        .args(["--pid", &std::process::id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn nothing_is_claimed_or_run_until_the_disk_takes_it() {
    let mut refused = signal(SignalKind::from_raw(FILE_TOO_LARGE)).unwrap();
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let worker = rig.start(&probe);
    let (before, meanwhile) = (Sent::once(), Sent::once());
    rig.send_task(&before).await;
    rig.reported(before.uid, Succeeded).await;

    let journal = std::fs::metadata(rig.dir.path().join("worker.console1.journal")).unwrap();
    limit_files_to(&journal.len().to_string());
    rig.send_task(&meanwhile).await;
    // The claim, and at least one probe after it.
    refused.recv().await.unwrap();
    refused.recv().await.unwrap();
    // What is known is still told.
    assert!(rig.reports(meanwhile.uid).is_empty() && probe.starts(meanwhile.uid).is_empty());

    limit_files_to("unlimited");
    rig.reported(meanwhile.uid, Succeeded).await;
    assert_eq!(probe.starts(meanwhile.uid), [(1, 1)]);
    until("both", || probe.starts.lock().unwrap().len() == 2).await;
    worker.drain().await;
}
