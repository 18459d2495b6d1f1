//! What a claim promises.

use std::collections::BTreeSet;
use std::sync::Arc;

use tasker_core::id::RunUid;
use tasker_core::runs::{Changer, ClaimOrder, Claimed, RunKey, RunTaskState, Updated};
use tokio::sync::Barrier;

use super::probe::{complete, key, name, own, percent, to};
use super::{Probe, RunLedger};

/// From 0; each is counted and belongs to its worker.
pub async fn numbers_are_handed_out_in_order(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("a", None).await;
    let second = probe.know("b", None).await;
    let run = probe.make(5).await;
    assert_eq!(probe.number(&run, "a").await, Some(0));
    let claimed = probe.claims(&run, &["b", "a", "b", "a", "b"]).await;
    let numbers: Vec<Option<u32>> = claimed
        .iter()
        .map(|claimed| match claimed {
            Claimed::Task(shown) => Some(shown.task.number),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3), Some(4), None]);
    assert_eq!(claimed[4], Claimed::NoMore);
    let shown = probe.shown(&run, 1).await;
    assert_eq!(shown.task.state, RunTaskState::Computing);
    assert_eq!((shown.task.attempt, shown.task.worker), (1, Some(second)));
    assert_eq!(shown.worker.as_deref(), Some("b"));
    assert!(shown.task.started_at.is_some() && shown.task.updated_at.is_none());
    assert_eq!(probe.number(&run, "a").await, None);
}

/// Whoever asks at the same time, through whichever process, whatever else happens to the tasks.
pub async fn no_task_is_handed_out_twice(ledger: &dyn RunLedger) {
    const WORKERS: usize = 16;
    const TASKS: u32 = 200;
    let probes = [Probe::open(ledger).await, Probe::open(ledger).await];
    let run = probes[0].make(TASKS).await;
    let barrier = Arc::new(Barrier::new(WORKERS));
    let mut working = tokio::task::JoinSet::new();
    for i in 0..WORKERS {
        let (probe, run, barrier) = (probes[i % 2].clone(), run.clone(), Arc::clone(&barrier));
        working.spawn(async move {
            let worker = format!("w-{i}");
            probe.know(&worker, None).await;
            barrier.wait().await;
            let mut taken = Vec::new();
            while let Some(shown) = probe.take(&run, &worker).await {
                let number = shown.task.number;
                assert_eq!(shown.task.attempt, 1, "task {number}");
                let changer = Changer::Worker(name(&worker));
                for change in [percent(50.0), complete()] {
                    let updated = probe.set(&run, number, changer.clone(), change).await;
                    assert_eq!(updated, Updated::Done, "task {number}");
                }
                taken.push(number);
            }
            taken
        });
    }
    let taken = working.join_all().await.concat();
    assert_eq!(taken.len(), TASKS as usize);
    let all: BTreeSet<u32> = taken.into_iter().collect();
    assert!(all.into_iter().eq(0..TASKS));
    assert_eq!(probes[0].counts(&run).await, (0, 0, TASKS));
}

/// Before the next numbers, and as often as it is put back.
pub async fn what_was_put_back_comes_first(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("w", None).await;
    let run = probe.make(9).await;
    for number in 0..4 {
        assert_eq!(probe.number(&run, "w").await, Some(number));
    }
    probe.put(&run, 2, percent(30.0)).await;
    probe.put(&run, 2, to(RunTaskState::Waiting)).await;
    let again = probe.take(&run, "w").await.expect("a task");
    assert_eq!((again.task.number, again.task.attempt), (2, 2));
    assert!((again.task.percent - 30.0).abs() < 1e-9);
    assert_eq!(probe.number(&run, "w").await, Some(4));
}

/// Unless it waits.
pub async fn what_was_touched_before_its_turn_is_passed_over(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("w", None).await;
    let run = probe.make(300).await;
    for number in 1..250 {
        let change = match number {
            100 => percent(5.0),
            101 => to(RunTaskState::Computing),
            _ => complete(),
        };
        probe.put(&run, number, change).await;
    }
    let mut taken = BTreeSet::new();
    while let Some(number) = probe.number(&run, "w").await {
        assert!(taken.insert(number), "{number} twice");
    }
    let expected: BTreeSet<u32> = [0, 100].into_iter().chain(250..300).collect();
    assert_eq!(taken, expected);
}

/// Neither unknown workers nor workers of another client; nor does anybody of an unknown run.
pub async fn strangers_get_nothing(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("w", None).await;
    let run = probe.make(5).await;
    let claimed = probe.claims(&run, &["nobody", "w"]).await;
    assert_eq!(claimed[0], Claimed::UnknownWorker);
    assert!(matches!(claimed[1], Claimed::Task(_)));
    for uid in [run.uid, RunUid::mint()] {
        let order = ClaimOrder {
            key: RunKey {
                scope: own("stranger"),
                uid,
            },
            workers: vec![name("w")],
            lease: probe.lease,
        };
        assert_eq!(probe.claim(order).await.expect("answered"), None);
    }
    assert_eq!(probe.counts(&run).await, (4, 1, 0));
}

/// At once.
pub async fn a_run_without_tasks_has_no_more(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("w", None).await;
    let run = probe.make(0).await;
    assert_eq!(probe.number(&run, "w").await, None);
    let progress = probe.progress(&run).await;
    assert_eq!(progress, tasker_core::runs::Progress::default());
    let found = probe.find_run_task(key(&run), 0, true).await;
    assert_eq!(found.expect("read"), Some(None));
}
