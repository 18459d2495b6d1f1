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
    pub(super) pid: i32,
    /// In ticks of the kernel's clock since it booted, about 10 ms each.
    pub(super) started: u64,
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

/// The run that a process's environment names. `None` also for one of another user, or gone.
fn mark(pid: i32) -> Option<Vec<u8>> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |variable: &[u8]| {
        let value = variable
            .strip_prefix(MARK.as_bytes())?
            .strip_prefix(b"=")?
            .to_vec();
        Some(value)
    };
    environment.split(|&b| b == 0).find_map(value)
}

/// What the processes of a run have in common.
#[derive(Debug, Clone, Default)]
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

    /// Whether its environment names a run, whichever.
    pub(super) fn is_marked(self) -> bool {
        mark(self.pid).is_some()
    }
}

/// All processes at a moment, but this one itself. Empty where there is no `/proc`.
#[derive(Debug)]
pub(super) struct Table {
    own_group: Option<i32>,
    living: BTreeMap<i32, Stat>,
    /// Children of this process outside of its own group: whatever else a program starts stays in it.
    pub(super) children: Vec<Process>,
    /// Those of them that have ended and were not waited for.
    pub(super) dead_children: Vec<Process>,
}

impl Table {
    pub(super) fn read() -> Self {
        let own = i32::try_from(std::process::id()).ok();
        let own_group = own.and_then(stat).map(|stat| stat.group);
        let mut table = Self {
            own_group,
            living: BTreeMap::new(),
            children: Vec::new(),
            dead_children: Vec::new(),
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
            let Some(stat) = stat(pid).filter(|_| Some(pid) != own) else {
                continue;
            };
            let started = stat.started;
            if Some(stat.parent) == own && Some(stat.group) != own_group {
                let which = if stat.is_zombie {
                    &mut table.dead_children
                } else {
                    &mut table.children
                };
                which.push(Process { pid, started });
            }
            if !stat.is_zombie {
                table.living.insert(pid, stat);
            }
        }
        table
    }

    /// The living processes of a run: those in its process group, those with its mark, those in
    /// `known`, whoever shares a group with one of them, and all their descendants.
    pub(super) fn find(&self, traces: &Traces, known: &HashSet<Process>) -> HashSet<Process> {
        // If the number of the leader belongs to a later process, so does the group.
        let leader = traces.leader.filter(|leader| {
            let now = self.living.get(&leader.pid);
            now.is_none_or(|stat| stat.started == leader.started)
        });
        let mut groups: HashSet<i32> = leader.iter().map(|leader| leader.pid).collect();
        let mut found: HashSet<i32> = HashSet::new();
        for (&pid, stat) in &self.living {
            let started = stat.started;
            let is_marked = || {
                let wanted = traces.mark.as_ref().map(String::as_bytes);
                wanted.is_some() && mark(pid).as_deref() == wanted
            };
            if known.contains(&Process { pid, started }) || is_marked() {
                found.insert(pid);
            }
        }
        loop {
            groups.extend(
                found
                    .iter()
                    .map(|pid| self.living[pid].group)
                    .filter(|group| Some(*group) != self.own_group),
            );
            let more: Vec<i32> = self
                .living
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
            started: self.living[&pid].started,
        };
        found.into_iter().map(process).collect()
    }
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

/// Kills what `find` finds, given what it found before, again until that is nothing or a few rounds
/// are over: a process that forks quickly may need more than one. Whether nothing is left.
pub(super) fn kill_all(find: impl Fn(&HashSet<Process>) -> HashSet<Process>) -> bool {
    let mut known = HashSet::new();
    for _round in 0..40 {
        known = find(&known);
        if known.is_empty() {
            return true;
        }
        signal(&known, Signal::SIGKILL);
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}
