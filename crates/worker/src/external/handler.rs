//! The handler that runs a program.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use nix::unistd::{Uid, User, chown};
use serde::Serialize;
use serde_json::value::RawValue;
use tasker_core::handler::{Handler, HandlerError, Job, Output};
use tasker_core::{TaskUid, errnr};
use tempfile::TempDir;

use super::manifest::{Manifest, PROTOCOL};
use super::output::Budget;
use super::process::{self, Launch, TERM_GRACE, progress_path, reply_path};
use super::{progress, reply};

/// What the program reads from stdin.
#[derive(Serialize)]
struct Request<'a> {
    protocol: u32,
    uid: TaskUid,
    identifier: &'a str,
    #[serde(rename = "type")]
    task_type: &'a str,
    client: &'a str,
    endpoint: &'a str,
    attempt: u32,
    run: u32,
    timeout_s: u64,
    payload: Option<&'a RawValue>,
}

/// A program that performs a task type.
#[derive(Debug)]
pub(super) struct ExternalHandler {
    folder: PathBuf,
    program: PathBuf,
    manifest: Manifest,
    /// Variables let through and set, as they were when the handler was loaded.
    env: Vec<(String, OsString)>,
    user: Option<(u32, u32)>,
}

impl ExternalHandler {
    /// # Errors
    /// If `run_as` names nobody, or the worker may not become that user.
    pub(super) fn new(folder: &Path, program: PathBuf, manifest: Manifest) -> Result<Self, String> {
        let user = manifest.run_as.as_deref().map(user).transpose()?;
        let passed = manifest
            .env
            .iter()
            .filter_map(|name| std::env::var_os(name).map(|value| (name.clone(), value)));
        let set = manifest
            .set
            .iter()
            .map(|(name, value)| (name.clone(), value.into()));
        Ok(Self {
            folder: folder.to_owned(),
            program,
            env: passed.chain(set).collect(),
            user,
            manifest,
        })
    }

    /// A folder for one run, not yet the program's: nobody else can enter it.
    fn run_dir(endpoint: &str, task: TaskUid) -> io::Result<TempDir> {
        tempfile::Builder::new()
            .prefix(&run_dir_prefix(endpoint, task))
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
    }

    /// The user whose files the program's are.
    fn program_user(&self) -> u32 {
        self.user
            .map_or_else(|| Uid::effective().as_raw(), |(uid, _)| uid)
    }

    /// Makes the program's user the owner.
    fn give(&self, path: &Path) -> io::Result<()> {
        match self.user {
            Some((uid, gid)) => Ok(chown(path, Some(uid.into()), Some(gid.into()))?),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Handler for ExternalHandler {
    async fn run(&self, job: Job<'_>) -> Result<Output, HandlerError> {
        let not_started = |e: io::Error| {
            HandlerError::new(
                errnr::NOT_STARTED,
                format!("the program could not be started: {e}"),
            )
        };
        let run_dir = Self::run_dir(job.endpoint, job.uid).map_err(not_started)?;
        let fifo = progress_path(run_dir.path());
        let news = progress::open(&fifo).map_err(not_started)?;
        // The folder comes last. Once it is the program's user's, that user can put a link in the
        // place of anything in it, and a name in it is not to be trusted any more.
        self.give(&fifo).map_err(not_started)?;
        self.give(run_dir.path()).map_err(not_started)?;
        let launch = Launch {
            program: &self.program,
            arguments: &self.manifest.command[1..],
            folder: &self.folder,
            run_dir: run_dir.path(),
            mark: &mark(job.endpoint, job.uid),
            env: self.env.clone(),
            user: self.user,
        };
        let mut running = launch.start().await.map_err(not_started)?;
        let budget = Budget::new(self.manifest.output_limit_bytes);
        running.attach(request(&job), job.uid, &budget);
        let watched = async {
            tokio::select! {
                status = running.watch(job.context) => status,
                never = progress::pump(news, job.context) => match never {},
            }
        };
        let status = watched.await;
        if budget.is_short() {
            tracing::warn!(
                "task.uid" = %job.uid,
                "task.type" = job.task_type,
                output_bytes = budget.seen(),
                truncated = true,
                "the handler wrote more than is logged"
            );
        }
        let result = match status {
            Ok(Some(status)) => {
                reply::judge(status, &reply_path(run_dir.path()), self.program_user())
            }
            // The worker knows why it ended the run.
            Ok(None) => Err(HandlerError::new(errnr::KILLED, "the program was stopped")),
            Err(e) => Err(HandlerError::new(errnr::GENERAL, e.to_string())),
        };
        // The program may have left much. What cannot be removed is the system's to tidy.
        let _left = tokio::task::spawn_blocking(move || run_dir.close()).await;
        result
    }

    fn check(&self, payload: Option<&RawValue>) -> Result<(), String> {
        let Some(schema) = &self.manifest.schema else {
            return Ok(());
        };
        schema
            .check(payload.map(|p| p.get().as_bytes()))
            .map_err(|faults| {
                let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
                faults.join("; ")
            })
    }

    fn stop_grace(&self) -> Duration {
        TERM_GRACE + Duration::from_secs(5)
    }

    fn max_run(&self) -> Option<Duration> {
        self.manifest
            .timeout_s
            .map(|s| Duration::from_secs(s.into()))
    }

    async fn clean_up(&self, endpoint: &str, task: TaskUid) {
        if !process::clean_up(mark(endpoint, task)).await {
            tracing::error!("task.uid" = %task, "processes of a run of a dead worker cannot be killed");
        }
        let prefix = run_dir_prefix(endpoint, task);
        let removed = tokio::task::spawn_blocking(move || {
            for entry in std::fs::read_dir(std::env::temp_dir())?.flatten() {
                if entry.file_name().to_string_lossy().starts_with(&prefix) {
                    std::fs::remove_dir_all(entry.path())?;
                }
            }
            io::Result::Ok(())
        });
        if let Ok(Err(error)) = removed.await {
            tracing::warn!("task.uid" = %task, %error, "the folder of a dead run cannot be removed");
        }
    }
}

/// What the environment of every process of the task's runs on this endpoint says.
fn mark(endpoint: &str, task: TaskUid) -> String {
    format!("{endpoint}/{task}")
}

fn run_dir_prefix(endpoint: &str, task: TaskUid) -> String {
    format!("tasker-{endpoint}-{task}-")
}

fn request(job: &Job<'_>) -> Vec<u8> {
    let request = Request {
        protocol: PROTOCOL,
        uid: job.uid,
        identifier: job.identifier,
        task_type: job.task_type,
        client: job.client,
        endpoint: job.endpoint,
        attempt: job.attempt,
        run: job.run,
        timeout_s: job.timeout.as_secs(),
        payload: job.payload,
    };
    // Expect safety: a struct of strings, numbers and raw JSON always serialises.
    let mut bytes = serde_json::to_vec(&request).expect("a plain struct serialises");
    bytes.push(b'\n');
    bytes
}

fn user(name: &str) -> Result<(u32, u32), String> {
    if !Uid::effective().is_root() {
        return Err(format!("run_as: only root can run a program as {name:?}"));
    }
    match User::from_name(name) {
        Ok(Some(user)) => Ok((user.uid.as_raw(), user.gid.as_raw())),
        Ok(None) => Err(format!("run_as: there is no user {name:?}")),
        Err(error) => Err(format!("run_as: {name:?}: {error}")),
    }
}
