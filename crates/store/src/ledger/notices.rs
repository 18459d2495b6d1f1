//! Completions that are to be told: stored with what they tell of, taken by lease, noted.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::id::TaskId;
use tasker_core::notice::{
    Answer, Errand, MAX_ERROR_CHARS, MAX_TRIES, NewNotice, Notice, NoticeState, Notices, Subject,
    TakeOrder,
};
use tasker_core::store::StoreError;

use super::door::Access::{Look, Read, Write};
use super::{Conn, Ledger, insert_notices, now};
use crate::batch::at_most;
use crate::failure::Failure;
use crate::rows::{ErrandRow, NewNoticeRow, NoticeRow, int, span, stored};
use crate::schema::notices;

#[async_trait]
impl Notices for Ledger {
    async fn due(&self, limit: u32) -> Result<Vec<String>, StoreError> {
        self.run("due_notices", Read, limit, |conn, limit| {
            Box::pin(due(conn, *limit))
        })
        .await
    }

    async fn take(&self, order: TakeOrder) -> Result<Vec<Errand>, StoreError> {
        self.run("take_notices", Write, order, |conn, order| {
            Box::pin(take(conn, order))
        })
        .await
    }

    async fn note(
        &self,
        errand: &Errand,
        answer: Answer,
        pause: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let input = (errand.clone(), answer, pause);
        self.run("note_notice", Write, input, |conn, input| {
            Box::pin(note(conn, input))
        })
        .await
    }

    async fn last(&self, subject: Subject) -> Result<Option<Notice>, StoreError> {
        self.run("last_notice", Look, subject, |conn, subject| {
            Box::pin(last(conn, subject))
        })
        .await
    }
}

/// Stores notices of what completes in this transaction. Nothing completes without a word to somebody
/// who waits for it, whatever dies; without such a one there is nothing to do.
pub(super) async fn add(
    conn: &mut Conn,
    completed: Vec<NewNotice>,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    if completed.is_empty() {
        return Ok(());
    }
    let rows = completed.iter();
    let rows = rows.map(|notice| NewNoticeRow::new(notice, now)).collect();
    Ok(insert_notices(conn, rows).await?)
}

