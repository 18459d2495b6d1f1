//! A task that kills its worker, and those that ran beside it.

#![allow(clippy::unwrap_used, reason = "what tests call may panic")]

mod rig;

use rig::{Probe, Rig, Sent, until};
use tasker_core::ResponseState::{Rejected, Succeeded};
use tasker_core::errnr;
use tasker_worker::WorkerSettings;

#[tokio::test]
async fn whoever_ran_beside_poison_is_not_refused_with_it() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let settings = || WorkerSettings {
        concurrency: 4,
        ..rig.settings()
    };
    let [poison, others @ ..] = [(); 4].map(|()| Sent::idempotent());
    rig.send_task(&poison).await;
    for other in &others {
        rig.send_task(other).await;
    }
    // Twice it takes everybody along.
    for run in 1..=2 {
        let worker = rig.start_with(probe.clone(), settings());
        probe.started(poison.uid, 1, run).await;
        for other in &others {
            probe.started(other.uid, 1, run).await;
        }
        worker.kill().await;
    }
    // The third time it is alone with those that have nothing to lose yet.
    let fresh = Sent::idempotent();
    rig.send_task(&fresh).await;
    let worker = rig.start_with(probe.clone(), settings());
    probe.started(poison.uid, 1, 3).await;
    probe.started(fresh.uid, 1, 1).await;
    for other in &others {
        assert_eq!(probe.starts(other.uid).len(), 2);
    }
    worker.kill().await;
    let worker = rig.start_with(probe.clone(), settings());
    let report = rig.reported(poison.uid, Rejected).await;
    assert_eq!((report.run, report.errnr), (3, Some(errnr::POISON)));
    // They come one after the other, and a worker that stops waits for none that waits.
    probe.started(others[0].uid, 1, 3).await;
    probe.let_one_go();
    until("one of two runs to end", || {
        let ends = [fresh.uid, others[0].uid].map(|uid| rig.reports(uid));
        ends.iter()
            .flatten()
            .any(|report| report.state == Succeeded)
    })
    .await;
    probe.let_all_go();
    for task in others.iter().chain([&fresh]) {
        rig.reported(task.uid, Succeeded).await;
    }
    assert_eq!(probe.starts(poison.uid).len(), 3);
    worker.drain().await;
}
