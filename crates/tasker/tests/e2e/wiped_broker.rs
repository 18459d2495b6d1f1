//! The broker's whole data folder is deleted while tasks wait: they still reach their endpoint, which
//! had never connected before. What an API process leaves to its next start shows in its exit code.

use crate::system::System;
use serde_json::json;
use tasker_testkit::private_server::{Kind, PrivateServer};

#[test]
fn a_task_outlives_the_disk_of_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let broker = PrivateServer::start(Kind::RabbitMq, dir.path());
    let mut system = System::init_on(&broker.url(), &broker.management_url());
    system.start_api();
    let body = json!({"identifier": "survivor", "endpoints": ["console9"]});
    let (status, _) = system.post("/worker", &body);
    assert_eq!(status, 201);

    broker.stop();
    let body = json!({"identifier": "stored", "endpoints": ["console9"]});
    let (status, _) = system.post("/worker", &body);
    assert_eq!(status, 202);
    assert_eq!(system.stop_api(), Some(75), "a task is left to others");
    broker.wipe();
    broker.restart();
    // Accounts lie on the broker's disk; the administrator's one command brings them back.
    system.tasker_ok(&["init", "--rabbitmq"]);
    system.start_api();
    let _worker = system.start_worker("console9", "worker");
    for path in ["/worker/survivor", "/worker/stored"] {
        let answer = system.wait_until(path, |answer| answer["task"]["status"] == "DONE");
        assert_eq!(answer["summary"]["failed"], 0);
    }
    assert_eq!(system.stop_api(), Some(0), "nothing is left");
}
