//! Processes that shook off all that says whose they are: another group or session, an empty
//! environment, the parent gone.
//!
//! The worker's process adopts them (it is a *child subreaper*), so that they are its children. Which
//! run one of them comes from is told by time: it cannot be older than the program that the run
//! started. When a run is ended by force, orphans that only it can have started go with it, those
//! that a run still under way may have started go when that has ended. After an end of its own
//! accord everything stays that left the group, as long as nothing was ended by force meanwhile.
//!
//! Without `/proc` or adoption all of this finds nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use super::strays::{self, Process, Table, Traces};

/// How often processes that have ended are looked for, at most.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// A run of this process, under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run(u64);

/// All runs of this process; children belong to the process, whichever worker in it started them.
#[derive(Debug, Default)]
struct Runs {
    last: u64,
    /// Those under way, with the start of their program, if that is known.
    active: BTreeMap<Run, Option<u64>>,
    /// The starts of programs that were ended by force, as long as orphans may be theirs.
    forced: Vec<u64>,
    /// The programs that were started, by number, until they are gone. Their starter waits for them.
    leaders: HashMap<i32, Option<u64>>,
}

static RUNS: LazyLock<Mutex<Runs>> = LazyLock::new(Mutex::default);

fn runs() -> MutexGuard<'static, Runs> {
    RUNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the program of a run. Nobody looks for orphans meanwhile: until it is known as a program of
/// a run it would look like one.
pub(super) fn start(command: &mut Command) -> io::Result<(Child, Option<Process>, Run)> {
    static ADOPT: Once = Once::new();
    ADOPT.call_once(adopt);
    let mut runs = runs();
    let child = command.spawn()?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let leader = pid.and_then(Process::of);
    let started = leader.map(|leader| leader.started);
    runs.last += 1;
    let run = Run(runs.last);
    runs.active.insert(run, started);
    runs.leaders.extend(pid.map(|pid| (pid, started)));
    Ok((child, leader, run))
}

#[cfg(target_os = "linux")]
fn adopt() {
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        tracing::warn!(
            %error,
            "this process cannot adopt what its handlers leave; what leaves its group and clears its \
             environment will not be found"
        );
    }
}

#[cfg(not(target_os = "linux"))]
fn adopt() {}

impl Runs {
    fn is_leader(&self, process: Process) -> bool {
        let leader = self.leaders.get(&process.pid);
        leader.is_some_and(|started| started.is_none_or(|started| started == process.started))
    }

    fn orphans(&self, table: &Table) -> impl Iterator<Item = Process> {
        // A marked one is found by its mark, if it is to be.
        let is_orphan = |process: &Process| !self.is_leader(*process) && !process.is_marked();
        table.children.iter().copied().filter(is_orphan)
    }

    /// Whether a run under way, other than this one, may have started a process.
    fn is_protected(&self, process: Process, except: Option<Run>) -> bool {
        self.active.iter().any(|(run, from)| {
            Some(*run) != except && from.is_none_or(|from| from <= process.started)
        })
    }

    fn is_suspect(&self, process: Process) -> bool {
        self.forced.iter().any(|from| *from <= process.started)
    }
}

impl Run {
    /// The orphans that only this run can have started.
    pub(super) fn orphans(self, table: &Table) -> HashSet<Process> {
        let runs = runs();
        let Some(from) = runs.active.get(&self).copied().flatten() else {
            return HashSet::new();
        };
        runs.orphans(table)
            .filter(|orphan| from <= orphan.started && !runs.is_protected(*orphan, Some(self)))
            .collect()
    }

    /// The run is over. Kills the orphans of it, or of earlier ones, that no run under way can have
    /// started. Blocks: looks through all processes.
    pub(super) fn ended(self, by_force: bool) {
        let must_look = {
            let mut runs = runs();
            let from = runs.active.remove(&self).flatten();
            runs.forced.extend(from.filter(|_| by_force));
            !runs.forced.is_empty()
        };
        if !must_look {
            return;
        }
        let condemned = |known: &HashSet<Process>| {
            let table = Table::read();
            let runs = runs();
            let is_condemned = |o: &Process| runs.is_suspect(*o) && !runs.is_protected(*o, None);
            let mut found = known.clone();
            found.extend(runs.orphans(&table).filter(is_condemned));
            table.find(&Traces::default(), &found)
        };
        if !strays::kill_all(condemned) {
            tracing::error!("processes that runs left behind cannot be killed");
        }
        let table = Table::read();
        let mut runs = runs();
        let ambiguous: Vec<u64> = runs
            .orphans(&table)
            .filter(|orphan| runs.is_protected(*orphan, None))
            .map(|orphan| orphan.started)
            .collect();
        runs.forced
            .retain(|from| ambiguous.iter().any(|started| from <= started));
    }
}

/// Takes note of adopted processes that have ended, so that the system can forget them. Never of the
/// programs of runs: their starter wants to know how they ended.
pub(super) fn reap(table: &Table) {
    let mut runs = runs();
    runs.leaders.retain(|pid, started| {
        let is_later = |now: Process| started.is_some_and(|started| started != now.started);
        Path::new(&format!("/proc/{pid}")).exists() && !Process::of(*pid).is_some_and(is_later)
    });
    for process in &table.dead_children {
        if !runs.is_leader(*process) && Process::of(process.pid) == Some(*process) {
            let pid = Pid::from_raw(process.pid);
            let _gone = waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err();
        }
    }
}

/// Reaps as long as it is polled; one of all that wait for their turn at a time.
pub(super) async fn tend() {
    static TURN: Semaphore = Semaphore::const_new(1);
    let Ok(_turn) = TURN.acquire().await else {
        return;
    };
    let Ok(mut ended) = signal(SignalKind::child()) else {
        return;
    };
    while ended.recv().await.is_some() {
        tokio::time::sleep(REAP_EVERY).await;
        // It ends with the runtime only.
        let _cancelled = tokio::task::spawn_blocking(|| reap(&Table::read())).await;
    }
}
