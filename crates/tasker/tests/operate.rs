//! `tasker init`, `tasker endpoint`, `tasker check-config` and what `tasker-worker` refuses, as an
//! operator uses them: the real programs, a real MariaDB and a real RabbitMQ.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tasker_testkit::management::Management;
use tasker_testkit::services;

/// An installation that nothing runs on yet: a name of its own for database, virtual host, prefix.
struct Site {
    dir: tempfile::TempDir,
    name: String,
    management: Management,
}

const CONFIG: &str = r"
task_types: [worker, backup]
api:
  auth: none
  port: 0
manager:
  db:
    uri: ${T_DB}
  message_queue:
    host: ${T_MQ_HOST}
    port: ${T_MQ_PORT}
    username: ${T_NAME}
    password: ${T_PASSWORD}
    virtual_host: ${T_NAME}
    exchange: ${T_NAME}
rabbitmq:
  apiurl: ${T_API}
  username: ${T_ADMIN}
  password: ${T_ADMIN_PASSWORD}
worker:
  username: ${T_WORKER}
  password: ${T_PASSWORD}
  journal_dir: ${T_DIR}/journals
  handlers_dir: ${T_DIR}/handlers
";

impl Site {
    fn new() -> Self {
        let name = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let dir = tempfile::tempdir().unwrap();
        for mode in ["development", "production"] {
            std::fs::write(dir.path().join(format!("{mode}.config.yaml")), CONFIG).unwrap();
        }
        std::fs::create_dir(dir.path().join("handlers")).unwrap();
        Self {
            dir,
            name,
            management: Management::shared(),
        }
    }

    fn command(&self, program: &str, mode: &str, args: &[&str]) -> Command {
        let (api, admin, admin_password) = parts(&services::rabbitmq_api());
        let (amqp, ..) = parts(&services::amqp_url());
        let (host, port) = amqp.split_once("://").unwrap().1.split_once(':').unwrap();
        let dir = self.dir.path().to_str().unwrap();
        let mut command = Command::new(program);
        command
            .args(args)
            .args(["--mode", mode, "--config", dir])
            .env_clear()
            .env("T_DB", format!("{}/{}", services::mysql_url(), self.name))
            .env("T_MQ_HOST", host)
            .env("T_MQ_PORT", port)
            .env("T_NAME", &self.name)
            .env("T_WORKER", format!("{}_worker", self.name))
            .env("T_PASSWORD", "s3cret")
            .env("T_API", api)
            .env("T_ADMIN", admin)
            .env("T_ADMIN_PASSWORD", admin_password)
            .env("T_DIR", dir)
            .stdin(Stdio::null());
        command
    }

    fn tasker(&self, mode: &str, args: &[&str]) -> Command {
        self.command(env!("CARGO_BIN_EXE_tasker"), mode, args)
    }

    /// Runs `tasker`, which must end with this code; returns stdout and stderr.
    fn run(&self, mode: &str, args: &[&str], code: i32) -> (String, String) {
        told(self.tasker(mode, args).output().unwrap(), code)
    }

    fn rights(&self, user: &str) -> Value {
        self.management
            .get(&format!("permissions/{}/{user}", self.name))
    }

    fn names(&self, of: &str) -> Vec<String> {
        let listed = self.management.get(&format!("{of}/{}", self.name));
        let names = listed.as_array().unwrap().iter();
        names
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let user = |suffix: &str| format!("users/{}{suffix}", self.name);
        for path in [
            format!("vhosts/{}", self.name),
            user(""),
            user("_worker"),
            user(".console1"),
        ] {
            self.management.delete(&path);
        }
    }
}

fn told(output: Output, code: i32) -> (String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(
        !out.contains("s3cret") && !err.contains("s3cret"),
        "{out}{err}"
    );
    (out, err)
}

fn parts(url: &str) -> (String, String, String) {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (account, address) = rest.rsplit_once('@').unwrap();
    let (user, password) = account.split_once(':').unwrap();
    let address = format!("{scheme}://{}", address.trim_end_matches('/'));
    (address, user.to_owned(), password.to_owned())
}

