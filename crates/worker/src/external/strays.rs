//! Finding the processes of a run, also those that left its process group: by what their environment
//! says, and by whose children they are.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The variable that marks every process of a run, inherited by its children.
pub(super) const MARK: &str = "TASKER_RUN";

/// A process, told apart from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Process {
    pid: i32,
    started: u64,
}

#[derive(Debug, Clone, Copy)]
struct Stat {
    parent: i32,
    group: i32,
    started: u64,
    is_zombie: bool,
}

/// Parses `/proc/<pid>/stat`: the name in parentheses may contain anything, so fields are counted
/// from behind it.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some(Stat {
        is_zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn has_mark(pid: i32, mark: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
        // Of another user, or gone.
        return false;
    };
    environment.split(|&b| b == 0).any(|variable| {
        variable
            .strip_prefix(MARK.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
            .is_some_and(|value| value == mark.as_bytes())
    })
}

/// What the processes of a run have in common.
#[derive(Debug, Clone)]
pub(super) struct Traces {
    /// The value of [`MARK`], if marked processes are meant that left the group, too.
    pub(super) mark: Option<String>,
    /// The process that was started; its number is that of the group.
    pub(super) leader: Option<Process>,
}

impl Process {
    /// The process of this number, if there is one.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let started = stat(pid)?.started;
        Some(Self { pid, started })
    }
}

/// The living processes of a run: those in its process group, those with its mark, those in `known`,
/// whoever shares a group with one of them, and all their descendants. Never this process itself.
pub(super) fn find(traces: &Traces, known: &HashSet<Process>) -> HashSet<Process> {
    let own = std::process::id();
    let mut table = BTreeMap::new();
    let mut own_group = None;
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let Some(stat) = stat(pid).filter(|stat| !stat.is_zombie) else {
            continue;
        };
        if u32::try_from(pid) == Ok(own) {
            own_group = Some(stat.group);
        } else {
            table.insert(pid, stat);
        }
    }
    // If the number of the leader belongs to a later process, so does the group.
    let leader = traces.leader.filter(|leader| {
        table
            .get(&leader.pid)
            .is_none_or(|stat| stat.started == leader.started)
    });
    let mut groups: HashSet<i32> = leader.iter().map(|leader| leader.pid).collect();
    let mut found: HashSet<i32> = HashSet::new();
    for (&pid, stat) in &table {
        let started = stat.started;
        let is_marked = || traces.mark.as_ref().is_some_and(|mark| has_mark(pid, mark));
        if known.contains(&Process { pid, started }) || is_marked() {
            found.insert(pid);
        }
    }
    loop {
        groups.extend(
            found
                .iter()
                .map(|pid| table[pid].group)
                .filter(|g| Some(*g) != own_group),
        );
        let more: Vec<i32> = table
            .iter()
            .filter(|(pid, stat)| {
                let belongs = found.contains(&stat.parent) || groups.contains(&stat.group);
                belongs && !found.contains(pid)
            })
            .map(|(&pid, _)| pid)
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    let process = |pid: i32| Process {
        pid,
        started: table[&pid].started,
    };
    found.into_iter().map(process).collect()
}

/// Signals processes that are still the same ones.
pub(super) fn signal(processes: &HashSet<Process>, signal: Signal) {
    for process in processes {
        if stat(process.pid).is_some_and(|stat| stat.started == process.started) {
            // It may end in between, which is what is wanted.
            let _gone = kill(Pid::from_raw(process.pid), signal).is_err();
        }
    }
}

/// Kills all processes of a run that can be found, again until none is left or a few rounds are over:
/// a process that forks quickly may need more than one. Whether none is left.
pub(super) fn kill_all(traces: &Traces, mut known: HashSet<Process>) -> bool {
    for _round in 0..40 {
        known = find(traces, &known);
        if known.is_empty() {
            return true;
        }
        signal(&known, Signal::SIGKILL);
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}
