//! Which endpoints are known, by task type: a picture of the ledger that is a few seconds old at
//! most. It decides which way a task travels and which names a strict task type accepts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tasker_core::store::{Store, StoreError};
use tasker_core::{EndpointName, TaskType};
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::outage::Outage;
use crate::pause::{backoff, pause};

const REFRESH_EVERY: Duration = Duration::from_secs(5);

type Known = HashMap<TaskType, Arc<HashSet<EndpointName>>>;

/// The known endpoints.
#[derive(Debug, Default)]
pub(crate) struct Fleet(Mutex<(Known, Option<Instant>)>);

impl Fleet {
    fn picture(&self) -> MutexGuard<'_, (Known, Option<Instant>)> {
        // The picture is replaced as a whole; a panic elsewhere leaves it usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many endpoints of the type are known.
    pub(crate) fn count(&self, task_type: &TaskType) -> usize {
        self.picture()
            .0
            .get(task_type)
            .map_or(0, |known| known.len())
    }

    /// The known endpoints of the type.
    pub(crate) fn known(&self, task_type: &TaskType) -> Arc<HashSet<EndpointName>> {
        self.picture().0.get(task_type).cloned().unwrap_or_default()
    }

    /// A worker said hello.
    pub(crate) fn note(&self, task_type: &TaskType, endpoint: &EndpointName) {
        let mut picture = self.picture();
        let known = picture.0.entry(task_type.clone()).or_default();
        if !known.contains(endpoint) {
            Arc::make_mut(known).insert(endpoint.clone());
        }
    }

    /// Takes a new picture, unless the present one is younger than `max_age`.
    pub(crate) async fn refresh(
        &self,
        store: &dyn Store,
        max_age: Duration,
    ) -> Result<(), StoreError> {
        let taken_at = self.picture().1;
        if taken_at.is_some_and(|at| at.elapsed() < max_age) {
            return Ok(());
        }
        let mut known: HashMap<TaskType, HashSet<EndpointName>> = HashMap::new();
        for endpoint in store.endpoints().await? {
            known
                .entry(endpoint.task_type)
                .or_default()
                .insert(endpoint.name);
        }
        let known = known.into_iter().map(|(t, names)| (t, Arc::new(names)));
        *self.picture() = (known.collect(), Some(Instant::now()));
        Ok(())
    }

    /// Keeps the picture fresh until `stop`.
    pub(crate) async fn keep_fresh(
        &self,
        store: &dyn Store,
        ledger: &Outage,
        stop: &CancellationToken,
    ) {
        let mut backoff = backoff();
        loop {
            let refreshed = self.refresh(store, Duration::ZERO).await;
            ledger.learn(&refreshed);
            let go_on = match refreshed {
                Ok(()) => {
                    backoff.reset();
                    let pause = tokio::time::sleep(REFRESH_EVERY);
                    stop.run_until_cancelled(pause).await.is_some()
                }
                Err(error) => {
                    if !matches!(error, StoreError::Unavailable(_)) {
                        tracing::error!(error = %chain(&error), "the ledger refused to list the endpoints");
                    }
                    pause(&mut backoff, stop).await
                }
            };
            if !go_on {
                return;
            }
        }
    }
}
