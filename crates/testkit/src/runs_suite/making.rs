//! What making, showing and deleting runs promises.

use tasker_core::account::ClientScope;
use tasker_core::name::Client;
use tasker_core::runs::{MAX_RUN_TASKS, Payloads, RunFilter, RunKey, RunTask};

use super::probe::{complete, key, name, own};
use super::{Probe, RunLedger};

fn all(scope: ClientScope) -> RunFilter {
    RunFilter {
        scope,
        before: None,
        limit: 100,
        with_progress: true,
    }
}

/// All of its tasks wait.
pub async fn a_run_is_stored_and_shown(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    let run = probe.make(7).await;
    assert_eq!((run.num_tasks, run.next_task, run.epoch), (7, 0, 0));
    assert_eq!(probe.again(&run).await, run);
    assert_eq!(probe.counts(&run).await, (7, 0, 0));
    assert_eq!(probe.look(&run, 6).await, RunTask::untouched(6));
    let beyond = probe.find_run_task(key(&run), 7, true).await;
    assert_eq!(beyond.expect("read"), Some(None));
    let second = probe.make(1).await;
    assert!(second.id > run.id && second.uid != run.uid);
}

/// It takes no longer than a small one; its last number can be touched.
pub async fn a_huge_run_is_one_row(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("w", None).await;
    let run = probe.make(MAX_RUN_TASKS).await;
    assert_eq!(probe.number(&run, "w").await, Some(0));
    probe.put(&run, MAX_RUN_TASKS - 1, complete()).await;
    assert_eq!(probe.counts(&run).await, (MAX_RUN_TASKS - 2, 1, 1));
    assert_eq!(probe.number(&run, "w").await, Some(1));
}

/// In pages.
pub async fn runs_are_listed_newest_first(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    let mut made = Vec::new();
    for num_tasks in 1..=5 {
        made.push(probe.make(num_tasks).await);
    }
    made.reverse();
    probe.put(&made[0], 0, complete()).await;
    let listed = probe.runs(all(own("local"))).await.expect("listed");
    let runs: Vec<_> = listed.iter().map(|(run, _)| run.clone()).collect();
    assert_eq!(runs, made);
    let done: Vec<u32> = listed
        .iter()
        .filter_map(|(_, progress)| progress.map(|progress| progress.done))
        .collect();
    assert_eq!(done, [1, 0, 0, 0, 0]);
    let page = RunFilter {
        before: Some(made[1].id),
        limit: 2,
        with_progress: false,
        ..all(own("local"))
    };
    let listed = probe.runs(page).await.expect("listed");
    let page: Vec<_> = listed.into_iter().collect();
    assert_eq!(page, [(made[2].clone(), None), (made[3].clone(), None)]);
}

/// Who sees all sees all.
pub async fn a_client_sees_its_own_runs_only(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    let run = probe.make(1).await;
    let stranger = RunKey {
        scope: own("stranger"),
        uid: run.uid,
    };
    let found = probe.find_run(stranger.clone(), true).await;
    assert_eq!(found.expect("read"), None);
    let found = probe.find_run_task(stranger.clone(), 0, true).await;
    assert_eq!(found.expect("read"), None);
    assert!(!probe.delete_run(stranger).await.expect("answered"));
    assert!(
        probe
            .runs(all(own("stranger")))
            .await
            .expect("listed")
            .is_empty()
    );
    let everybody = ClientScope::all(Client::parse("admin").expect("a name"));
    let listed = probe.runs(all(everybody.clone())).await.expect("listed");
    assert_eq!(listed.len(), 1);
    let key = RunKey {
        scope: everybody,
        uid: run.uid,
    };
    let found = probe.find_run(key, false).await.expect("read");
    assert_eq!(found.map(|(run, _)| run), Some(run));
}

/// Per client.
pub async fn a_worker_is_known_by_its_name(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    let one = probe.know("w-1", None).await;
    assert_eq!(probe.know("w-1", None).await, one);
    assert_ne!(probe.know("w-2", None).await, one);
    let stranger = tasker_core::runs::NewPuller {
        client: Client::parse("stranger").expect("a name"),
        name: name("w-1"),
        hostname: "é".repeat(255),
        pid: i64::MAX,
        session: None,
    };
    assert_ne!(probe.register(stranger).await.expect("known"), one);
    let both = tokio::join!(probe.know("w-3", None), probe.know("w-3", None));
    assert_eq!(both.0, both.1);
}

/// Byte for byte: the same for all, or each its own.
pub async fn payloads_reach_their_tasks(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("w", None).await;
    let same = probe.make_with(2, Payloads::Same("{\"a\" : 1e2}".into()));
    let same = same.await;
    let list = (0..300).map(|i| format!("[{i}, -0]").into());
    let each = probe.make_with(300, Payloads::Each(list.collect())).await;
    for number in 0..2_u32 {
        let task = probe.take(&same, "w").await.expect("a task");
        assert_eq!(task.payload.as_deref(), Some(&b"{\"a\" : 1e2}"[..]));
        let task = probe.take(&each, "w").await.expect("a task");
        let payload = format!("[{number}, -0]");
        assert_eq!(task.payload.as_deref(), Some(payload.as_bytes()));
    }
    let last = probe.shown(&each, 299).await;
    assert_eq!(last.payload.as_deref(), Some(&b"[299, -0]"[..]));
    let none = probe.make(1).await;
    assert_eq!(probe.shown(&none, 0).await.payload, None);
}

/// In portions; another run is left alone.
pub async fn a_deleted_run_is_gone_and_swept(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("w", None).await;
    let list = (0..25).map(|_| "1".into()).collect();
    let run = probe.make_with(25, Payloads::Each(list)).await;
    let other = probe.make(3).await;
    for _ in 0..25 {
        probe.take(&run, "w").await.expect("a task");
    }
    probe.take(&other, "w").await.expect("a task");
    assert!(probe.delete_run(key(&run)).await.expect("answered"));
    assert!(!probe.delete_run(key(&run)).await.expect("answered"));
    let found = probe.find_run(key(&run), true).await;
    assert_eq!(found.expect("read"), None);
    let mut portions = 0;
    while probe.sweep_runs(10).await.expect("swept") {
        portions += 1;
        assert!(portions < 10, "no end");
    }
    assert_eq!(portions, 3);
    assert_eq!(probe.counts(&other).await, (2, 1, 0));
}

/// A task that was only looked at is still virtual.
pub async fn reads_do_not_write(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("w", None).await;
    let run = probe.make(3).await;
    for number in 0..3 {
        probe.shown(&run, number).await;
    }
    probe.progress(&run).await;
    assert_eq!(probe.again(&run).await, run);
    assert_eq!(probe.number(&run, "w").await, Some(0));
}
