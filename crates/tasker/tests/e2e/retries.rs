//! A task type that tries again by itself.

use crate::sample::let_end;
use crate::system::{System, rows};
use serde_json::{Value, json};

/// The attempts that the handler was started with, in their order.
fn attempts(system: &System) -> Vec<u64> {
    let runs = std::fs::read_to_string(system.dir().join("flaky.runs")).unwrap_or_default();
    let request = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    runs.lines()
        .map(|line| request(line)["attempt"].as_u64().unwrap())
        .collect()
}

#[test]
fn an_endpoint_that_fails_twice_succeeds_at_its_third_attempt() {
    let mut system = System::init();
    system.start_api();
    (1..=3).for_each(|run| let_end(system.dir(), run));
    let _worker = system.start_worker("console1", "flaky");
    system.wait_online("console1", "flaky");
    let body = json!({"identifier": "third", "endpoints": ["console1"]});
    assert_eq!(system.post("/flaky", &body).0, 201);
    for attempt in [2, 3] {
        // As seen between two attempts: the one that comes, and what the last one failed with.
        let answer = system.wait_until("/flaky/third", |answer| {
            let row = rows(answer, "taskResponseList").first();
            row.is_some_and(|row| row["state"] == "RETRYING" && row["attempt"] == attempt)
        });
        let row = &rows(&answer, "taskResponseList")[0];
        assert_eq!(
            (&row["status"], &row["errnr"], &row["errmsg"]),
            (&json!(0), &json!(7), &json!("no disk"))
        );
        let summary = &answer["summary"];
        assert_eq!(summary["next_retry_at"], row["retry_at"]);
        assert_eq!(
            (&summary["retrying"], &summary["failed"]),
            (&json!(1), &json!(0))
        );
        assert_eq!(answer["task"]["status"], "SENT");
    }
    let answer = system.wait_until("/flaky/third", |answer| answer["task"]["status"] == "DONE");
    let (row, summary) = (&rows(&answer, "taskResponseList")[0], &answer["summary"]);
    assert_eq!(
        (&row["state"], &row["attempt"], &row["payload"]),
        (&json!("SUCCEEDED"), &json!(3), &json!({"saved": true}))
    );
    assert_eq!(
        (&summary["finished"], &summary["failed"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(attempts(&system), [1, 2, 3]);
    system.wait_metric("tasker_retries_ordered_total{by=\"policy\"}", 2);
    let url = system.url.clone();
    let show = system.tasker(&["show", "flaky", "third", "--url", &url]);
    assert_eq!(show.status.code(), Some(0), "DONE, and all succeeded");
    assert!(String::from_utf8_lossy(&show.stdout).contains("3.1"));
}
