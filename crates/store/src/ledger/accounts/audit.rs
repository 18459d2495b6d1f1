//! The record of who did what.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tasker_core::accounts::{AuditEntry, AuditEvent, AuditFilter};

use super::{Conn, insert_audit, now};
use crate::batch::at_most;
use crate::failure::Failure;
use crate::rows::{AuditRow, NewAuditRow};
use crate::schema::audit;

pub(super) async fn note(conn: &mut Conn, events: &[AuditEvent]) -> Result<(), Failure> {
    let now = now(conn).await?;
    let rows = events.iter().map(|event| NewAuditRow::of(event, now));
    Ok(insert_audit(conn, rows.collect()).await?)
}

pub(super) async fn page(
    conn: &mut Conn,
    filter: &AuditFilter,
) -> Result<Vec<AuditEntry>, Failure> {
    let mut query = audit::table
        .order(audit::id.desc())
        .limit(at_most(filter.limit) as i64)
        .select(AuditRow::as_select())
        .into_boxed();
    if let Some(kind) = filter.kind {
        query = query.filter(audit::kind.eq(kind.as_str()));
    }
    if let Some(who) = &filter.who {
        query = query.filter(audit::who.eq(who.as_str()));
    }
    if let Some(before) = filter.before {
        query = query.filter(audit::id.lt(before));
    }
    let rows: Vec<AuditRow> = query.load(conn).await?;
    rows.into_iter().map(AuditRow::decode).collect()
}
