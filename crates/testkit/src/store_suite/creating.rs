//! Step 3 of the line: what `create` promises.

use std::collections::HashSet;

use bytes::Bytes;
use tasker_core::account::ClientScope;
use tasker_core::name::{Client, Identifier};
use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::Created;
use tasker_core::task::{Audience, NewTask, RunPolicy};
use tasker_core::wire::WireTask;
use tokio::task::JoinSet;

use super::{Ledger, Probe};
use crate::build::{endpoint, new_task, task_type};

/// Everything that was asked for is there when it is read again, with one WAITING row a name.
pub async fn a_task_is_stored_whole(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let before = probe.now().await.expect("the time");
    let new = NewTask {
        run_policy: RunPolicy::Idempotent,
        timeout_s: 61,
        expires_in_s: 3601,
        wait_s: 31,
        ..new_task("t-1", &["b", "a", "c"])
    };
    let task = probe.store_new(new.clone()).await;
    let after = probe.now().await.expect("the time");
    let head = &task.head;
    assert!(head.id > 0);
    assert_eq!(head.uid, new.uid);
    assert_eq!(
        (head.status, head.audience),
        (TaskStatus::Created, Audience::Listed)
    );
    assert_eq!(
        (head.run_policy, head.timeout_s),
        (RunPolicy::Idempotent, 61)
    );
    assert!(before <= head.created_at && head.created_at <= after);
    assert_eq!((head.expires_at - head.created_at).num_seconds(), 3601);
    assert_eq!((head.wait_until - head.created_at).num_seconds(), 31);
    assert_eq!(
        (head.sent_at, head.settled_at, head.cancel_requested_at),
        (None, None, None)
    );
    assert_eq!((head.counts.expected, head.counts.received), (3, 0));
    assert_eq!(task.endpoints, new.endpoints);
    let wire = WireTask::parse(&task.wire).expect("a task on the wire");
    assert_eq!((wire.uid, wire.issued_at), (new.uid, head.created_at));
    assert_eq!(wire.expires_at, head.expires_at);
    assert_eq!(probe.again(&task).await, task);
    let rows = probe.rows(head.id).await;
    let names: Vec<_> = rows.iter().map(|row| row.endpoint.as_str()).collect();
    assert_eq!(names, ["b", "a", "c"]);
    for row in rows {
        assert_eq!(
            (row.state, row.attempt, row.run),
            (ResponseState::Waiting, 1, 0)
        );
        assert_eq!((row.expected, row.presumed, row.late), (true, false, false));
        assert_eq!(
            (row.errnr, row.received_at, row.finished_at),
            (None, None, None)
        );
        assert_eq!((row.created_at, row.task_id), (head.created_at, head.id));
    }
    assert!(
        probe
            .create(Vec::new(), probe.process)
            .await
            .expect("nothing")
            .is_empty()
    );
}

/// Same key, same body: the stored task, whatever the second request's uid is.
pub async fn the_same_request_again_is_the_same_task(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let first = probe.store_new(new_task("t-1", &["a"])).await;
    let again = probe
        .create(vec![new_task("t-1", &["a"])], probe.process)
        .await;
    let again = again.expect("created");
    let [Created::Same(task)] = again.as_slice() else {
        panic!("{again:?}");
    };
    assert_eq!(*task, first);
    assert_eq!(probe.rows(first.head.id).await.len(), 1);
}

/// Same key, other body: refused, and the stored task stays as it is.
pub async fn another_request_with_the_identifier_is_refused(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let first = probe.store_new(new_task("t-1", &["a"])).await;
    let other = probe
        .create(vec![new_task("t-1", &["a", "b"])], probe.process)
        .await;
    assert!(matches!(other.expect("judged")[..], [Created::Reused]));
    assert_eq!(probe.again(&first).await, first);
}

/// The first of equal keys is stored, the others are judged against it; results keep the order.
pub async fn keys_are_compared_within_a_batch_too(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    probe.store_new(new_task("old", &["a"])).await;
    let batch = vec![
        new_task("old", &["a"]),
        new_task("x", &["a"]),
        new_task("y", &[]),
        new_task("x", &["a"]),
        new_task("x", &["b"]),
        new_task("old", &[]),
    ];
    let uids: Vec<_> = batch.iter().map(|task| task.uid).collect();
    let results = probe.create(batch, probe.process).await.expect("created");
    let [
        Created::Same(_),
        Created::New(x),
        Created::New(y),
        Created::Same(x_again),
        Created::Reused,
        Created::Reused,
    ] = results.as_slice()
    else {
        panic!("{results:?}");
    };
    assert_eq!((x.head.uid, y.head.uid), (uids[1], uids[2]));
    assert_eq!(x, x_again);
    assert_eq!(y.head.audience, Audience::Subscribed);
    assert!(probe.rows(y.head.id).await.is_empty());
}

/// Names that differ in case only are different names, of tasks and of endpoints.
pub async fn names_are_compared_byte_by_byte(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let upper = probe
        .store_new(new_task("Task", &["Console1", "console1"]))
        .await;
    let lower = probe.store_new(new_task("task", &["Console1"])).await;
    assert_ne!(upper.head.id, lower.head.id);
    assert_eq!(probe.again(&lower).await, lower);
    assert_eq!(probe.rows(upper.head.id).await.len(), 2);
    probe
        .reach("console1", &upper, ResponseState::Received)
        .await;
    assert_eq!(
        probe.row(&upper, "console1").await.state,
        ResponseState::Received
    );
    assert_eq!(
        probe.row(&upper, "Console1").await.state,
        ResponseState::Waiting
    );
}

