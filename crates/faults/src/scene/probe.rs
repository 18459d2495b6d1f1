//! When is it whole again? One task after the fault tells.

use std::time::{Duration, Instant};

use serde_json::json;
use tasker_testkit::installation::Api;

use super::PATIENCE;
use crate::load::Targets;

/// The task type of the task.
pub(super) const TASK_TYPE: &str = "once";
/// How its identifier begins.
pub(super) const PREFIX: &str = "probe-";

/// Sends one task until it is accepted, and waits until it is done.
pub(super) fn probe(targets: &Targets, endpoints: &[String], begun: Instant) -> Option<Duration> {
    let identifier = format!("{PREFIX}{:016x}", rand::random::<u64>());
    let body = json!({"identifier": identifier, "payload": {"ms": 1}, "endpoints": endpoints});
    let urls = targets.lock().expect("the targets").clone();
    for url in urls.iter().cycle() {
        if begun.elapsed() > PATIENCE {
            break;
        }
        let api = Api::at(url);
        if matches!(api.post(&format!("/{TASK_TYPE}"), &body).0, 200..=202) {
            let (status, answer) = api.get(&format!("/{TASK_TYPE}/{identifier}?wait=1"));
            if status == 200 && answer["task"]["status"] == "DONE" {
                return Some(begun.elapsed());
            }
        } else {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    None
}
