//! Runs of endpoints that have gone silent.

use std::collections::BTreeSet;
use std::time::Duration;

use tasker_core::errnr;
use tasker_core::state::ResponseState;

use super::locked::{Settled, load_under_way, lock_tasks, settle_and_save};
use super::{Conn, now, open, save_responses};
use crate::batch::at_most;
use crate::failure::Failure;
use crate::rows::{span, stored};

pub(super) async fn presume_lost(
    conn: &mut Conn,
    (limit, lost_after): &(u32, Duration),
) -> Result<(Settled, bool), Failure> {
    let now = now(conn).await?;
    let limit = at_most(*limit);
    let silent_since = stored(now - span(*lost_after));
    let mut found = open::silent(conn, silent_since, limit + 1).await?;
    let is_more_due = found.len() > limit;
    found.truncate(limit);
    let (ids, of_tasks): (Vec<_>, Vec<_>) = found.iter().map(|row| (row.id, row.task_id)).unzip();
    let mut tasks = lock_tasks(conn, of_tasks).await?;
    let (mut touched, mut changed) = (BTreeSet::new(), Vec::new());
    for mut row in load_under_way(conn, &ids).await? {
        let Some(task) = tasks.get_mut(&row.body.task_id) else {
            continue;
        };
        // It may have reported between the search and the lock.
        if row.body.last_modified_at > silent_since {
            continue;
        }
        let from = row.body.state()?;
        row.body.state = ResponseState::Interrupted.code();
        row.body.presumed = true;
        row.body.errnr = Some(errnr::LOST_CONTACT);
        row.body.errmsg = errnr::meaning(errnr::LOST_CONTACT).map(str::to_owned);
        row.body.finished_at = Some(stored(now));
        row.body.last_modified_at = stored(now);
        // If it is back before the task is over, it may know better: the broker may have lost its word.
        row.body.ask_at = Some(stored(now));
        if row.body.expected {
            task.counts.step(from, ResponseState::Interrupted);
        }
        touched.insert(task.id);
        changed.push(row);
    }
    save_responses(conn, changed).await?;
    let mut settled = Settled::new();
    let touched = tasks.values_mut().filter(|task| touched.contains(&task.id));
    settle_and_save(conn, touched, now, false, &mut settled).await?;
    Ok((settled, is_more_due))
}
