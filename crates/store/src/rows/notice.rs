//! Rows of `notices`.

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::prelude::*;
use tasker_core::id::ProcessId;
use tasker_core::notice::{Errand, NewNotice, Notice, NoticeState, Subject};

use super::{corrupt, stored, unsigned, uuid};
use crate::failure::Failure;
use crate::schema::notices;

const TABLE: &str = "notices";

/// A notice that is being stored.
#[derive(Debug, Insertable)]
#[diesel(table_name = notices)]
pub(crate) struct NewNoticeRow {
    pub uid: Vec<u8>,
    pub kind: i16,
    pub subject: i64,
    pub url: String,
    pub host: Option<String>,
    pub body: Vec<u8>,
    pub state: i16,
    pub tries: i32,
    pub created_at: NaiveDateTime,
    pub next_try_at: Option<NaiveDateTime>,
    pub datasource: Option<String>,
    pub job: Option<String>,
}

impl NewNoticeRow {
    /// The row of a new notice, due at once.
    pub(crate) fn new(notice: &NewNotice, now: DateTime<Utc>) -> Self {
        let (kind, subject) = notice.subject.code();
        let (datasource, job) = match &notice.subject {
            Subject::Task(_) => (None, None),
            Subject::Job(datasource, job) => (Some(datasource), Some(job)),
        };
        Self {
            uid: notice.uid.as_bytes().to_vec(),
            kind,
            subject,
            url: notice.url.as_str().to_owned(),
            host: Some(notice.url.origin().to_string()),
            body: notice.body.to_vec(),
            state: NoticeState::Pending.code(),
            tries: 0,
            created_at: stored(now),
            next_try_at: Some(stored(now)),
            datasource: datasource.map(|name| name.as_str().to_owned()),
            job: job.map(|name| name.as_str().to_owned()),
        }
    }
}

/// A notice as it is shown.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = notices)]
pub(crate) struct NoticeRow {
    id: i64,
    uid: Vec<u8>,
    state: i16,
    tries: i32,
    last_status: Option<i16>,
    last_error: Option<String>,
    next_try_at: Option<NaiveDateTime>,
}

impl NoticeRow {
    pub(crate) fn decode(self) -> Result<Notice, Failure> {
        let id = self.id;
        let bad = |what: &str| corrupt(TABLE, id, what);
        let status = self.last_status.map(u16::try_from).transpose();
        Ok(Notice {
            uid: uuid(TABLE, id, &self.uid)?,
            state: NoticeState::from_code(self.state).ok_or_else(|| bad("state"))?,
            tries: unsigned(TABLE, id, self.tries)?,
            last_status: status.map_err(|_| bad("last_status"))?,
            last_error: self.last_error,
            next_try_at: self.next_try_at.map(|at| at.and_utc()),
        })
    }
}

/// A notice that is to be told.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = notices)]
pub(crate) struct ErrandRow {
    pub(crate) id: i64,
    uid: Vec<u8>,
    url: String,
    body: Vec<u8>,
    pub(crate) tries: i32,
}

impl ErrandRow {
    /// As it is after it was taken once more.
    pub(crate) fn decode(self, owner: ProcessId) -> Result<Errand, Failure> {
        Ok(Errand {
            id: self.id,
            uid: uuid(TABLE, self.id, &self.uid)?,
            url: self.url,
            body: Bytes::from(self.body),
            try_no: unsigned(TABLE, self.id, self.tries)?.saturating_add(1),
            owner,
        })
    }
}
