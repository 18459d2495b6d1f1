//! What shares a message, and what does not.

use super::*;
use chrono::{DateTime, Utc};
use tasker_core::retry::RetryPolicy;
use tasker_core::task::{Audience, Counts, RunPolicy, TaskHead};
use tasker_core::{Client, Identifier, TaskStatus, TaskUid};

fn due(id: TaskId, listed: &[&str], is_cancelled: bool) -> Due {
    let now: DateTime<Utc> = DateTime::from_timestamp(1_000_000, 0).unwrap();
    let endpoints: Vec<_> = listed
        .iter()
        .map(|n| EndpointName::parse(n).unwrap())
        .collect();
    let head = TaskHead {
        callback_url: None,
        rows_due_at: None,
        id,
        uid: TaskUid::mint(),
        client: Client::local(),
        task_type: TaskType::parse("worker").unwrap(),
        identifier: Identifier::parse(&format!("t{id}")).unwrap(),
        status: TaskStatus::Created,
        audience: if listed.is_empty() {
            Audience::Subscribed
        } else {
            Audience::Listed
        },
        run_policy: RunPolicy::Once,
        retry: RetryPolicy::DEFAULT,
        timeout_s: 1,
        created_at: now,
        sent_at: None,
        wait_until: now,
        expires_at: now,
        settled_at: None,
        cancel_requested_at: is_cancelled.then_some(now),
        counts: Counts::default(),
    };
    let task = Task {
        head,
        endpoints: (!listed.is_empty()).then_some(endpoints),
        wire: Bytes::from_static(b"{}"),
    };
    Due { task, told: None }
}

fn parcels(memory: &mut Memory, settings: &RelaySettings) -> Vec<(Vec<TaskId>, Parcel)> {
    let next = || {
        let parcel = memory.next(settings)?;
        memory.landed(&parcel);
        Some(parcel)
    };
    std::iter::from_fn(next)
        .map(|parcel| (parcel.items.iter().map(|item| item.key.0).collect(), parcel))
        .collect()
}

