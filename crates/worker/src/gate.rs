//! When the first run after a start may begin, and what time it is at the ledger.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tasker_core::task::RunPolicy;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
struct Welcomed {
    now: DateTime<Utc>,
    at: Instant,
}

impl Welcomed {
    fn by_now(self) -> DateTime<Utc> {
        self.now + TimeDelta::from_std(self.at.elapsed()).unwrap_or_default()
    }
}

/// Shut at the start; opened by the welcome or, with less trust, by the end of patience.
#[derive(Debug)]
pub(crate) struct Gate {
    /// What the journal says of an earlier welcome; none if it had never been welcomed when the worker
    /// started.
    before: Option<Welcomed>,
    patience_ends: Instant,
    welcomed: Mutex<Option<Welcomed>>,
}

impl Gate {
    /// `last_welcome` is the ledger's clock in the last welcome that the journal knows: an earlier time
    /// than now, by that clock.
    pub(crate) fn new(last_welcome: Option<DateTime<Utc>>, patience: Duration) -> Self {
        let at = Instant::now();
        Self {
            before: last_welcome.map(|now| Welcomed { now, at }),
            patience_ends: at + patience,
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
        self.before.is_none() && !self.is_welcomed()
    }

    /// Whether a task of this policy may start now.
    pub(crate) fn may_start(&self, policy: RunPolicy) -> bool {
        if self.is_welcomed() {
            return true;
        }
        let is_patience_over = Instant::now() >= self.patience_ends;
        is_patience_over && (self.before.is_some() || policy == RunPolicy::Idempotent)
    }

    /// When [`may_start`](Self::may_start) changes by itself.
    pub(crate) const fn patience_ends(&self) -> Instant {
        self.patience_ends
    }

    /// The ledger's clock: that of the welcome and what has passed since, by a clock that nobody
    /// sets. `None` before the welcome.
    pub(crate) fn ledger_now(&self) -> Option<DateTime<Utc>> {
        Some(self.welcomed()?.by_now())
    }

    /// The ledger's clock. Before the welcome the endpoint's own, unless it is behind what the ledger
    /// said to an earlier start: a host may have no clock, and what is over stays over.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.ledger_now().unwrap_or_else(|| {
            let own = Utc::now();
            self.before.map_or(own, |before| own.max(before.by_now()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RunPolicy::{Idempotent, Once};

    #[test]
    fn a_journal_that_was_never_welcomed_keeps_once_back_without_limit() {
        let fresh = Gate::new(None, Duration::ZERO);
        assert!(fresh.is_fresh() && fresh.may_start(Idempotent) && !fresh.may_start(Once));
        fresh.welcome(Utc::now());
        assert!(!fresh.is_fresh() && fresh.may_start(Once));
    }

    #[test]
    fn patience_opens_for_a_known_journal() {
        let patient = Gate::new(Some(Utc::now()), Duration::from_secs(3600));
        assert!(!patient.is_fresh() && !patient.may_start(Idempotent) && !patient.may_start(Once));
        let impatient = Gate::new(Some(Utc::now()), Duration::ZERO);
        assert!(impatient.may_start(Idempotent) && impatient.may_start(Once));
    }

    #[test]
    fn the_clock_is_the_ledgers() {
        let (day, minute) = (TimeDelta::days(1), TimeDelta::minutes(1));
        let is = |gate: &Gate, time| gate.now() >= time && gate.now() < time + minute;
        let own = Utc::now();
        assert!(is(&Gate::new(None, Duration::ZERO), own));
        assert!(is(&Gate::new(Some(own - day), Duration::ZERO), own));
        let gate = Gate::new(Some(own + day), Duration::ZERO);
        assert!(is(&gate, own + day) && gate.ledger_now().is_none());
        // Its present word counts, also if it takes back an earlier one.
        for ledger in [own + day * 400, own - day * 400] {
            gate.welcome(ledger);
            assert!(is(&gate, ledger));
        }
    }
}
