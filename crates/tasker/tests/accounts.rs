//! Accounts through the real programs: made on the command line, asked for by the API.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tasker_testkit::installation::{Api, Installation, Program, Programs, Servers, agent};
use tasker_testkit::services;

const PATIENCE: Duration = Duration::from_secs(60);

/// As it is shipped: `api.auth` is `required`.
const CONFIG: &str = r"
task_types:
  - worker
api:
  port: 0
worker:
  username: ${TASKER_WORKER_USER}
  password: ${TASKER_WORKER_PASSWORD}
  journal_dir: ${T_DIR}/journals
  handlers_dir: ${T_DIR}/handlers
";

struct System {
    installation: Installation,
    _api: Program,
    url: String,
}

impl System {
    fn start() -> Self {
        let programs = Programs {
            tasker: env!("CARGO_BIN_EXE_tasker").into(),
            worker: env!("CARGO_BIN_EXE_tasker-worker").into(),
        };
        let servers = Servers {
            mysql: services::mysql_url(),
            amqp: services::amqp_url(),
            management: services::rabbitmq_api(),
        };
        let installation = Installation::make(programs, servers, CONFIG);
        let mut api = installation.start_api("api", &[]);
        let url = api.wait_printed("listening on ", PATIENCE);
        Api::at(&url).wait_ready(PATIENCE);
        Self {
            installation,
            _api: api,
            url,
        }
    }

    /// Runs `tasker` with a line on stdin.
    fn saying(&self, args: &[&str], line: &str) -> Output {
        let mut command = self.installation.tasker_command(args);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.stderr(Stdio::piped()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{line}").unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs a client command with a token.
    fn client(&self, token: Option<&str>, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tasker"));
        command.args(args).args(["--url", &self.url]).env_clear();
        if let Some(token) = token {
            command.env("TASKER_TOKEN", token);
        }
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn user(&self, name: &str, role: &str) -> String {
        self.installation
            .tasker_ok(&["user", "add", name, "--role", role, "--no-password"]);
        let token = self.installation.tasker_ok(&["token", "create", name]);
        token.trim().to_owned()
    }
}

#[track_caller]
fn told(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    (out, err)
}

#[test]
fn a_token_opens_the_api_until_it_is_revoked() {
    let system = System::start();
    let submit = ["submit", "worker", "--identifier", "a", "--endpoints", "e1"];
    let (_, err) = told(&system.client(None, &submit), 1);
    assert!(err.contains("tasker token create"), "{err}");

    let (ann, bob) = (system.user("ann", "client"), system.user("bob", "client"));
    let root = system.user("root", "admin");
    told(&system.client(Some(&ann), &submit), 0);
    told(&system.client(Some(&bob), &["show", "worker", "a"]), 1);
    told(&system.client(Some(&root), &["show", "worker", "a"]), 1);
    let show = ["show", "worker", "a", "--client", "ann", "--wait", "0"];
    told(&system.client(Some(&root), &show), 75);
    let list = ["list", "worker", "--client", "ann", "--json"];
    let (out, _) = told(&system.client(Some(&root), &list), 0);
    assert!(out.contains("\"identifier\": \"a\""), "{out}");
    let cancel = ["cancel", "worker", "a", "--client", "ann"];
    told(&system.client(Some(&bob), &cancel), 1);
    told(&system.client(Some(&root), &cancel), 0);

    let key = &ann[4..16];
    let listed = system.installation.tasker_ok(&["token", "list"]);
    assert!(listed.contains(key) && !listed.contains(&ann), "{listed}");
    system.installation.tasker_ok(&["token", "revoke", key]);
    told(&system.client(Some(&ann), &["list", "worker"]), 1);
    system.installation.tasker_ok(&["user", "remove", "bob"]);
    told(&system.client(Some(&bob), &["list", "worker"]), 1);
    told(
        &system.client(Some("tsk_nonsense"), &["list", "worker"]),
        64,
    );

    let audit = system.installation.tasker_ok(&["audit", "--json"]);
    let entries: Vec<Value> = audit
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let has = |kind: &str, what: &str| {
        entries
            .iter()
            .any(|e| e["kind"] == kind && e["what"].as_str().unwrap().contains(what))
    };
    assert!(has("user", "ann added as client"), "{audit}");
    assert!(has("token", key) && has("revoke", key), "{audit}");
    assert!(has("accept", "POST /worker/a 2"), "{audit}");
    assert!(has("deny", "GET /worker 401"), "{audit}");

    // Nothing that opens the door is in the logs or in the database.
    let logs = system.installation.logs();
    for token in [&ann, &bob, &root] {
        assert!(!logs.contains(&token[17..]), "{logs}");
    }
}

#[test]
fn passwords_come_from_stdin_and_are_stored_hashed() {
    let system = System::start();
    let add = ["user", "add", "ann", "--role", "viewer"];
    let (_, err) = told(&system.saying(&add, "short"), 64);
    assert!(err.contains("at least 8 characters"), "{err}");
    told(&system.saying(&add, "correct horse"), 0);
    told(&system.saying(&add, "correct horse"), 1);
    let ask = |password: &str| {
        let pair = STANDARD.encode(format!("ann:{password}"));
        let request = agent().get(format!("{}/worker", system.url));
        let answer = request
            .header("authorization", format!("Basic {pair}"))
            .call();
        answer.unwrap().status().as_u16()
    };
    assert_eq!(ask("correct horse"), 200);
    assert_eq!(ask("correct hors"), 401);
    told(
        &system.saying(&["user", "password", "ann"], "battery staple"),
        0,
    );
    assert_eq!(ask("correct horse"), 401);
    assert_eq!(ask("battery staple"), 200);
    let listed = system.installation.tasker_ok(&["user", "list", "--json"]);
    let users: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(users[0]["role"], "viewer");
    assert!(!listed.contains("argon2"), "{listed}");
    for args in [
        &["user", "password", "nobody"][..],
        &["user", "remove", "nobody"],
        &["token", "create", "nobody"],
        &["token", "revoke", "000000000000"],
    ] {
        told(&system.saying(args, "correct horse"), 1);
    }
}
