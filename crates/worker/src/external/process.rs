//! One run of a program: started, watched, ended with all its children.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tasker_core::TaskUid;
use tasker_core::handler::JobContext;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::orphans::{self, Run};
use super::output::{self, Budget, Stream};
use super::strays::{self, Process, Table, Traces};

/// How long a program may clean up after TERM, before KILL.
pub(super) const TERM_GRACE: Duration = Duration::from_secs(5);
/// How often is looked whether it has ended meanwhile.
const LOOK: Duration = Duration::from_millis(50);
/// How long the output of a program that has ended is still read: a daemon may hold the pipes open.
const DRAIN: Duration = Duration::from_secs(1);
/// Where programs are looked for, unless the manifest lets the worker's `PATH` through.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is needed to start a program.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [String],
    pub(super) folder: &'a Path,
    pub(super) run_dir: &'a Path,
    pub(super) mark: &'a str,
    pub(super) env: Vec<(String, std::ffi::OsString)>,
    pub(super) user: Option<(u32, u32)>,
}

/// The paths of the files of a run.
pub(super) fn reply_path(run_dir: &Path) -> PathBuf {
    run_dir.join("reply")
}

pub(super) fn progress_path(run_dir: &Path) -> PathBuf {
    run_dir.join("progress")
}

impl Launch<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(self.arguments)
            .current_dir(self.run_dir)
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("HOME", self.run_dir)
            .env("TMPDIR", self.run_dir)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env(strays::MARK, self.mark)
            .env("TASKER_HANDLER_DIR", self.folder)
            .env("TASKER_REPLY", reply_path(self.run_dir))
            .env("TASKER_PROGRESS", progress_path(self.run_dir))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some((uid, gid)) = self.user {
            // Supplementary groups of root are dropped along with it.
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Starts the program. A file that is just being replaced is tried again.
    pub(super) async fn start(&self) -> io::Result<Running> {
        let mut tries = 0;
        let (child, leader, run) = loop {
            tries += 1;
            match orphans::start(&mut self.command()) {
                Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy && tries < 20 => {
                    tokio::time::sleep(LOOK).await;
                }
                started => break started?,
            }
        };
        let mut tending = JoinSet::new();
        tending.spawn(orphans::tend());
        Ok(Running {
            child,
            tree: Tree {
                traces: Traces {
                    mark: Some(self.mark.to_owned()),
                    leader,
                },
                run,
                by_force: true,
            },
            pipes: JoinSet::new(),
            _tending: tending,
        })
    }
}

/// The processes of a run. Dropping it kills them all, and ends the run.
#[derive(Debug)]
struct Tree {
    traces: Traces,
    run: Run,
    /// Whether nothing may stay; otherwise what left the group may.
    by_force: bool,
}

impl Tree {
    /// The living ones, given some that are known.
    fn look(&self, known: &HashSet<Process>) -> HashSet<Process> {
        look(&self.traces, self.by_force.then_some(self.run), known)
    }
}

fn look(traces: &Traces, run: Option<Run>, known: &HashSet<Process>) -> HashSet<Process> {
    let table = Table::read();
    orphans::reap(&table);
    let mut known = known.clone();
    known.extend(run.iter().flat_map(|run| run.orphans(&table)));
    table.find(traces, &known)
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !strays::kill_all(|known| self.look(known)) {
            tracing::error!(
                run = self.traces.mark,
                "processes of a run cannot be killed"
            );
        }
        self.run.ended(self.by_force);
    }
}

/// A program that runs.
#[derive(Debug)]
pub(super) struct Running {
    tree: Tree,
    child: Child,
    pipes: JoinSet<()>,
    /// Ends with the run.
    _tending: JoinSet<()>,
}

impl Running {
    /// Feeds stdin and drains stdout and stderr, beside everything else: a program that does not read
    /// or that floods must not block anything.
    pub(super) fn attach(&mut self, request: Vec<u8>, uid: TaskUid, budget: &Arc<Budget>) {
        if let Some(mut stdin) = self.child.stdin.take() {
            self.pipes.spawn(async move {
                // A program need not read its request.
                let _unread = stdin.write_all(&request).await.is_err();
            });
        }
        if let Some(out) = self.child.stdout.take() {
            self.pipes
                .spawn(output::pump(out, Stream::Out, uid, Arc::clone(budget)));
        }
        if let Some(err) = self.child.stderr.take() {
            self.pipes
                .spawn(output::pump(err, Stream::Err, uid, Arc::clone(budget)));
        }
    }

    /// Waits for the program's end or for the order to end it; `None` if it was ended. Nothing of its
    /// process group is left then; if it was ended, nothing of it at all.
    pub(super) async fn watch(
        mut self,
        context: &dyn JobContext,
    ) -> io::Result<Option<ExitStatus>> {
        let ended = tokio::select! {
            status = self.child.wait() => Some(status),
            _ = context.stopped() => None,
        };
        let status = match ended {
            Some(status) => {
                // A daemon that left the group on purpose may stay; what merely lingers may not.
                self.tree.traces.mark = None;
                self.tree.by_force = false;
                Some(status)
            }
            None => {
                self.terminate().await;
                None
            }
        };
        let tree = self.tree;
        // Looks through all processes, and ends in the drop.
        tokio::task::spawn_blocking(move || drop(tree))
            .await
            .map_err(io::Error::other)?;
        let mut pipes = self.pipes;
        let drained = async { while pipes.join_next().await.is_some() {} };
        let _held_open = tokio::time::timeout(DRAIN, drained).await;
        if status.is_none() {
            // Reaps it; it has been killed.
            let _late = tokio::time::timeout(DRAIN, self.child.wait()).await;
        }
        status.transpose()
    }

    /// TERM to all, and time to heed it.
    async fn terminate(&mut self) {
        let deadline = Instant::now() + TERM_GRACE;
        let mut known = self.find(HashSet::new()).await;
        strays::signal(&known, Signal::SIGTERM);
        while Instant::now() < deadline && !known.is_empty() {
            // Reaps it, so that it does not count as living.
            let _still = tokio::time::timeout(LOOK, self.child.wait()).await;
            tokio::time::sleep(LOOK).await;
            known = self.find(known).await;
        }
    }

    async fn find(&self, known: HashSet<Process>) -> HashSet<Process> {
        let (traces, run) = (self.tree.traces.clone(), self.tree.run);
        tokio::task::spawn_blocking(move || look(&traces, Some(run), &known))
            .await
            .unwrap_or_default()
    }
}

/// Kills what a run left behind whose worker died.
pub(super) async fn clean_up(mark: String) -> bool {
    let traces = Traces {
        mark: Some(mark),
        leader: None,
    };
    let find = move |known: &HashSet<Process>| Table::read().find(&traces, known);
    let killed = tokio::task::spawn_blocking(move || strays::kill_all(find));
    killed.await.unwrap_or(false)
}