#[test]
fn tasks_that_go_the_same_way_share_a_message() {
    let mut memory = Memory::default();
    for (id, listed) in [(1, &[][..]), (2, &["a"]), (3, &["b", "c"]), (4, &[])] {
        memory.push(due(id, listed, false), 0);
    }
    // Nobody is known, so short lists go by fanout, with their names in the entries.
    let all = parcels(&mut memory, &RelaySettings::default());
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].0, [1, 2, 3, 4]);
    let messages = all[0].1.messages();
    assert_eq!(messages.len(), 1);
    assert!(matches!(&messages[0].to, Address::Everybody(_)));
    let body = String::from_utf8(messages[0].body.to_vec()).unwrap();
    assert!(body.contains(r#""audience":["b","c"]"#) && body.contains(r#""audience":null"#));
}

#[test]
fn lists_that_go_to_inboxes_share_a_message_if_they_are_equal() {
    let mut memory = Memory::default();
    for (id, listed) in [(1, &["a"][..]), (2, &["b"]), (3, &["a"])] {
        memory.push(due(id, listed, false), 1000);
    }
    let all = parcels(&mut memory, &RelaySettings::default());
    let ids: Vec<_> = all.iter().map(|(ids, _)| ids.clone()).collect();
    assert_eq!(ids, [vec![1, 3], vec![2]]);
    assert!(matches!(&all[0].1.messages()[0].to, Address::Inboxes(_, names) if names.len() == 1));
}

#[test]
fn the_broker_keeps_what_nobody_would_ask_for_again() {
    let is_persistent = |due: Due| {
        let mut memory = Memory::default();
        memory.push(due, 0);
        let parcel = memory.next(&RelaySettings::default()).unwrap();
        parcel.messages()[0].persistent
    };
    assert!(is_persistent(due(1, &[], false)));
    let mut unlisted = due(2, &["a"], false);
    unlisted.task.head.audience = Audience::Everybody;
    assert!(is_persistent(unlisted));
    assert!(!is_persistent(due(3, &["a"], false)));
    assert!(!is_persistent(due(4, &[], true)));
    // One such task is enough.
    let mut memory = Memory::default();
    memory.push(due(5, &["a"], false), 0);
    memory.push(due(6, &[], false), 0);
    let all = parcels(&mut memory, &RelaySettings::default());
    assert_eq!(all[0].0, [5, 6]);
    assert!(all[0].1.messages()[0].persistent);
}

#[test]
fn what_comes_while_a_message_is_under_way_shares_the_next_one() {
    let settings = RelaySettings::default();
    let mut memory = Memory::default();
    let ids = |parcel: &Parcel| {
        parcel
            .items
            .iter()
            .map(|item| item.key.0)
            .collect::<Vec<_>>()
    };
    memory.push(due(1, &[], false), 1000);
    let first = memory.next(&settings).unwrap();
    for (id, listed) in [(2, &[][..]), (3, &["a"]), (4, &[])] {
        memory.push(due(id, listed, false), 1000);
    }
    // Others do not wait for it.
    assert_eq!(ids(&memory.next(&settings).unwrap()), [3]);
    assert!(memory.next(&settings).is_none());
    memory.landed(&first);
    assert_eq!(ids(&memory.next(&settings).unwrap()), [2, 4]);
}

#[test]
fn a_message_is_bounded_and_groups_take_turns() {
    let settings = RelaySettings {
        batch: 2,
        ..RelaySettings::default()
    };
    let mut memory = Memory::default();
    for id in 1..=5 {
        memory.push(due(id, &[], false), 0);
    }
    memory.push(due(6, &["x"], false), 1000);
    let ids: Vec<_> = parcels(&mut memory, &settings)
        .into_iter()
        .map(|(ids, _)| ids)
        .collect();
    assert_eq!(ids, [vec![1, 2], vec![6], vec![3, 4], vec![5]]);
    assert_eq!((memory.waiting(), memory.bytes, memory.held()), (0, 0, 6));

    let tiny = RelaySettings {
        batch_bytes: 1,
        ..RelaySettings::default()
    };
    memory.push(due(7, &[], false), 0);
    memory.push(due(8, &[], false), 0);
    assert_eq!(parcels(&mut memory, &tiny).len(), 2);
}

#[test]
fn cancels_go_to_those_who_are_named() {
    let mut memory = Memory::default();
    memory.push(due(1, &["a"], true), 0);
    memory.push(due(2, &[], true), 0);
    let all = parcels(&mut memory, &RelaySettings::default());
    let to: Vec<_> = all
        .iter()
        .map(|(_, parcel)| parcel.messages().remove(0).to)
        .collect();
    assert!(matches!(&to[0], Address::Inboxes(_, names) if names[0].as_str() == "a"));
    assert!(matches!(&to[1], Address::Everybody(_)));
    assert!(all.iter().all(|(_, parcel)| parcel.is_cancel()));
}

#[test]
fn what_the_sweep_finds_again_is_held_once_and_what_comes_back_is_first() {
    let settings = RelaySettings {
        batch: 1,
        ..RelaySettings::default()
    };
    let mut memory = Memory::default();
    for id in [1, 2, 1] {
        memory.push(due(id, &[], false), 0);
    }
    assert_eq!(memory.waiting(), 2);
    let first = memory.next(&settings).unwrap();
    memory.landed(&first);
    memory.push_back(first);
    let ids: Vec<_> = parcels(&mut memory, &settings)
        .into_iter()
        .map(|(ids, _)| ids)
        .collect();
    assert_eq!(ids, [vec![1], vec![2]]);
    memory.release((1, false));
    memory.push(due(1, &[], false), 0);
    assert_eq!(memory.waiting(), 1);
}

#[test]
fn long_lists_are_split_where_the_keys_are_full() {
    let names: Vec<_> = (0..5000)
        .map(|i| format!("endpoint-{i:05}.example.net"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut memory = Memory::default();
    memory.push(due(1, &names, false), 0);
    let messages = memory.next(&RelaySettings::default()).unwrap().messages();
    assert!(messages.len() > 1);
    let mut seen = Vec::new();
    for message in &messages {
        let Address::Inboxes(_, part) = &message.to else {
            panic!("{:?}", message.to)
        };
        let bytes: usize = part
            .iter()
            .map(|name| "worker.".len() + name.as_str().len())
            .sum();
        assert!(bytes <= MAX_INBOXES_BYTES);
        seen.extend(part.iter().map(ToString::to_string));
    }
    assert_eq!(seen, names);
}
