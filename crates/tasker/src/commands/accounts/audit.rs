//! `tasker audit`: who did what, when, from where.

use serde::Serialize;
use tasker_core::accounts::{AuditEntry, AuditFilter};

use super::Office;
use super::args::AuditArgs;
use crate::commands::view;
use crate::exit::{Exit, Failure};
use crate::terminal::{self, harmless};

/// Entries that are read at once.
const PAGE: u32 = 1_000;

#[derive(Serialize)]
struct Listed<'a> {
    id: i64,
    at: String,
    kind: &'static str,
    who: Option<&'a str>,
    token: Option<&'a str>,
    what: &'a str,
    from: Option<String>,
}

/// Lists entries.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &AuditArgs) -> Result<Exit, Failure> {
    let office = Office::open(&args.mode)?;
    let mut table = view::table(&["TIME (UTC)", "KIND", "WHO", "TOKEN", "FROM", "WHAT"]);
    let (mut left, mut before) = (args.limit, None);
    while left > 0 {
        let filter = AuditFilter {
            kind: args.kind,
            who: args.who.clone(),
            before,
            limit: left.min(PAGE),
        };
        let asked = filter.limit;
        let entries = office.with(async |accounts| accounts.audit(filter).await)?;
        for entry in &entries {
            if args.json {
                let line = serde_json::to_string(&listed(entry));
                terminal::print(&line.map_err(|e| Failure::Failed(e.to_string()))?)?;
            } else {
                table.add_row(row(entry));
            }
        }
        before = entries.last().map(|entry| entry.id);
        let read = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        left = if read < asked { 0 } else { left - read };
    }
    if !args.json {
        terminal::print(&table.trim_fmt())?;
    }
    Ok(Exit::OK)
}

fn row(entry: &AuditEntry) -> [String; 6] {
    let event = &entry.event;
    let or = |text: Option<String>, none: &str| text.unwrap_or_else(|| none.to_owned());
    [
        view::time(entry.at),
        event.kind.as_str().to_owned(),
        or(event.who.as_ref().map(ToString::to_string), "–"),
        or(event.token.as_ref().map(ToString::to_string), "–"),
        or(event.from.map(|from| from.to_string()), "–"),
        harmless(&event.what),
    ]
}

fn listed(entry: &AuditEntry) -> Listed<'_> {
    let event = &entry.event;
    Listed {
        id: entry.id,
        at: entry.at.to_rfc3339(),
        kind: event.kind.as_str(),
        who: event.who.as_ref().map(|who| who.as_str()),
        token: event.token.as_ref().map(|key| key.as_str()),
        what: &event.what,
        from: event.from.map(|from| from.to_string()),
    }
}
