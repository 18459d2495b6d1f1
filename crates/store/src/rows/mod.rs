//! Rows of the tables, and their way to and from the words of `core`. No row leaves this crate.

mod account;
mod job;
mod notice;
mod response;
mod run;
mod task;

pub(crate) use account::{AuditRow, NewAuditRow, TokenRow, UserRow, grants};
pub(crate) use job::{ChangeRow, JobRow, RequestRow, SourceRow};
pub(crate) use notice::{ErrandRow, NewNoticeRow, NoticeRow};
pub(crate) use response::{EndpointRow, ResponseBody, ResponseRow};
pub(crate) use run::{NewRunRow, RunPayloadRow, RunRow, RunTaskRow, codes, payloads};
pub(crate) use task::{Due, HeadRow, NewTaskRow, StoredRow, TaskChange, list};

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use uuid::Uuid;

use crate::failure::Failure;

/// A time as the tables hold it: UTC, microseconds.
pub(crate) fn stored(at: DateTime<Utc>) -> NaiveDateTime {
    at.naive_utc().trunc_subsecs(6)
}

/// A span of time, for the arithmetic of the ledger; what no clock can hold counts as 100 years.
pub(crate) fn span(duration: std::time::Duration) -> chrono::Duration {
    let century = chrono::Duration::days(36_525);
    chrono::Duration::from_std(duration).map_or(century, |span| span.min(century))
}

/// As [`span`], for whole seconds.
pub(crate) fn seconds(count: u32) -> chrono::Duration {
    span(std::time::Duration::from_secs(count.into()))
}

fn corrupt(table: &'static str, id: i64, what: impl std::fmt::Display) -> Failure {
    Failure::Corrupt {
        table,
        what: format!("id {id}: {what}"),
    }
}

/// A count or number that is never negative.
fn unsigned(table: &'static str, id: i64, number: impl TryInto<u32>) -> Result<u32, Failure> {
    number
        .try_into()
        .map_err(|_| corrupt(table, id, "a number is out of range"))
}

/// A number for an INT column. What would not fit comes from no worker of ours.
pub(crate) fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn uuid(table: &'static str, id: i64, bytes: &[u8]) -> Result<Uuid, Failure> {
    Uuid::from_slice(bytes).map_err(|e| corrupt(table, id, e))
}