/// The key is (client, type, identifier).
pub async fn clients_and_types_do_not_share_identifiers(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let own = new_task("t-1", &["a"]);
    let foreign = NewTask {
        client: Client::parse("other").expect("a client"),
        ..new_task("t-1", &["b"])
    };
    let typed = NewTask {
        task_type: task_type("backup"),
        ..new_task("t-1", &["c"])
    };
    let results = probe.create(vec![own, foreign, typed], probe.process).await;
    let results = results.expect("created");
    let [
        Created::New(own),
        Created::New(foreign),
        Created::New(typed),
    ] = results.as_slice()
    else {
        panic!("{results:?}");
    };
    for task in [own, foreign, typed] {
        assert_eq!(probe.again(task).await, *task);
    }
}

/// B13 of the bad inputs: one row, one "new", ninety-nine "same".
pub async fn a_hundred_identical_requests_make_one_task(ledger: &dyn Ledger) {
    let probes = [Probe::open(ledger).await, Probe::open(ledger).await];
    let mut requests = JoinSet::new();
    for i in 0..100 {
        let probe = probes[i % 2].clone();
        requests.spawn(async move {
            let process = probe.process;
            probe
                .create(vec![new_task("t-1", &["a", "b"])], process)
                .await
        });
    }
    let mut ids = HashSet::new();
    let mut new = 0;
    while let Some(result) = requests.join_next().await {
        match result.expect("no panic").expect("created").as_slice() {
            [Created::New(task)] => {
                new += 1;
                ids.insert(task.head.id);
            }
            [Created::Same(task)] => {
                ids.insert(task.head.id);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((new, ids.len()), (1, 1));
}

/// Batches of several processes that share keys, in different orders.
pub async fn overlapping_batches_store_every_key_once(ledger: &dyn Ledger) {
    let mut writers = JoinSet::new();
    for writer in 0..6_usize {
        let probe = Probe::open(ledger).await;
        writers.spawn(async move {
            let mut new = Vec::new();
            for round in 0..4_usize {
                let mut keys: Vec<usize> = (0..20).map(|i| round * 10 + i).collect();
                keys.rotate_left(writer * 3);
                if writer % 2 == 1 {
                    keys.reverse();
                }
                let batch = keys.iter().map(|key| new_task(&format!("t-{key}"), &["a"]));
                let results = probe.create(batch.collect(), probe.process).await;
                for result in results.expect("created") {
                    match result {
                        Created::New(task) => new.push(task.head.identifier.to_string()),
                        Created::Same(_) => {}
                        Created::Reused => panic!("reused"),
                    }
                }
            }
            new
        });
    }
    let mut new = Vec::new();
    while let Some(part) = writers.join_next().await {
        new.extend(part.expect("no panic"));
    }
    let distinct: HashSet<_> = new.iter().collect();
    assert_eq!((new.len(), distinct.len()), (50, 50));
}

/// The largest list that is allowed, with names of the greatest length among them.
pub async fn a_list_may_have_fifty_thousand_names(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let mut names: Vec<_> = (0..49_999)
        .map(|i| endpoint(&format!("host-{i:05}")))
        .collect();
    names.push(endpoint(&"x".repeat(128)));
    let task = NewTask {
        endpoints: Some(names),
        audience: Audience::Listed,
        ..new_task("big", &["a"])
    };
    let task = probe.store_new(task).await;
    assert_eq!(task.head.counts.expected, 50_000);
    assert_eq!(
        probe
            .again(&task)
            .await
            .endpoints
            .map_or(0, |list| list.len()),
        50_000
    );
    let tally = probe.tally(task.head.id, 3).await;
    assert_eq!(tally.states[&ResponseState::Waiting], 50_000);
    assert_eq!(tally.missing.len(), 3);
    probe
        .reach("host-49998", &task, ResponseState::Succeeded)
        .await;
    assert_eq!(probe.standing(&task).await.1, (50_000, 1, 1, 0));
}

/// A payload is bytes: nothing is re-serialised.
pub async fn payload_bytes_are_kept(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let odd = r#"{ "n":1.0e+2,  "big":18446744073709551616,"z":"\u0000é\u00e9" , "a":[ ] }"#;
    for (name, payload) in [("odd", Some(odd)), ("null", Some("null")), ("none", None)] {
        let new = NewTask {
            payload: payload.map(|json| Bytes::copy_from_slice(json.as_bytes())),
            ..new_task(name, &[])
        };
        let task = probe.store_new(new).await;
        let task = probe.again(&task).await;
        let wire = WireTask::parse(&task.wire).expect("a task on the wire");
        let kept = wire.payload.map(|json| json.get().to_owned());
        assert_eq!(
            kept.as_deref(),
            payload.filter(|json| *json != "null"),
            "{name}"
        );
    }
    let large = format!("\"{}\"", "x".repeat((256 << 10) - 2));
    let batch = (0..40).map(|i| NewTask {
        payload: Some(Bytes::from(large.clone())),
        ..new_task(&format!("large-{i}"), &["a"])
    });
    let results = probe
        .create(batch.collect(), probe.process)
        .await
        .expect("created");
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Created::New(_)))
    );
}

/// What one process stored, another one finds.
pub async fn another_process_reads_what_was_stored(ledger: &dyn Ledger) {
    let writer = Probe::open(ledger).await;
    let task = writer.store_new(new_task("t-1", &["a"])).await;
    drop(writer);
    let reader = Probe::open(ledger).await;
    assert_eq!(reader.again(&task).await, task);
    let longest = Identifier::parse(&"x".repeat(128)).expect("an identifier");
    let none = reader
        .task(
            &ClientScope::own(task.head.client.clone()),
            &task.head.task_type,
            &longest,
        )
        .await;
    assert_eq!(none.expect("read"), None);
}