#[test]
fn init_makes_everything_and_is_harmless_to_repeat() {
    let site = Site::new();
    for _ in 0..2 {
        let (out, _) = site.run("development", &["init"], 0);
        assert!(
            out.contains("database mysql://") && out.contains("RabbitMQ http://"),
            "{out}"
        );
    }
    let p = &site.name;
    let queues = site.names("queues");
    for shared in ["reports", "presence", "dead"] {
        assert!(queues.contains(&format!("{p}.{shared}")), "{queues:?}");
    }
    let exchanges = site.names("exchanges");
    for exchange in [
        "worker", "backup", "inbox", "reports", "presence", "events", "dead",
    ] {
        assert!(
            exchanges.contains(&format!("{p}.{exchange}")),
            "{exchanges:?}"
        );
    }
    let api = site.rights(p);
    assert_eq!(api["configure"], json!(format!(r"^{p}(\..*)?\z")));
    let worker = site.rights(&format!("{p}_worker"));
    assert_eq!(worker["configure"], json!(r"^\z"));
    assert_eq!(worker["read"], json!(format!(r"^{p}\.[^.]+\..+\z")));
    let policies = site.management.get(&format!("policies/{p}"));
    let rules = |of: &str| {
        let name = format!("{p}.{of}");
        let mut all = policies.as_array().unwrap().iter();
        &all.find(|policy| policy["name"] == name).unwrap()["definition"]
    };
    // No account can fill the broker's disk; reports are refused, not dropped.
    for queue in ["inboxes", "reports", "presence", "dead"] {
        assert!(rules(queue)["max-length-bytes"].is_u64(), "{queue}");
    }
    assert_eq!(rules("reports")["overflow"], "reject-publish");
    let rules = rules("inboxes");
    assert_eq!(rules["overflow"], "drop-head");
    assert_eq!(rules["dead-letter-exchange"], json!(format!("{p}.dead")));
    assert_eq!(rules["expires"], 86_400_000);
    let (out, _) = site.run("development", &["check-config"], 0);
    assert!(out.contains("task types worker, backup"), "{out}");
}

#[test]
fn a_queue_that_is_another_one_is_told_with_what_to_do() {
    let site = Site::new();
    site.run("development", &["init", "--rabbitmq"], 0);
    let queue = format!("queues/{p}/{p}.reports", p = site.name);
    site.management.delete(&queue);
    site.management.put(&queue, &json!({"durable": true}));
    let (_, told) = site.run("development", &["init", "--rabbitmq"], 1);
    assert!(
        told.contains(".reports") && told.contains("--reset"),
        "{told}"
    );
    site.run("development", &["init", "--rabbitmq", "--reset"], 0);
    let arguments = &site.management.get(&queue)["arguments"];
    assert_eq!(arguments["x-single-active-consumer"], true);
}

#[test]
fn an_endpoint_is_added_listed_and_revoked() {
    let site = Site::new();
    site.run("development", &["init", "--rabbitmq"], 0);
    let endpoint =
        |args: &[&str], code| site.run("production", &[&["endpoint"], args].concat(), code);
    let user = format!("{}.console1", site.name);

    let (out, _) = endpoint(&["add", "console1", "--tasktype", "worker"], 0);
    let password = out
        .lines()
        .nth(1)
        .unwrap()
        .strip_prefix("TASKER_WORKER_PASSWORD=")
        .unwrap();
    assert_eq!(
        out.lines().next().unwrap(),
        format!("TASKER_WORKER_USER={user}")
    );
    assert_eq!(password.len(), 32);

    // Other rights, the same password, nothing secret printed.
    let (out, _) = endpoint(&["add", "console1", "--tasktype", "worker,backup"], 0);
    assert!(
        out.contains("password kept") && !out.contains(password),
        "{out}"
    );
    let rights = site.rights(&user);
    let read = format!(r"^{}\.(worker|backup)\.console1\z", site.name);
    assert_eq!(rights["read"], json!(read));

    let file = site.dir.path().join("account.env");
    let path = file.to_str().unwrap();
    let add = [
        "add",
        "console1",
        "--tasktype",
        "worker,backup",
        "--new-password",
        "--out",
        path,
    ];
    let (out, _) = endpoint(&add, 0);
    let written = std::fs::read_to_string(&file).unwrap();
    let new = written.lines().nth(1).unwrap().split_once('=').unwrap().1;
    assert!(!out.contains(new) && new != password, "{out}");
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let (_, err) = endpoint(&add, 64);
    assert!(
        err.contains("account.env"),
        "a file is never overwritten: {err}"
    );

    let (out, _) = endpoint(&["list", "--json"], 0);
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(listed[0]["endpoint"], "console1");
    assert_eq!(listed[0]["account"], json!(user));
    assert_eq!(listed[0]["inboxes"].as_array().unwrap().len(), 2);
    let (out, _) = endpoint(&["list"], 0);
    assert!(out.contains("CONSUMERS") && out.contains(&user), "{out}");

    endpoint(&["revoke", "console1"], 0);
    let (out, _) = endpoint(&["list", "--json"], 0);
    assert_eq!(out.trim(), "[]");
    endpoint(&["revoke", "console1"], 1);
    let (_, err) = endpoint(&["add", "console1", "--tasktype", "other"], 64);
    assert!(err.contains("not in task_types"), "{err}");
}

