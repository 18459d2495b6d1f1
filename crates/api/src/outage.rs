//! One line when something that every loop needs is lost, one when it is back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tasker_core::store::StoreError;

use crate::chain::chain;

/// How long nothing may fail before an absence counts as over. Longer than any loop pauses between
/// its tries: before that, one that would fail again may just not have tried.
const QUIET: Duration = Duration::from_secs(12);

/// Whether the ledger (or the broker) is away, as all loops and requests of the process see it.
#[derive(Debug)]
pub(crate) struct Outage {
    what: &'static str,
    absence: Mutex<Option<Absence>>,
}

#[derive(Debug)]
struct Absence {
    since: Instant,
    /// The first success after the last failure.
    well_since: Option<Instant>,
}

impl Outage {
    /// `what` begins the lines: "the ledger".
    pub(crate) const fn new(what: &'static str) -> Self {
        Self {
            what,
            absence: Mutex::new(None),
        }
    }

    /// It did not answer. Logged if it did before.
    pub(crate) fn lost(&self, error: &dyn std::error::Error) {
        let (what, error) = (self.what, chain(error));
        if self.begins(Instant::now()) {
            tracing::warn!(%error, "{what} does not answer");
        } else {
            tracing::debug!(%error, "{what} still does not answer");
        }
    }

    /// It answered. Logged if it did not before, and nothing has failed for [`QUIET`] since.
    pub(crate) fn back(&self) {
        if let Some(away) = self.ends(Instant::now()) {
            let (what, away_s) = (self.what, away.as_secs());
            tracing::info!(away_s, "{what} answers again");
        }
    }

    /// What an operation of the ledger says about the ledger. What the ledger refused is for the
    /// caller to tell.
    pub(crate) fn learn<T>(&self, result: &Result<T, StoreError>) {
        match result {
            Ok(_) => self.back(),
            Err(error @ StoreError::Unavailable(_)) => self.lost(error),
            Err(_) => {}
        }
    }

    fn begins(&self, now: Instant) -> bool {
        // Replaced as a whole; a panic elsewhere leaves it usable.
        let mut absence = self.absence.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(absence) = absence.as_mut() {
            absence.well_since = None;
            return false;
        }
        *absence = Some(Absence {
            since: now,
            well_since: None,
        });
        true
    }

    /// How long it was away, if that is over now.
    fn ends(&self, now: Instant) -> Option<Duration> {
        let mut absence = self.absence.lock().unwrap_or_else(PoisonError::into_inner);
        let Absence { since, well_since } = absence.as_mut()?;
        let (since, well_since) = (*since, *well_since.get_or_insert(now));
        if now.duration_since(well_since) < QUIET {
            return None;
        }
        *absence = None;
        Some(well_since.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_is_told_when_it_begins_and_when_it_is_over_for_good() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let outage = Outage::new("the ledger");
        assert_eq!(outage.ends(at(0)), None, "it was never away");
        assert!(outage.begins(at(1)));
        assert!((2..20).all(|seconds| !outage.begins(at(seconds))));
        // One loop gets through, another one does not: it is not over.
        assert_eq!(outage.ends(at(20)), None);
        assert!(!outage.begins(at(21)));
        let told: Vec<_> = (22..60).filter_map(|s| outage.ends(at(s))).collect();
        assert_eq!(told, [Duration::from_secs(21)], "once, without the quiet");
        assert!(outage.begins(at(60)), "the next one is told again");
    }

    #[test]
    fn only_an_answer_ends_it_and_only_silence_begins_it() {
        let outage = Outage::new("the ledger");
        let refused = StoreError::Refused {
            operation: "create",
            source: "no".into(),
        };
        outage.learn::<()>(&Err(refused));
        assert!(outage.absence.lock().unwrap().is_none());
        outage.learn::<()>(&Err(StoreError::Unavailable("away".into())));
        assert!(!outage.begins(Instant::now()));
        outage.learn(&Ok(()));
        let absence = outage.absence.lock().unwrap();
        assert!(absence.as_ref().unwrap().well_since.is_some());
    }
}
