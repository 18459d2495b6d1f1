//! Step 6, claim: items become journal records, durable before the delivery is acknowledged, and
//! effects, which follow.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use tasker_core::task::RunPolicy;
use tasker_core::wire::{CancelEntry, Entry, RefusalReason, Report, Welcome};
use tasker_core::{BootId, ResponseState, TaskUid, errnr};

use crate::journal::{HadBefore, Index, Phase, Record, Tombstone, unix_ms};
use crate::take::{Item, Refusal, rejected};

/// No task lives longer than 30 days; a day on top for clocks.
const LONGEST_LIFE: TimeDelta = TimeDelta::days(31);

/// What follows once the records are on the disk.
#[derive(Debug)]
pub(crate) enum Effect {
    /// It is queued, and RECEIVED is reported. Queueing what is queued already changes nothing.
    Queue {
        uid: TaskUid,
        attempt: u32,
        run_policy: RunPolicy,
    },
    /// Its present state is reported.
    Answer(TaskUid),
    /// This is reported.
    Say(Report),
    /// It is withdrawn or stopped.
    Cancel(TaskUid),
    /// The gate opens.
    Open(DateTime<Utc>),
}

/// What a batch of items leads to.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    pub(crate) records: Vec<Record>,
    pub(crate) effects: Vec<Effect>,
    /// What of it is not run.
    pub(crate) refused: Vec<RefusalReason>,
    /// What earlier items of the batch did: the attempt, and whether it was cancelled.
    seen: HashMap<TaskUid, Seen>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    attempt: u32,
    is_cancelled: bool,
}

/// Decides over a batch. `now` is the ledger's clock, if it is known: nothing is refused by any other,
/// what waits is looked at again before it starts.
pub(crate) fn decide(
    index: &Index,
    boot: BootId,
    now: Option<DateTime<Utc>>,
    items: Vec<Item>,
) -> Claims {
    let mut claims = Claims::default();
    for item in items {
        match item {
            Item::Refused(report) => claims.say(report),
            Item::Nameless => claims.refused.push(RefusalReason::BadEntry),
            Item::Task(entry, refusal) => claims.task(index, now, entry, refusal),
            Item::Cancel(cancel) => claims.cancel(index, cancel),
            // A welcome to an earlier start says nothing about this one.
            Item::Welcome(welcome) if welcome.boot == boot => claims.welcome(index, welcome),
            Item::Welcome(_) => {}
        }
    }
    claims
}

impl Claims {
    fn seen(&self, index: &Index, uid: TaskUid) -> Seen {
        self.seen.get(&uid).copied().unwrap_or_else(|| {
            index.get(uid).map_or(Seen::default(), |known| Seen {
                attempt: known.attempt,
                is_cancelled: known.is_cancelled,
            })
        })
    }

    /// Answers for what is not run.
    fn say(&mut self, report: Report) {
        let reason = report.errnr.and_then(RefusalReason::of_errnr);
        self.refused.extend(reason);
        self.effects.push(Effect::Say(report));
    }

    fn task(
        &mut self,
        index: &Index,
        now: Option<DateTime<Utc>>,
        entry: Entry,
        refusal: Option<Refusal>,
    ) {
        let Entry {
            uid,
            attempt,
            run_policy,
            ..
        } = entry;
        let seen = self.seen(index, uid);
        if attempt <= seen.attempt {
            let known = index.get(uid);
            let is_replay = known.is_some_and(|known| known.phase == Phase::Had);
            self.refused.push(if is_replay {
                RefusalReason::Replayed
            } else {
                RefusalReason::Known
            });
            if let Some(known) = known.filter(|known| known.phase == Phase::Claimed) {
                // If the effects of the claim were lost to a failing disk, this makes up for it.
                let (attempt, run_policy) = (known.attempt, known.run_policy);
                self.effects.push(Effect::Queue {
                    uid,
                    attempt,
                    run_policy,
                });
            } else {
                self.effects.push(Effect::Answer(uid));
            }
            return;
        }
        if seen.is_cancelled {
            self.say(cancelled(uid, attempt));
            return;
        }
        let refusal = refusal.or_else(|| {
            let is_over = now.is_some_and(|now| entry.expires_at <= now);
            is_over.then(|| Refusal {
                errnr: errnr::EXPIRED,
                errmsg: expired(entry.expires_at),
            })
        });
        let record = match Record::claim(attempt, &entry.task, unix_ms()) {
            Ok(record) => record,
            Err(error) => {
                let errmsg = error.to_string();
                let refusal = Refusal {
                    errnr: errnr::BAD_ENTRY,
                    errmsg,
                };
                self.say(rejected(uid, attempt, refusal));
                return;
            }
        };
        if let Some(refusal) = refusal {
            self.say(rejected(uid, attempt, refusal));
            return;
        }
        self.records.push(record);
        self.effects.push(Effect::Queue {
            uid,
            attempt,
            run_policy,
        });
        self.seen.insert(
            uid,
            Seen {
                attempt,
                is_cancelled: false,
            },
        );
    }

    fn cancel(&mut self, index: &Index, cancel: CancelEntry) {
        let CancelEntry { uid, expires_at } = cancel;
        let seen = self.seen(index, uid);
        // Also for what has ended: a later attempt of it may be on its way.
        if !seen.is_cancelled {
            let at = unix_ms();
            self.records.push(Record::Tombstone(Tombstone {
                uid,
                expires_at,
                at,
            }));
            self.seen.insert(
                uid,
                Seen {
                    is_cancelled: true,
                    ..seen
                },
            );
        }
        self.effects.push(Effect::Cancel(uid));
    }

    fn welcome(&mut self, index: &Index, welcome: Welcome) {
        if !welcome.had.is_empty() {
            for had in &welcome.had {
                let seen = self.seen(index, had.uid);
                let attempt = seen.attempt.max(had.attempt);
                self.seen.insert(had.uid, Seen { attempt, ..seen });
            }
            self.records.push(Record::Had(HadBefore {
                had: welcome.had,
                until: welcome.now + LONGEST_LIFE,
            }));
        }
        for cancel in welcome.cancelled {
            self.cancel(index, cancel);
        }
        if !welcome.more {
            self.records.push(Record::Welcomed { now: welcome.now });
            self.effects.push(Effect::Open(welcome.now));
        }
    }
}

/// The text of a task that can no longer start.
pub(crate) fn expired(at: DateTime<Utc>) -> String {
    format!("expired at {}", at.format("%F %T UTC"))
}

/// The report of a task that was cancelled before it came; `attempt` 0 if it has not come at all.
pub(crate) fn cancelled(uid: TaskUid, attempt: u32) -> Report {
    Report {
        errnr: Some(errnr::CANCELLED),
        errmsg: errnr::meaning(errnr::CANCELLED).map(str::to_owned),
        ..Report::plain(uid, attempt, 0, ResponseState::Cancelled)
    }
}
