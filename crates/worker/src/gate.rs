//! When the first run after a start may begin, and what time it is at the ledger.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tasker_core::task::RunPolicy;

#[derive(Debug, Clone, Copy)]
struct Welcomed {
    now: DateTime<Utc>,
    at: Instant,
}

/// Shut at the start; opened by the welcome or, with less trust, by the end of patience.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Whether the journal had ever been welcomed when the worker started.
    was_welcomed: bool,
    patience_ends: Instant,
    welcomed: Mutex<Option<Welcomed>>,
}

impl Gate {
    pub(crate) fn new(was_welcomed: bool, patience: Duration) -> Self {
        Self {
            was_welcomed,
            patience_ends: Instant::now() + patience,
            welcomed: Mutex::new(None),
        }
    }

    /// Notes the last part of a welcome.
    pub(crate) fn welcome(&self, now: DateTime<Utc>) {
        let at = Instant::now();
        *self.welcomed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Welcomed { now, at });
    }

    fn welcomed(&self) -> Option<Welcomed> {
        *self.welcomed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this start was welcomed.
    pub(crate) fn is_welcomed(&self) -> bool {
        self.welcomed().is_some()
    }

    /// Whether the ledger may know tasks of this endpoint that the journal does not: then nothing is
    /// reported before the welcome, so that `had` cannot mean this journal's own claims.
    pub(crate) fn is_fresh(&self) -> bool {
        !self.was_welcomed && !self.is_welcomed()
    }

    /// Whether a task of this policy may start now.
    pub(crate) fn may_start(&self, policy: RunPolicy) -> bool {
        if self.is_welcomed() {
            return true;
        }
        let is_patience_over = Instant::now() >= self.patience_ends;
        is_patience_over && (self.was_welcomed || policy == RunPolicy::Idempotent)
    }

    /// When [`may_start`](Self::may_start) changes by itself.
    pub(crate) const fn patience_ends(&self) -> Instant {
        self.patience_ends
    }

    /// The ledger's clock: that of the welcome and what has passed since, by a clock that nobody
    /// sets. `None` before the welcome.
    pub(crate) fn ledger_now(&self) -> Option<DateTime<Utc>> {
        let welcomed = self.welcomed()?;
        Some(welcomed.now + TimeDelta::from_std(welcomed.at.elapsed()).unwrap_or_default())
    }

    /// The ledger's clock; before the welcome the endpoint's own.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.ledger_now().unwrap_or_else(Utc::now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RunPolicy::{Idempotent, Once};

    #[test]
    fn a_journal_that_was_never_welcomed_keeps_once_back_without_limit() {
        let fresh = Gate::new(false, Duration::ZERO);
        assert!(fresh.is_fresh() && fresh.may_start(Idempotent) && !fresh.may_start(Once));
        fresh.welcome(Utc::now());
        assert!(!fresh.is_fresh() && fresh.may_start(Once));
    }

    #[test]
    fn patience_opens_for_a_known_journal() {
        let patient = Gate::new(true, Duration::from_secs(3600));
        assert!(!patient.is_fresh() && !patient.may_start(Idempotent) && !patient.may_start(Once));
        let impatient = Gate::new(true, Duration::ZERO);
        assert!(impatient.may_start(Idempotent) && impatient.may_start(Once));
    }

    #[test]
    fn the_clock_is_the_ledgers() {
        let gate = Gate::new(true, Duration::ZERO);
        let ledger = Utc::now() + TimeDelta::days(400);
        gate.welcome(ledger);
        assert!(gate.now() >= ledger && gate.now() < ledger + TimeDelta::minutes(1));
    }
}