#[test]
fn what_is_in_use_is_only_deleted_with_yes() {
    let site = Site::new();
    site.run("production", &["init"], 0);
    // An empty installation may be made anew, but for its virtual host, where endpoints have rights.
    site.run("production", &["init", "--database", "--reset"], 0);
    let (_, err) = site.run("production", &["init", "--rabbitmq", "--reset"], 64);
    assert!(err.contains("add --yes"), "{err}");

    submit_one(&site);
    for args in [&["init", "--reset"][..], &["init", "--database", "--reset"]] {
        let (_, err) = site.run("production", args, 64);
        assert!(err.contains("in use") && err.contains("add --yes"), "{err}");
    }
    site.run("production", &["init", "--reset", "--yes"], 0);
    site.run("production", &["init", "--database", "--reset"], 0);
    // In development nobody is asked.
    site.run("development", &["init", "--reset"], 0);
}

/// Starts the API, hands it a task, and kills it.
fn submit_one(site: &Site) {
    let mut api = site
        .tasker("production", &["api"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(api.stderr.take().unwrap()).lines();
    let url = lines.map_while(Result::ok).find_map(|line| {
        let at = line.find("http://127.0.0.1:")?;
        Some(line[at..].split('"').next().unwrap().to_owned())
    });
    let submit = Command::new(env!("CARGO_BIN_EXE_tasker"))
        .args(["submit", "worker", "--url", &url.unwrap()])
        .output();
    api.kill().unwrap();
    api.wait().unwrap();
    assert!(submit.unwrap().status.success());
}

#[test]
fn servers_that_are_away_or_refuse_are_told() {
    let site = Site::new();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let with = |name: &str, value: &str, args: &[&str], code| {
        told(
            site.tasker("development", args)
                .env(name, value)
                .output()
                .unwrap(),
            code,
        )
        .1
    };
    let err = with(
        "T_API",
        &format!("http://{free}"),
        &["init", "--rabbitmq"],
        69,
    );
    assert!(
        err.contains("management API") && err.contains(&free.to_string()),
        "{err}"
    );
    let err = with("T_ADMIN_PASSWORD", "wrong", &["init", "--rabbitmq"], 1);
    assert!(err.contains("unknown, not an administrator"), "{err}");
    let err = with(
        "T_DB",
        &format!("mysql://u:s3cret@{free}/x"),
        &["init", "--database"],
        69,
    );
    assert!(err.contains("the database cannot be reached"), "{err}");
    let err = with(
        "T_DB",
        "postgres://u:s3cret@h/x",
        &["init", "--database"],
        64,
    );
    assert!(err.contains("manager.db.uri: must start with"), "{err}");
    // No schema yet.
    site.run("development", &["init", "--rabbitmq"], 0);
    let (_, err) = site.run("development", &["api"], 1);
    assert!(err.contains("run `tasker init`"), "{err}");
}

#[test]
fn a_worker_refuses_what_it_cannot_perform() {
    let site = Site::new();
    let worker = |args: &[&str]| {
        let program = env!("CARGO_BIN_EXE_tasker-worker");
        let mut command = site.command(program, "production", args);
        // Neither is any of a worker's business.
        command.env_remove("T_DB").env_remove("T_ADMIN_PASSWORD");
        told(command.output().unwrap(), 64).1
    };
    let err = worker(&["--endpoint", "console1", "--tasktype", "other"]);
    assert!(err.contains("\"other\" is not in task_types"), "{err}");
    let err = worker(&["--endpoint", "console1", "--tasktype", "worker"]);
    assert!(
        err.contains("there is no handler for task type \"worker\""),
        "{err}"
    );
    let err = worker(&["--endpoint", "con sole", "--tasktype", "worker"]);
    assert!(err.contains("must match"), "{err}");
}
