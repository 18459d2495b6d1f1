//! Completions are told whatever dies, and told once by several processes.

use serde_json::json;
use tasker_testkit::receiver::Receiver;

use crate::system::{System, wait_for};

fn system(receiver: &Receiver) -> System {
    let allowed = receiver.origin();
    System::init_with(&format!(
        "webhooks:\n  allow: [\"{allowed}\"]\n  secret: a secret of the receiver\n"
    ))
}

fn submit(system: &System, receiver: &Receiver, identifier: &str) {
    let url = format!("{}/{identifier}", receiver.origin());
    let body = json!({"identifier": identifier, "endpoints": ["console1"], "callback_url": url});
    let (status, answer) = system.post("/worker", &body);
    assert!(matches!(status, 201 | 202), "{status} {answer}");
}

/// The process dies while its receiver thinks, and, in other rounds, as soon as the task is done: before
/// the notice is taken, while it is on its way, or after.
#[test]
fn a_completion_outlives_the_process_that_was_to_tell_it() {
    let receiver = Receiver::that_answers(&[0, 200]);
    let mut system = system(&receiver);
    system.start_api();
    let _worker = system.start_worker("console1", "worker");
    submit(&system, &receiver, "w-0");
    let first = wait_for("the first try", || receiver.got().pop());
    system.kill_api();
    system.start_api();
    let answer = system.wait_until("/worker/w-0", |answer| {
        answer["callback"]["state"] == "DELIVERED"
    });
    assert_eq!(answer["callback"]["attempts"], 2);
    assert_eq!(answer["callback"]["delivery"], first.delivery);
    let got = receiver.got();
    assert_eq!(got.len(), 2);
    assert!(
        got.iter()
            .all(|got| got.delivery == first.delivery && got.body == first.body)
    );

    for round in 1..4 {
        let name = format!("w-{round}");
        submit(&system, &receiver, &name);
        let path = format!("/worker/{name}");
        system.wait_until(&path, |answer| answer["task"]["status"] == "DONE");
        system.kill_api();
        system.start_api();
        let answer = system.wait_until(&path, |answer| answer["callback"]["state"] == "DELIVERED");
        let got = receiver.got();
        let told = got.iter().filter(|got| got.body["identifier"] == *name);
        let deliveries: Vec<_> = told.map(|got| got.delivery.as_str()).collect();
        assert!(!deliveries.is_empty());
        assert!(
            deliveries
                .iter()
                .all(|delivery| answer["callback"]["delivery"] == **delivery)
        );
    }
}

#[test]
fn two_processes_tell_everything_once() {
    let receiver = Receiver::that_answers(&[204]);
    let mut system = system(&receiver);
    system.start_api();
    system.start_api();
    let _worker = system.start_worker("console1", "worker");
    for number in 0..40 {
        submit(&system, &receiver, &format!("w-{number}"));
    }
    for number in 0..40 {
        let path = format!("/worker/w-{number}");
        let answer = system.wait_until(&path, |answer| answer["callback"]["state"] == "DELIVERED");
        assert_eq!(answer["callback"]["attempts"], 1, "{answer}");
    }
    assert_eq!(receiver.got().len(), 40);
    assert_eq!(system.stop_api(), Some(0));
    assert_eq!(system.stop_api(), Some(0));
}