/// Forgets everything that was to be told of tasks.
pub(super) async fn forget(conn: &mut Conn, tasks: &[TaskId]) -> Result<(), Failure> {
    for task in tasks {
        let (kind, subject) = Subject::Task(*task).code();
        diesel::delete(notices::table)
            .filter(notices::kind.eq(kind))
            .filter(notices::subject.eq(subject))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Forgets everything that was to be told of jobs of a datasource.
pub(super) async fn forget_jobs(
    conn: &mut Conn,
    datasource: &str,
    jobs: &[String],
) -> Result<(), Failure> {
    let of_jobs = notices::table
        .filter(notices::datasource.eq(datasource))
        .filter(notices::job.eq_any(jobs));
    diesel::delete(of_jobs).execute(conn).await?;
    Ok(())
}

/// Goes from host to host in the index, so that a long queue for one costs nothing.
async fn due(conn: &mut Conn, limit: u32) -> Result<Vec<String>, Failure> {
    let (mut found, mut after) = (Vec::new(), String::new());
    let mut time = None;
    for _ in 0..at_most(limit) {
        let next: Option<(Option<String>, Option<NaiveDateTime>)> = notices::table
            .filter(notices::host.gt(&after))
            .order((notices::host, notices::next_try_at))
            .select((notices::host, notices::next_try_at))
            .first(conn)
            .await
            .optional()?;
        let Some((Some(host), at)) = next else {
            break;
        };
        let now = match time {
            Some(now) => now,
            None => *time.insert(stored(now(conn).await?)),
        };
        if at.is_some_and(|at| at <= now) {
            found.push(host.clone());
        }
        after = host;
    }
    Ok(found)
}

async fn take(conn: &mut Conn, order: &TakeOrder) -> Result<Vec<Errand>, Failure> {
    let now = now(conn).await?;
    let mut taken = Vec::new();
    for (host, room) in &order.hosts {
        let rows: Vec<ErrandRow> = lock_what_is_free!(
            notices::table
                .filter(notices::host.eq(host))
                .filter(notices::next_try_at.le(stored(now)))
                .order(notices::next_try_at)
                .limit(at_most(*room) as i64)
                .select(ErrandRow::as_select())
        )
        .load(conn)
        .await?;
        let (over, fresh): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|row| row.tries >= int(MAX_TRIES));
        give_up(conn, &over, now).await?;
        let ids: Vec<i64> = fresh.iter().map(|row| row.id).collect();
        if !ids.is_empty() {
            diesel::update(notices::table.filter(notices::id.eq_any(&ids)))
                .set((
                    notices::tries.eq(notices::tries + 1),
                    notices::owner.eq(order.owner.0.as_bytes().to_vec()),
                    notices::next_try_at.eq(stored(now + span(order.lease))),
                ))
                .execute(conn)
                .await?;
        }
        for row in fresh {
            taken.push(row.decode(order.owner)?);
        }
    }
    Ok(taken)
}

/// Ends notices of which nobody told how their last try went.
async fn give_up(conn: &mut Conn, over: &[ErrandRow], now: DateTime<Utc>) -> Result<(), Failure> {
    if over.is_empty() {
        return Ok(());
    }
    let ids = over.iter().map(|row| row.id);
    diesel::update(notices::table.filter(notices::id.eq_any(ids)))
        .set((
            notices::state.eq(NoticeState::Failed.code()),
            notices::last_error.eq("the process that tried last did not tell how it went"),
            notices::host.eq(None::<String>),
            notices::next_try_at.eq(None::<NaiveDateTime>),
            notices::finished_at.eq(stored(now)),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

async fn note(
    conn: &mut Conn,
    (errand, answer, pause): &(Errand, Answer, Option<Duration>),
) -> Result<bool, Failure> {
    let now = now(conn).await?;
    let error = answer.error.as_ref();
    let error: Option<String> = error.map(|text| text.chars().take(MAX_ERROR_CHARS).collect());
    let status = answer
        .status
        .map(|status| i16::try_from(status).unwrap_or(i16::MAX));
    let mine = notices::table
        .filter(notices::id.eq(errand.id))
        .filter(notices::owner.eq(errand.owner.0.as_bytes().to_vec()))
        .filter(notices::tries.eq(int(errand.try_no)))
        .filter(notices::state.eq(NoticeState::Pending.code()));
    let told = (
        notices::last_status.eq(status),
        notices::last_error.eq(error),
    );
    let next = pause.filter(|_| answer.error.is_some());
    let changed = match next {
        Some(pause) => {
            diesel::update(mine)
                .set((told, notices::next_try_at.eq(stored(now + span(pause)))))
                .execute(conn)
                .await?
        }
        None => {
            let state = match answer.error {
                None => NoticeState::Delivered,
                Some(_) => NoticeState::Failed,
            };
            diesel::update(mine)
                .set((
                    told,
                    notices::state.eq(state.code()),
                    notices::host.eq(None::<String>),
                    notices::next_try_at.eq(None::<NaiveDateTime>),
                    notices::finished_at.eq(stored(now)),
                ))
                .execute(conn)
                .await?
        }
    };
    Ok(changed > 0)
}

async fn last(conn: &mut Conn, subject: &Subject) -> Result<Option<Notice>, Failure> {
    let newest = notices::table
        .order(notices::id.desc())
        .select(NoticeRow::as_select());
    let row: QueryResult<NoticeRow> = match subject {
        Subject::Task(_) => {
            let (kind, number) = subject.code();
            let of_task = newest
                .filter(notices::kind.eq(kind))
                .filter(notices::subject.eq(number));
            of_task.first(conn).await
        }
        Subject::Job(datasource, job) => {
            let of_job = newest
                .filter(notices::datasource.eq(datasource.as_str()))
                .filter(notices::job.eq(job.as_str()));
            of_job.first(conn).await
        }
    };
    row.optional()?.map(NoticeRow::decode).transpose()
}
