//! `tasker run`, as an operator uses it: the real program against a demonstration.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

fn tasker(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasker"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// A demonstration that goes on serving; killed when dropped.
struct Demo {
    child: Child,
    url: String,
}

impl Demo {
    fn start() -> Self {
        let mut child = tasker(&["demo", "--port", "0", "--endpoints", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        errors.read_line(&mut line).unwrap();
        let at = line.find("http://").unwrap_or_else(|| panic!("{line}"));
        let url = line[at..].split(',').next().unwrap().trim().to_owned();
        // Nobody must block on a full pipe.
        std::thread::spawn(move || errors.read_to_string(&mut String::new()));
        Self { child, url }
    }

    /// `tasker run`, with this exit code.
    #[track_caller]
    fn run(&self, code: i32, args: &[&str]) -> Output {
        let all = [&["run"], args, &["--url", &self.url]].concat();
        let output = tasker(&all).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        output
    }

    fn text(&self, args: &[&str]) -> String {
        String::from_utf8(self.run(0, args).stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[args, &["--json"]].concat())).unwrap()
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", "application/json")
            .body(body.to_string())
            .unwrap();
        let mut response = ureq::Agent::new_with_defaults().run(request).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), text)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_run_from_its_making_to_its_end() {
    let demo = Demo::start();
    let uuid = demo.text(&["create", "2", "--payload", "{\"n\": 1.50}"]);
    let uuid = uuid.trim();
    let other = demo.json(&["create", "1000000000"]);
    assert_eq!(other["numTasks"], 1_000_000_000);

    let listed = demo.json(&["list"]);
    assert_eq!(listed[0]["uuid"], uuid);
    assert_eq!(listed[1]["numWaiting"], 1_000_000_000);
    let newest = demo.text(&["list", "--limit", "1"]);
    assert!(newest.contains("1000000000") && !newest.contains(uuid));

    let worker = json!({"uuid": "w", "hostname": "h", "pid": 1});
    assert_eq!(demo.send("POST", "/api/worker", &worker).0, 201);
    let claim = || {
        let path = format!("/api/runs/{uuid}/task");
        demo.send("POST", &path, &json!({"worker_uuid": "w"}))
    };
    let (status, task) = claim();
    assert!(
        status == 201 && task.contains("\"payload\":{\"n\": 1.50}"),
        "{task}"
    );
    let shown = demo.text(&["show", uuid, "--task", "0"]);
    assert!(shown.contains("computing"), "{shown}");

    demo.run(0, &["restart", uuid]);
    assert_eq!(demo.json(&["show", uuid])["numWaiting"], 2);
    let watching = [&["run", "watch", uuid, "--json", "--url"][..], &[&demo.url]].concat();
    let mut watch = tasker(&watching)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert_eq!(first, "0 of 2 done, 0 computing, 2 waiting, 0.0 %");
    for number in 0..2 {
        assert_eq!(claim().0, 201);
        let done = json!({"percentCompleted": 100, "status": "done"});
        let path = format!("/api/runs/{uuid}/tasks/{number}");
        assert_eq!(demo.send("PUT", &path, &done).0, 204);
    }
    let last = lines.last().unwrap().unwrap();
    assert_eq!(last, "2 of 2 done, 0 computing, 0 waiting, 100.0 %");
    let ended = watch.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let run: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(run["percentDone"], 100.0);

    demo.run(0, &["restart", uuid, "--all"]);
    assert_eq!(demo.json(&["show", uuid])["numWaiting"], 2);
    demo.run(0, &["delete", uuid]);
    let gone = demo.run(1, &["show", uuid]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("There is no such run"));
    demo.run(1, &["delete", uuid]);
    demo.run(64, &["create", "1000000001"]);
    demo.run(64, &["create", "2", "--payload", "{"]);
    demo.run(64, &["show", "no-uuid"]);
}
