//! What the tests of programs share: a folder of handlers, one run, and a look at processes.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::value::RawValue;
use tasker_core::TaskUid;
use tasker_core::handler::{Handler, HandlerError, Job, JobContext, Output, Stop};
use tasker_core::task::Progress;
use tasker_testkit::build;
use tasker_worker::external::load_handlers;
use tempfile::TempDir;
use tokio::sync::watch;

/// The endpoint of all runs.
pub const ENDPOINT: &str = "console1";

/// A folder with one handler, `probe`.
pub struct Folder {
    pub dir: TempDir,
}

impl Folder {
    /// A handler whose program is `script`, with these further lines in its manifest.
    pub fn new(script: &str, more: &str) -> Self {
        let folder = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let probe = folder.probe();
        std::fs::create_dir(&probe).unwrap();
        chmod(&probe, 0o755);
        let manifest = format!("description: a probe\ncommand: [run]\n{more}");
        write(&probe.join("handler.yaml"), &manifest, 0o644);
        write(&probe.join("run"), script, 0o755);
        folder
    }

    pub fn probe(&self) -> PathBuf {
        self.dir.path().join("probe")
    }

    /// Why the folder is refused.
    pub fn fault(&self) -> String {
        load_handlers(self.dir.path()).unwrap_err().to_string()
    }

    pub fn handler(&self) -> Arc<dyn Handler> {
        let registry = load_handlers(self.dir.path()).unwrap();
        registry
            .get(&build::task_type("probe"))
            .unwrap()
            .handler
            .clone()
    }
}

pub fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    chmod(path, mode);
}

pub fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The worker as a run sees it.
pub struct TestContext {
    pub stop: watch::Sender<Option<Stop>>,
    pub progress: Mutex<Vec<Progress>>,
}

impl TestContext {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            stop: watch::channel(None).0,
            progress: Mutex::default(),
        })
    }
}

#[async_trait]
impl JobContext for TestContext {
    fn progress(&self, progress: Progress) {
        self.progress.lock().unwrap().push(progress);
    }

    async fn stopped(&self) -> Stop {
        self.stop
            .subscribe()
            .wait_for(Option::is_some)
            .await
            .unwrap()
            .unwrap()
    }
}

/// Runs a handler once.
pub async fn run_with(
    handler: &dyn Handler,
    uid: TaskUid,
    payload: Option<&RawValue>,
    context: &TestContext,
) -> Result<Output, HandlerError> {
    let job = Job {
        uid,
        identifier: "nightly-17",
        task_type: "probe",
        client: "local",
        endpoint: ENDPOINT,
        attempt: 2,
        run: 1,
        payload,
        timeout: Duration::from_secs(60),
        context,
    };
    handler.run(job).await
}

/// Runs a script once, as a handler without payload.
pub async fn run(script: &str) -> Result<Output, HandlerError> {
    let folder = Folder::new(script, "");
    run_with(
        folder.handler().as_ref(),
        TaskUid::mint(),
        None,
        &TestContext::new(),
    )
    .await
}

/// Waits until a condition holds; fails if it does not for 20 s.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether the process exists and is not merely unreaped.
pub fn is_alive(pid: i32) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = text
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_ascii_whitespace().next());
    !matches!(state, Some("Z" | "X"))
}

/// The number in a file that a script writes; `None` while there is none.
pub fn pid_in(path: &Path) -> Option<i32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
