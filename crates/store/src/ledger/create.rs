//! Step 3 of the line, store: a batch of tasks, in one transaction.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::id::{ProcessId, TaskId};
use tasker_core::name::{Client, Identifier, TaskType};
use tasker_core::store::{Created, StoreError, Timing};
use tasker_core::task::{NewTask, Task};

use super::door::Access;
use super::{Conn, Ledger, insert_tasks, now, unheard};
use crate::batch::MAX_LIST;
use crate::failure::{Failure, raced};
use crate::rows::{NewTaskRow, StoredRow};
use crate::schema::tasks;

/// What the client's idempotency key consists of.
type Key = (Client, TaskType, Identifier);

/// What is constant for the batch.
#[derive(Debug, Clone, Copy)]
struct Terms {
    owner: ProcessId,
    timing: Timing,
}

fn key(task: &NewTask) -> Key {
    (
        task.client.clone(),
        task.task_type.clone(),
        task.identifier.clone(),
    )
}

impl Ledger {
    pub(super) async fn create_batch(
        &self,
        batch: Vec<NewTask>,
        owner: ProcessId,
    ) -> Result<Vec<Created>, StoreError> {
        let name = "create";
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let terms = Terms {
            owner,
            timing: self.timing,
        };
        let batch = std::sync::Arc::new(batch);
        // Nearly always all are new, and the database says so when they are inserted.
        for look in [Look::No, Look::Yes] {
            let input = (batch.clone(), terms, look);
            let together = self
                .try_run(name, Access::Write, input, |conn, (batch, terms, look)| {
                    Box::pin(create(conn, batch, *terms, *look))
                })
                .await;
            if !matches!(together, Err(Failure::Collided)) {
                return together.map_err(|failure| failure.into_store_error(name));
            }
        }
        // Another process stored one of these keys meanwhile. By itself each task finds out.
        let mut results = Vec::with_capacity(batch.len());
        for task in batch.iter() {
            let alone = [task.clone()];
            let created = self
                .run(name, Access::Write, (alone, terms), |conn, input| {
                    Box::pin(create(conn, &input.0, input.1, Look::Yes))
                })
                .await?;
            results.extend(created);
        }
        Ok(results)
    }
}

/// Whether to look for what is stored already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    No,
    Yes,
}

async fn create(
    conn: &mut Conn,
    batch: &[NewTask],
    terms: Terms,
    look: Look,
) -> Result<Vec<Created>, Failure> {
    let mut known = match look {
        Look::No => HashMap::new(),
        Look::Yes => find_known(conn, batch).await?,
    };
    let mut first_of_key: HashMap<Key, usize> = HashMap::new();
    for (i, task) in batch.iter().enumerate() {
        let key = key(task);
        if !known.contains_key(&key) {
            first_of_key.entry(key).or_insert(i);
        }
    }
    let mut fresh: Vec<usize> = first_of_key.into_values().collect();
    fresh.sort_unstable();
    let stored = store(conn, batch, &fresh, terms).await;
    let stored = stored.map_err(|failure| match failure {
        // A task alone that was looked for in vain is looked for again.
        Failure::Raced if look == Look::No || batch.len() > 1 => Failure::Collided,
        failure => failure,
    });
    for (i, task) in fresh.iter().zip(stored?) {
        known.insert(key(&batch[*i]), (task, batch[*i].body_hash.to_vec()));
    }
    let mut results = Vec::with_capacity(batch.len());
    for (i, new) in batch.iter().enumerate() {
        let Some((task, hash)) = known.get(&key(new)) else {
            return Err(Failure::Corrupt {
                table: "tasks",
                what: format!("task {} was stored and is not there", new.uid),
            });
        };
        results.push(if fresh.binary_search(&i).is_ok() {
            Created::New(task.clone())
        } else if hash[..] == new.body_hash[..] {
            Created::Same(task.clone())
        } else {
            Created::Reused
        });
    }
    Ok(results)
}

/// The stored tasks that have a key of the batch, with the hashes of their requests.
async fn find_known(
    conn: &mut Conn,
    batch: &[NewTask],
) -> Result<HashMap<Key, (Task, Vec<u8>)>, Failure> {
    let mut groups: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
    for task in batch {
        groups
            .entry((task.client.as_str(), task.task_type.as_str()))
            .or_default()
            .push(task.identifier.as_str());
    }
    let mut known = HashMap::new();
    for ((client, task_type), identifiers) in groups {
        for part in identifiers.chunks(MAX_LIST) {
            let rows: Vec<StoredRow> = tasks::table
                .filter(tasks::client.eq(client))
                .filter(tasks::task_type.eq(task_type))
                .filter(among!(tasks.identifier, part))
                .select(StoredRow::as_select())
                .load(conn)
                .await?;
            for row in rows {
                let (task, hash) = row.decode()?;
                let head = &task.head;
                let key = (
                    head.client.clone(),
                    head.task_type.clone(),
                    head.identifier.clone(),
                );
                known.insert(key, (task, hash));
            }
        }
    }
    Ok(known)
}

/// Inserts these tasks of the batch.
async fn store(
    conn: &mut Conn,
    batch: &[NewTask],
    fresh: &[usize],
    terms: Terms,
) -> Result<Vec<Task>, Failure> {
    if fresh.is_empty() {
        return Ok(Vec::new());
    }
    let now = now(conn).await?;
    let mut rows = Vec::with_capacity(fresh.len());
    let mut stored = Vec::with_capacity(fresh.len());
    for &i in fresh {
        let (row, task) = NewTaskRow::new(&batch[i], now, &terms.timing, terms.owner)?;
        rows.push(row);
        stored.push(task);
    }
    insert_tasks(conn, rows).await.map_err(raced)?;
    let ids = find_ids(conn, &stored).await?;
    for task in &mut stored {
        let Some(id) = ids.get(task.head.uid.0.as_bytes().as_slice()) else {
            return Err(Failure::Corrupt {
                table: "tasks",
                what: format!("task {} was stored and is not there", task.head.uid),
            });
        };
        task.head.id = *id;
    }
    if terms.timing.rows_after.is_zero() {
        let heads = stored.iter_mut().map(|task| &mut task.head);
        unheard::write_down(conn, heads, now, terms.timing.ask_every).await?;
    }
    Ok(stored)
}

async fn find_ids(conn: &mut Conn, stored: &[Task]) -> Result<HashMap<Vec<u8>, TaskId>, Failure> {
    let mut ids = HashMap::with_capacity(stored.len());
    for part in stored.chunks(MAX_LIST) {
        let uids: Vec<&[u8]> = part
            .iter()
            .map(|t| t.head.uid.0.as_bytes().as_slice())
            .collect();
        let rows: Vec<(Vec<u8>, TaskId)> = tasks::table
            .filter(among!(tasks.uid, uids))
            .select((tasks::uid, tasks::id))
            .load(conn)
            .await?;
        ids.extend(rows);
    }
    Ok(ids)
}
