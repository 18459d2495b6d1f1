//! Who has been heard of, and when.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::name::{EndpointName, TaskType};
use tasker_core::store::{Arrived, WorkerSign};

use super::{Conn, now};
use crate::batch::MAX_LIST;
use crate::failure::Failure;
use crate::rows::{EndpointRow, stored};
use crate::schema::endpoints;

pub(super) async fn heartbeats(conn: &mut Conn, signs: &Vec<WorkerSign>) -> Result<(), Failure> {
    let now = now(conn).await?;
    let mut alive: BTreeMap<&TaskType, Vec<&str>> = BTreeMap::new();
    for sign in signs {
        alive
            .entry(&sign.task_type)
            .or_default()
            .push(sign.endpoint.as_str());
    }
    let mut is_any_new = false;
    for (task_type, mut names) in alive {
        names.sort_unstable();
        names.dedup();
        for part in names.chunks(MAX_LIST) {
            let known = diesel::update(endpoints::table)
                .filter(endpoints::task_type.eq(task_type.as_str()))
                .filter(among!(endpoints.name, part))
                .set(endpoints::last_seen_at.eq(stored(now)))
                .execute(conn)
                .await?;
            is_any_new |= known < part.len();
        }
    }
    if is_any_new {
        let all = signs.iter().map(|sign| (&sign.task_type, &sign.endpoint));
        greet(conn, all, now).await?;
    }
    Ok(())
}

/// An endpoint of a task type.
pub(super) type Worker = (TaskType, EndpointName);

/// The endpoints that this process knows to be written down, so that it need not look for them at every
/// report. No endpoint is ever deleted.
#[derive(Debug, Default)]
pub(super) struct Acquaintances(Mutex<HashSet<Worker>>);

impl Acquaintances {
    fn all(&self) -> MutexGuard<'_, HashSet<Worker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who report and may not be written down.
    pub(super) fn strangers(&self, batch: &[Arrived]) -> Vec<Worker> {
        let all = self.all();
        let workers = batch
            .iter()
            .map(|a| (a.task_type.clone(), a.endpoint.clone()));
        let strangers: HashSet<Worker> = workers.filter(|worker| !all.contains(worker)).collect();
        strangers.into_iter().collect()
    }

    /// They are written down.
    pub(super) fn met(&self, strangers: Vec<Worker>) {
        self.all().extend(strangers);
    }
}

/// Writes down the endpoints that were never heard of before. The others stay as they are.
pub(super) async fn greet<'a>(
    conn: &mut Conn,
    heard: impl Iterator<Item = (&'a TaskType, &'a EndpointName)>,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let mut strangers: BTreeMap<&TaskType, Vec<&EndpointName>> = BTreeMap::new();
    for (task_type, endpoint) in heard {
        strangers.entry(task_type).or_default().push(endpoint);
    }
    for (task_type, mut names) in strangers {
        names.sort_unstable();
        names.dedup();
        for part in names.chunks(MAX_LIST) {
            let known: Vec<String> = endpoints::table
                .filter(endpoints::task_type.eq(task_type.as_str()))
                .filter(among!(
                    endpoints.name,
                    part.iter().map(|name| name.as_str())
                ))
                .select(endpoints::name)
                .load(conn)
                .await?;
            let known: std::collections::HashSet<_> = known.iter().map(String::as_str).collect();
            for name in part.iter().filter(|name| !known.contains(name.as_str())) {
                diesel::insert_or_ignore_into(endpoints::table)
                    .values(EndpointRow::unnamed(task_type, name, stored(now)))
                    .execute(conn)
                    .await?;
            }
        }
    }
    Ok(())
}
