//! `tasker demo` and the plain client, as a newcomer uses them: the real program, nothing installed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

fn tasker(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasker"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    tasker(args).output().unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        let errors = String::from_utf8_lossy(&output.stderr);
        panic!("{e}: {}{errors}", String::from_utf8_lossy(&output.stdout))
    })
}

/// A demonstration that goes on serving; killed when dropped.
struct Demo {
    child: Child,
    url: String,
}

impl Demo {
    fn start(data: &Path) -> Self {
        let data = data.to_str().unwrap();
        let mut command = tasker(&["demo", "--port", "0", "--endpoints", "2", "--data", data]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        errors.read_line(&mut line).unwrap();
        let at = line
            .find("http://127.0.0.1:")
            .unwrap_or_else(|| panic!("{line}"));
        let url = line[at..].split(',').next().unwrap().to_owned();
        // Nobody must block on a full pipe.
        std::thread::spawn(move || errors.read_to_string(&mut String::new()));
        Self { child, url }
    }

    fn stop(mut self) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_prints_the_aggregated_answer_and_ends_with_the_tasks_code() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    // Twice on the same data: the second task is another one.
    for runs in 1..=2 {
        let output = run(&["demo", "--exit", "--port", "0", "--data", dir]);
        let answer = json_of(&output);
        assert_eq!(output.status.code(), Some(0), "{answer:#}");
        assert_eq!(answer["task"]["status"], "DONE");
        assert_eq!(answer["task"]["id"], runs);
        let rows = answer["taskResponseList"].as_array().unwrap();
        assert_eq!(rows.len(), 3);
        for row in rows {
            assert_eq!((&row["status"], &row["errnr"]), (&json!(1), &json!(0)));
            assert_eq!(row["payload"], json!({"yiya": "yippie", "yeah": 1_234_123}));
        }
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        for endpoint in ["console1", "console2", "console3"] {
            assert!(
                told.contains(&format!("{endpoint} SUCCEEDED 100 %")),
                "{told}"
            );
        }
        assert!(
            !told.contains('\u{1b}'),
            "bars without a terminal: {told:?}"
        );
        // What goes wrong is logged, and nothing does.
        assert!(!told.contains("WARN") && !told.contains("ERROR"), "{told}");
    }
    // The ledger holds payloads.
    let files = std::fs::read_dir(data.path()).unwrap();
    for file in files.map(Result::unwrap) {
        let mode = file.metadata().unwrap().mode();
        assert_eq!(mode & 0o077, 0, "{:?} {mode:o}", file.path());
    }
}

#[test]
fn a_taken_port_is_told_before_anything_is_written() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let data = tempfile::tempdir().unwrap();
    let output = run(&[
        "demo",
        "--exit",
        "--port",
        &port,
        "--data",
        data.path().to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(69));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{told}"
    );
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
}

#[test]
fn the_client_speaks_to_it() {
    let data = tempfile::tempdir().unwrap();
    let demo = Demo::start(data.path());
    let url = demo.url.as_str();
    let client = |args: &[&str]| run(&[args, &["--url", url]].concat());

    let list = data.path().join("endpoints.txt");
    std::fs::write(&list, "console1 # the first\nconsole2\n").unwrap();
    let submit = client(&[
        "submit",
        "worker",
        "--identifier",
        "mine",
        "--payload",
        r#"{"n": 1.50}"#,
        "--endpoints-file",
        list.to_str().unwrap(),
        "--wait",
        "--json",
    ]);
    let answer = json_of(&submit);
    assert_eq!(submit.status.code(), Some(0), "{answer:#}");
    assert!(
        String::from_utf8_lossy(&submit.stdout).contains("1.50"),
        "the payload's bytes"
    );
    assert_eq!(answer["task"]["endpoints"], json!(["console1", "console2"]));

    // The same again is the same task, something else under its identifier is refused.
    let again = client(&[
        "submit",
        "worker",
        "--identifier",
        "mine",
        "--payload",
        r#"{"n": 1.50}"#,
        "--endpoints",
        "console1,console2",
    ]);
    let text = String::from_utf8_lossy(&again.stdout).into_owned();
    assert_eq!(
        (again.status.code(), text.trim()),
        (Some(0), "worker/mine  DONE (submitted before)")
    );
    let other = client(&["submit", "worker", "--identifier", "mine"]);
    assert_eq!(
        other.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&other.stderr)
    );

    // Cancelled before anybody took it.
    let nobody = [
        "submit",
        "backup",
        "--identifier",
        "never",
        "--endpoints",
        "nobody",
    ];
    assert_eq!(client(&nobody).status.code(), Some(0));
    assert_eq!(client(&["show", "backup", "never"]).status.code(), Some(75));
    assert_eq!(
        client(&["show", "backup", "never", "--wait", "1"])
            .status
            .code(),
        Some(75)
    );
    assert_eq!(
        client(&["cancel", "backup", "never"]).status.code(),
        Some(0)
    );
    let cancelled = client(&["show", "backup", "never", "--wait"]);
    assert_eq!(cancelled.status.code(), Some(4));
    let text = String::from_utf8_lossy(&cancelled.stdout).into_owned();
    assert!(
        text.contains("CANCELLED") && text.contains("nobody"),
        "{text}"
    );

    // Nothing to try again, and it says so.
    let retry = client(&["retry", "worker", "mine", "--states", "failed"]);
    let text = String::from_utf8_lossy(&retry.stdout).into_owned();
    assert_eq!(retry.status.code(), Some(0));
    assert!(text.contains("0 responses to be tried again"), "{text}");

    let done = json_of(&client(&["list", "worker", "--status", "done", "--json"]));
    let names: Vec<_> = done
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["identifier"])
        .collect();
    assert!(names.contains(&&json!("mine")), "{done}");
    assert_eq!(
        client(&["list", "worker", "--limit", "1"]).status.code(),
        Some(0)
    );

    let missing = client(&["show", "worker", "nothing"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("404"));
    let bad = client(&["submit", "worker", "--timeout-s", "0"]);
    assert_eq!(bad.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("timeout_s"));

    assert_eq!(demo.stop(), Some(0));
}

#[test]
fn usage_is_64_and_an_api_that_is_away_is_69() {
    for args in [
        &["submit"][..],
        &["nonsense"],
        &["show", "worker", "a b"],
        &["api", "--mode", "none"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
    for args in [
        &["--help"][..],
        &["--version"],
        &["submit", "--help"],
        &["completions", "bash"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty());
    }
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let away = run(&["show", "worker", "a", "--url", &format!("http://{free}")]);
    assert_eq!(away.status.code(), Some(69));
}
