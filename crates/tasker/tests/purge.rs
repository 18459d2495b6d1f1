//! `tasker purge`, as an operator uses it: the real program on SQLite and on a real MariaDB.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, SimpleAsyncConnection};
use serde_json::{Value, json};
use tasker_core::account::ClientScope;
use tasker_core::store::{Arrived, Store, TaskFilter};
use tasker_core::task::NewTask;
use tasker_core::wire::Report;
use tasker_core::{Client, ProcessId, ResponseState, TaskUid};
use tasker_store::StoreOptions;
use tasker_testkit::build::{new_task, task_type};
use tasker_testkit::services;
use tokio::runtime::Runtime;

const CONFIG: &str = "task_types: [worker]\nmanager: {db: {uri: \"${T_DB}\"}}\n";

/// Responses of the large task: three lines of an export.
const MANY: usize = 250;

/// An installation with a database and no server.
struct Site {
    dir: tempfile::TempDir,
    url: String,
    rt: Runtime,
    store: Arc<dyn Store>,
}

impl Site {
    fn on_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/ledger.db", dir.path().display());
        Self::new(dir, url)
    }

    fn on_mariadb() -> Self {
        let name = uuid::Uuid::new_v4().simple();
        let url = format!("{}/tasker_purge_{name}", services::mysql_url());
        Self::new(tempfile::tempdir().unwrap(), url)
    }

    fn new(dir: tempfile::TempDir, url: String) -> Self {
        let rt = Runtime::new().unwrap();
        rt.block_on(tasker_store::migrate(&url)).unwrap();
        let store = rt.block_on(async {
            tasker_store::open(&url, &StoreOptions::default())
                .unwrap()
                .store
        });
        std::fs::write(dir.path().join("production.config.yaml"), CONFIG).unwrap();
        let site = Self {
            dir,
            url,
            rt,
            store,
        };
        let many: Vec<String> = (0..MANY).map(|i| format!("e{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let payload = "{\n \"n\": 123456789012345678901,\n \"x\": 1.50\n}";
        site.finish(NewTask {
            payload: Some(payload.into()),
            ..new_task("large", &many)
        });
        site.finish(new_task("small", &["e1"]));
        site.age(&["large", "small"]);
        site.finish(new_task("young", &["e1"]));
        site
    }

    /// Stores a task that all its endpoints finish.
    fn finish(&self, new: NewTask) {
        let uid = new.uid;
        let names = new.endpoints.clone().unwrap();
        let batch = names.into_iter().map(|name| Arrived {
            task_type: task_type("worker"),
            endpoint: name,
            report: outcome(uid),
        });
        let batch: Vec<_> = batch.collect();
        self.rt.block_on(async {
            let owner = ProcessId::mint();
            self.store.create(vec![new], owner).await.unwrap();
            let recorded = self.store.record(batch).await.unwrap();
            assert_eq!(recorded.settled.len(), 1);
        });
    }

    /// Makes tasks look as if they were 100 days old.
    fn age(&self, identifiers: &[&str]) {
        let list = format!("('{}')", identifiers.join("', '"));
        if let Some(path) = self.url.strip_prefix("sqlite://") {
            let ago = |column: &str| {
                format!("{column} = strftime('%Y-%m-%d %H:%M:%f', {column}, '-100 days')")
            };
            let mut conn = diesel::SqliteConnection::establish(path).unwrap();
            conn.batch_execute(&backdating(ago, &list)).unwrap();
        } else {
            let ago = |column: &str| format!("{column} = {column} - INTERVAL 100 DAY");
            self.rt.block_on(async {
                let mut conn = AsyncMysqlConnection::establish(&self.url).await.unwrap();
                conn.batch_execute(&backdating(ago, &list)).await.unwrap();
            });
        }
    }

    fn tasker(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tasker"));
        command
            .arg("purge")
            .args(args)
            .args(["--mode", "production", "--config"])
            .arg(self.dir.path())
            .env_clear()
            .env("T_DB", &self.url)
            .stdin(Stdio::null());
        command
    }

    /// Runs `tasker purge`, which must end with this code; returns stdout and stderr.
    fn purge(&self, args: &[&str], code: i32) -> (String, String) {
        told(&self.tasker(args).output().unwrap(), code)
    }

    /// The identifiers of the stored tasks, newest first.
    fn stored(&self) -> Vec<String> {
        let all = TaskFilter {
            scope: ClientScope::own(Client::local()),
            task_type: task_type("worker"),
            status: None,
            before: None,
            limit: 100,
        };
        let tasks = self.rt.block_on(self.store.tasks(all)).unwrap();
        tasks.iter().map(|t| t.identifier.to_string()).collect()
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some((server, name)) = self.url.rsplit_once('/').filter(|u| u.0.contains("mysql")) {
            let server = format!("{server}/");
            self.rt.block_on(async {
                let mut conn = AsyncMysqlConnection::establish(&server).await.unwrap();
                let drop = format!("DROP DATABASE {name}");
                conn.batch_execute(&drop).await.unwrap();
            });
        }
    }
}

fn backdating(ago: impl Fn(&str) -> String, list: &str) -> String {
    let task = ["created_at", "wait_until", "expires_at", "settled_at"].map(&ago);
    format!(
        "UPDATE responses SET {} WHERE task_id IN (SELECT id FROM tasks WHERE identifier IN {list});
         UPDATE tasks SET {} WHERE identifier IN {list};",
        ago("last_modified_at"),
        task.join(", ")
    )
}

fn outcome(uid: TaskUid) -> Report {
    let reply = "{\"out\":\n 2.0}".to_owned();
    Report {
        errnr: Some(0),
        payload: Some(serde_json::value::RawValue::from_string(reply).unwrap()),
        elapsed_ms: Some(5),
        ..Report::plain(uid, 1, 1, ResponseState::Succeeded)
    }
}

fn told(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    (out, err)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn exports_and_purges(site: &Site) {
    let (out, _) = site.purge(&["--dry-run"], 0);
    assert!(out.starts_with("2 tasks, settled 90 days ago"), "{out}");
    let (out, _) = site.purge(&["--dry-run", "--older-than", "101"], 0);
    assert!(out.starts_with("0 tasks"), "{out}");
    let none = site.path("none.ndjson");
    site.purge(&["--older-than", "101", "--export", &none], 0);
    assert!(!Path::new(&none).exists(), "there was nothing to export");
    assert_eq!(site.stored(), ["young", "small", "large"]);

    let file = site.path("old.ndjson");
    let (out, _) = site.purge(&["--export", &file], 0);
    let told = "2 tasks, 251 responses purged; 2 tasks exported\n";
    assert_eq!(out, told);
    assert_eq!(site.stored(), ["young"]);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("123456789012345678901") && text.contains("1.50"));
    let lines = lines(&text);
    let kinds: Vec<_> = lines.iter().map(|line| line["task"].is_object()).collect();
    assert_eq!(kinds, [true, false, false, false, true, false]);
    let large = &lines[0]["task"];
    assert_eq!(large["identifier"], "large");
    assert_eq!(
        (&large["status"], &large["expected"]),
        (&json!("DONE"), &json!(MANY))
    );
    assert_eq!(large["endpoints"].as_array().unwrap().len(), MANY);
    assert_eq!(large["wire"]["uid"], large["uid"]);
    let sizes: Vec<_> = lines[1..4]
        .iter()
        .map(|line| {
            assert_eq!(line["task_uid"], large["uid"]);
            assert_eq!(line["task_id"], large["id"]);
            line["responses"].as_array().unwrap().len()
        })
        .collect();
    assert_eq!(sizes, [100, 100, 50]);
    let response = &lines[5]["responses"][0];
    assert_eq!(response["endpoint"], "e1");
    assert_eq!(response["state"], "SUCCEEDED");
    assert_eq!(response["payload"], json!({"out": 2.0}));

    // A file that exists is not touched, and nothing is purged without it.
    site.age(&["young"]);
    let (_, err) = site.purge(&["--export", &file], 64);
    assert!(err.contains("old.ndjson"), "{err}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert_eq!(site.stored(), ["young"]);
    let (out, err) = site.purge(&["--export", "-"], 0);
    assert_eq!(self::lines(&out).len(), 2);
    assert!(err.contains("1 tasks, 1 responses purged"), "{err}");
    assert!(site.stored().is_empty());
}

#[test]
fn old_tasks_are_exported_and_purged_on_sqlite() {
    exports_and_purges(&Site::on_sqlite());
}

#[test]
fn old_tasks_are_exported_and_purged_on_mariadb() {
    exports_and_purges(&Site::on_mariadb());
}

fn keeps_what_it_cannot_export(site: &Site) {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = site
        .tasker(&["--export", "-"])
        .stdout(Stdio::from(full))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let (_, err) = told(&output, 1);
    assert!(err.contains("was not purged"), "{err}");
    // A reader that went away.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = site
        .tasker(&["--export", "-"])
        .stdout(Stdio::from(writer))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    told(&output, 1);
    site.purge(&["--export", "/nonexistent/x.ndjson"], 64);
    assert_eq!(site.stored(), ["young", "small", "large"]);
    let (out, _) = site.purge(&[], 0);
    assert_eq!(out, "2 tasks, 251 responses purged\n");
    assert_eq!(site.stored(), ["young"]);
}

#[test]
fn what_cannot_be_exported_is_kept_on_sqlite() {
    keeps_what_it_cannot_export(&Site::on_sqlite());
}

#[test]
fn what_cannot_be_exported_is_kept_on_mariadb() {
    keeps_what_it_cannot_export(&Site::on_mariadb());
}

/// Nothing is purged by mistake: not without an age, not from a database that is not there.
#[test]
fn purging_needs_an_age_and_a_database() {
    let site = Site::on_sqlite();
    let config = site.dir.path().join("production.config.yaml");
    let keep = format!("{CONFIG}api: {{retention_days: 0}}\n");
    std::fs::write(&config, keep).unwrap();
    let (_, err) = site.purge(&[], 64);
    assert!(err.contains("--older-than"), "{err}");
    site.purge(&["--older-than", "-1"], 64);
    site.purge(&["--older-than", "36501"], 64);
    site.purge(&["--dry-run", "--export", "-"], 64);
    assert_eq!(site.stored(), ["young", "small", "large"]);
    let (out, _) = site.purge(&["--older-than", "99"], 0);
    assert!(out.starts_with("2 tasks"), "{out}");

    let with = |url: &str, code| {
        let output = site
            .tasker(&["--older-than", "99"])
            .env("T_DB", url)
            .output();
        told(&output.unwrap(), code).1
    };
    let empty = site.path("other.db");
    File::create(&empty).unwrap();
    let err = with(&format!("sqlite://{empty}"), 1);
    assert!(err.contains("run `tasker init`"), "{err}");
    with("mysql://u:s3cret@127.0.0.1:1/x", 69);
}
