//! What the journal says, in memory: one small entry a task. Tasks and replies stay in the file.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tasker_core::purge::JOURNAL_MEMORY;
use tasker_core::task::RunPolicy;
use tasker_core::{ResponseState, TaskUid};

use super::frame::Span;
use super::record::{Record, claimed, unix_ms};

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Claimed, not started, or given back by an orderly stop.
    Claimed,
    /// START without END.
    Started,
    /// Over.
    Ended(ResponseState),
    /// An earlier journal had it. It is not run up to that attempt.
    Had,
    /// Cancelled before it came.
    Tombstone,
}

/// What is known of a task.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) attempt: u32,
    /// The last started run of the attempt; 0 before the first.
    pub(crate) run: u32,
    /// How many runs of the attempt died with their worker.
    pub(crate) cut_off: u32,
    pub(crate) phase: Phase,
    pub(crate) is_cancelled: bool,
    /// Whether the broker confirmed the report of the end.
    pub(crate) is_reported: bool,
    /// Whether an older attempt was running when this one was claimed.
    pub(crate) overtook_a_run: bool,
    pub(crate) run_policy: RunPolicy,
    pub(crate) timeout_s: u32,
    pub(crate) expires_at: DateTime<Utc>,
    /// When the phase was reached.
    pub(crate) since: Instant,
    /// The place in the order of claims.
    pub(crate) order: u64,
    pub(super) claim: Option<Span>,
    pub(super) end: Option<Span>,
}

impl Known {
    /// Whether it is still to be run, or running.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Claimed | Phase::Started)
    }

    /// How many bytes the record of its end has; 0 before.
    pub(crate) const fn end_bytes(&self) -> usize {
        match self.end {
            Some(span) => span.len as usize,
            None => 0,
        }
    }

    const fn weight(&self) -> u64 {
        match self.claim {
            Some(span) if self.is_open() => span.len as u64,
            _ => 0,
        }
    }
}

/// Everything that is known, with the totals that bound the claim window.
#[derive(Debug, Default)]
pub(crate) struct Index {
    tasks: HashMap<TaskUid, Known>,
    open_tasks: usize,
    open_bytes: u64,
    orders: u64,
    /// The ledger's clock in the last welcome, and when that was read.
    welcomed: Option<(DateTime<Utc>, Instant)>,
}

impl Index {
    /// What is known of a task.
    pub(crate) fn get(&self, uid: TaskUid) -> Option<&Known> {
        self.tasks.get(&uid)
    }

    /// How many tasks are claimed and unfinished.
    pub(crate) const fn open_tasks(&self) -> usize {
        self.open_tasks
    }

    /// How many bytes these tasks have.
    pub(crate) const fn open_bytes(&self) -> u64 {
        self.open_bytes
    }

    /// The ledger's clock, or a time before it: a welcome that was read from the file may be old. Not
    /// taken from the endpoint's own clock, so that nothing is forgotten early if that is wrong.
    pub(crate) fn ledger_now(&self) -> Option<DateTime<Utc>> {
        let (now, read) = self.welcomed?;
        Some(now + TimeDelta::from_std(read.elapsed()).ok()?)
    }

    /// All tasks, oldest claim first.
    pub(crate) fn in_order(&self) -> Vec<(TaskUid, &Known)> {
        let mut all: Vec<_> = self
            .tasks
            .iter()
            .map(|(uid, known)| (*uid, known))
            .collect();
        all.sort_unstable_by_key(|(_, known)| known.order);
        all
    }

