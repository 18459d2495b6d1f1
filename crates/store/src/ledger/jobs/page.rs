//! What reads jobs and pages of their logs.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::account::ClientScope;
use tasker_core::callback::CallbackUrl;
use tasker_core::jobs::{Bound, Change, From, Heads, Job, JobStatus, Page, Request};
use tasker_core::name::{Client, Identifier, TaskType};

use super::Conn;
use crate::failure::Failure;
use crate::rows::{ChangeRow, JobRow, RequestRow, SourceRow, stored};
use crate::schema::{job_changes, job_requests, job_sources, jobs};

pub(super) async fn job(
    conn: &mut Conn,
    (scope, datasource, name): &(ClientScope, TaskType, Identifier),
) -> Result<Option<(Job, Option<CallbackUrl>)>, Failure> {
    let row: Option<JobRow> = jobs::table
        .filter(jobs::datasource.eq(datasource.as_str()))
        .filter(jobs::job.eq(name.as_str()))
        .select(JobRow::as_select())
        .first(conn)
        .await
        .optional()?;
    let Some(row) = row else { return Ok(None) };
    let callback_url = row.callback()?;
    let job = row.decode()?;
    Ok(scope.covers(&job.client).then_some((job, callback_url)))
}

/// Cuts one entry more than a page to a page, and that to its bytes. The first entry always fits.
fn cut<T>(mut rows: Vec<T>, bound: Bound, bytes: impl Fn(&T) -> i64) -> (Vec<T>, bool) {
    let mut room = i64::try_from(bound.bytes).unwrap_or(i64::MAX);
    let fits = rows
        .iter()
        .take(bound.entries as usize)
        .enumerate()
        .take_while(|(i, row)| {
            room = room.saturating_sub(bytes(row));
            *i == 0 || room >= 0
        })
        .count();
    let is_more = rows.len() > fits;
    rows.truncate(fits);
    (rows, is_more)
}

fn number(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

pub(super) async fn requests(
    conn: &mut Conn,
    (datasource, from, bound): &(TaskType, From, Bound),
) -> Result<Page<Request>, Failure> {
    let bound = bound.sane();
    let of = job_requests::table
        .filter(job_requests::datasource.eq(datasource.as_str()))
        .select(RequestRow::as_select())
        .limit(i64::from(bound.entries) + 1);
    // Numbers and times rise together; each way has its index.
    let rows: Vec<RequestRow> = match from {
        From::After(last) => {
            of.filter(job_requests::sequence.gt(number(*last)))
                .order(job_requests::sequence)
                .load(conn)
                .await?
        }
        From::Time(at) => {
            of.filter(job_requests::at.ge(stored(*at)))
                .order(job_requests::at)
                .load(conn)
                .await?
        }
    };
    let (rows, is_more) = cut(rows, bound, |row| row.bytes);
    let entries = with_requests(conn, datasource, rows).await?;
    Ok(Page { entries, is_more })
}

pub(super) async fn latest(
    conn: &mut Conn,
    datasource: &TaskType,
) -> Result<Option<Request>, Failure> {
    let row: Option<RequestRow> = job_requests::table
        .filter(job_requests::datasource.eq(datasource.as_str()))
        .order(job_requests::sequence.desc())
        .select(RequestRow::as_select())
        .first(conn)
        .await
        .optional()?;
    let found = with_requests(conn, datasource, row.into_iter().collect()).await?;
    Ok(found.into_iter().next())
}

async fn with_requests(
    conn: &mut Conn,
    datasource: &TaskType,
    rows: Vec<RequestRow>,
) -> Result<Vec<Request>, Failure> {
    let wanted = rows.iter().filter(|row| !row.is_cancel && row.bytes > 0);
    let names: Vec<&str> = wanted.map(|row| row.job.as_str()).collect();
    let mut bodies: HashMap<String, Option<Vec<u8>>> = HashMap::new();
    if !names.is_empty() {
        let found: Vec<(String, Option<Vec<u8>>)> = jobs::table
            .filter(jobs::datasource.eq(datasource.as_str()))
            .filter(jobs::job.eq_any(names))
            .select((jobs::job, jobs::request))
            .load(conn)
            .await?;
        bodies.extend(found);
    }
    rows.into_iter()
        .map(|row| {
            let body = if row.is_cancel {
                None
            } else {
                bodies.remove(&row.job).flatten()
            };
            row.decode(body)
        })
        .collect()
}

pub(super) async fn changes(
    conn: &mut Conn,
    (datasource, client, after, bound): &(TaskType, Client, u64, Bound),
) -> Result<Page<Change>, Failure> {
    let bound = bound.sane();
    let rows: Vec<ChangeRow> = job_changes::table
        .filter(job_changes::datasource.eq(datasource.as_str()))
        .filter(job_changes::client.eq(client.as_str()))
        .filter(job_changes::sequence.gt(number(*after)))
        .order(job_changes::sequence)
        .limit(i64::from(bound.entries) + 1)
        .select(ChangeRow::as_select())
        .load(conn)
        .await?;
    let (rows, is_more) = cut(rows, bound, |row| row.bytes);
    let complete = JobStatus::Complete.code();
    let wanted = rows
        .iter()
        .filter(|row| row.status == complete && row.bytes > 0);
    let names: Vec<&str> = wanted.map(|row| row.job.as_str()).collect();
    let mut bodies: HashMap<String, Option<Vec<u8>>> = HashMap::new();
    if !names.is_empty() {
        let found: Vec<(String, Option<Vec<u8>>)> = jobs::table
            .filter(jobs::datasource.eq(datasource.as_str()))
            .filter(jobs::job.eq_any(names))
            .select((jobs::job, jobs::response))
            .load(conn)
            .await?;
        bodies.extend(found);
    }
    let entries = rows.into_iter().map(|row| {
        let body = if row.status == complete {
            bodies.remove(&row.job).flatten()
        } else {
            None
        };
        row.decode(body)
    });
    let entries = entries.collect::<Result<_, _>>()?;
    Ok(Page { entries, is_more })
}

pub(super) async fn heads(
    conn: &mut Conn,
    datasources: &[TaskType],
) -> Result<Vec<Heads>, Failure> {
    let names: Vec<&str> = datasources.iter().map(TaskType::as_str).collect();
    let rows: Vec<SourceRow> = job_sources::table
        .filter(job_sources::datasource.eq_any(names))
        .select(SourceRow::as_select())
        .load(conn)
        .await?;
    let known: HashMap<String, SourceRow> = rows
        .into_iter()
        .map(|row| (row.datasource.clone(), row))
        .collect();
    let head = |datasource: &TaskType| {
        known
            .get(datasource.as_str())
            .map_or_else(Heads::default, |row| Heads {
                requests: row.requests.unsigned_abs(),
                changes: row.changes.unsigned_abs(),
            })
    };
    Ok(datasources.iter().map(head).collect())
}