    /// Takes in a record that is on the disk at `span`.
    pub(super) fn apply(&mut self, record: Record, span: Span) {
        match record {
            Record::Head(_) | Record::Probe => {}
            Record::Welcomed { now } => self.welcomed = Some((now, Instant::now())),
            Record::Claim(claim) => {
                let Some(task) = claimed(&claim) else { return };
                let older = self.tasks.get(&task.uid);
                if older.is_some_and(|known| known.attempt >= claim.attempt) {
                    return;
                }
                let known = Known {
                    attempt: claim.attempt,
                    run_policy: task.run_policy,
                    timeout_s: task.timeout_s,
                    is_cancelled: older.is_some_and(|known| known.is_cancelled),
                    overtook_a_run: older
                        .is_some_and(|known| known.phase == Phase::Started || known.overtook_a_run),
                    claim: Some(span),
                    ..self.blank(Phase::Claimed, task.expires_at, claim.at)
                };
                self.put(task.uid, known);
            }
            Record::Start(start) => self.change_open(start.uid, start.attempt, |known| {
                known.phase = Phase::Started;
                known.run = start.run;
                known.cut_off = start.cut_off;
                known.since = instant_of(start.at);
            }),
            Record::Released(released) => {
                self.change_open(released.uid, released.attempt, |known| {
                    known.phase = Phase::Claimed;
                    known.run = released.run;
                    known.cut_off = released.cut_off;
                });
            }
            Record::End(end) => {
                let older = self.tasks.get(&end.uid);
                // Of an attempt that a later one has replaced, or that has ended already.
                let is_over = |known: &Known| {
                    known.attempt > end.attempt
                        || (known.attempt == end.attempt && matches!(known.phase, Phase::Ended(_)))
                };
                if older.is_some_and(is_over) {
                    return;
                }
                let known = Known {
                    attempt: end.attempt,
                    run: end.run,
                    is_cancelled: older.is_some_and(|known| known.is_cancelled),
                    order: older.map_or(self.orders, |known| known.order),
                    end: Some(span),
                    ..self.blank(Phase::Ended(end.state), end.expires_at, end.at)
                };
                self.put(end.uid, known);
            }
            Record::Reported { uid, attempt } => {
                let known = self
                    .tasks
                    .get_mut(&uid)
                    .filter(|known| known.attempt == attempt);
                if let Some(known) = known.filter(|known| matches!(known.phase, Phase::Ended(_))) {
                    known.is_reported = true;
                }
            }
            Record::Tombstone(tombstone) => {
                if let Some(known) = self.tasks.get(&tombstone.uid) {
                    let mut known = known.clone();
                    known.is_cancelled = true;
                    // A retry may have given the task a longer life than the attempt had.
                    known.expires_at = known.expires_at.max(tombstone.expires_at);
                    self.put(tombstone.uid, known);
                } else {
                    let known = Known {
                        is_cancelled: true,
                        ..self.blank(Phase::Tombstone, tombstone.expires_at, tombstone.at)
                    };
                    self.put(tombstone.uid, known);
                }
            }
            Record::Had(before) => {
                for had in before.had {
                    let older = self.tasks.get(&had.uid);
                    let is_newer = older.is_some_and(|known| {
                        known.attempt > had.attempt
                            || matches!(known.phase, Phase::Started | Phase::Ended(_))
                    });
                    if is_newer {
                        continue;
                    }
                    let known = Known {
                        attempt: had.attempt,
                        is_cancelled: older.is_some_and(|known| known.is_cancelled),
                        ..self.blank(Phase::Had, before.until, unix_ms())
                    };
                    self.put(had.uid, known);
                }
            }
        }
    }

    /// Forgets tasks whose expiry is so long ago that no delivery can come any more, and whose end
    /// has been reported. `now` is the ledger's clock or earlier.
    pub(super) fn prune(&mut self, now: DateTime<Utc>) {
        self.tasks.retain(|_, known| {
            let is_untold = matches!(known.phase, Phase::Ended(_)) && !known.is_reported;
            known.is_open() || is_untold || known.expires_at + JOURNAL_MEMORY > now
        });
    }

    /// Where a record of the file went when the file was written anew.
    pub(super) fn moved(&mut self, uid: TaskUid, claim: Option<Span>, end: Option<Span>) {
        if let Some(known) = self.tasks.get_mut(&uid) {
            known.claim = claim;
            known.end = end;
        }
    }

    /// The record of an end cannot be read any more.
    pub(super) fn lost_end(&mut self, uid: TaskUid) {
        if let Some(known) = self.tasks.get_mut(&uid) {
            known.end = None;
        }
    }

    fn blank(&self, phase: Phase, expires_at: DateTime<Utc>, at: i64) -> Known {
        Known {
            attempt: 0,
            run: 0,
            cut_off: 0,
            phase,
            is_cancelled: false,
            is_reported: false,
            overtook_a_run: false,
            run_policy: RunPolicy::Once,
            timeout_s: 0,
            expires_at,
            since: instant_of(at),
            order: self.orders,
            claim: None,
            end: None,
        }
    }

    /// Changes an attempt that is not over and was not replaced.
    fn change_open(&mut self, uid: TaskUid, attempt: u32, change: impl FnOnce(&mut Known)) {
        let Some(known) = self.tasks.get(&uid) else {
            return;
        };
        if known.attempt == attempt && known.is_open() {
            let mut known = known.clone();
            change(&mut known);
            self.put(uid, known);
        }
    }

    fn put(&mut self, uid: TaskUid, known: Known) {
        self.orders += 1;
        self.open_tasks += usize::from(known.is_open());
        self.open_bytes += known.weight();
        if let Some(old) = self.tasks.insert(uid, known) {
            self.open_tasks -= usize::from(old.is_open());
            self.open_bytes -= old.weight();
        }
    }
}

/// The monotonic time of a moment by the endpoint's clock, not later than now. A clock that was set
/// in between makes an age wrong, never a decision.
fn instant_of(at: i64) -> Instant {
    let now = Instant::now();
    let age = Duration::from_millis(u64::try_from(unix_ms() - at).unwrap_or(0));
    now.checked_sub(age).unwrap_or(now)
}
