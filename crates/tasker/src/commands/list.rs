//! `tasker list`: tasks of a type, newest first.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::view::{self, Head};
use crate::cli::ListArgs;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// How many tasks the API gives at once.
const PAGE: u32 = 200;

#[derive(Deserialize)]
struct Page {
    tasks: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// Lists tasks.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ListArgs) -> Result<Exit, Failure> {
    let client = Client::of(&args.api)?;
    let mut tasks: Vec<Box<RawValue>> = Vec::new();
    let mut cursor = None;
    loop {
        let missing = args
            .limit
            .saturating_sub(u32::try_from(tasks.len()).unwrap_or(u32::MAX));
        let mut path = format!("/{}?limit={}", args.task_type, missing.min(PAGE));
        if let Some(status) = args.status {
            path.push_str(&format!("&status={status}"));
        }
        if let Some(client) = &args.client {
            path.push_str(&format!("&client={client}"));
        }
        if let Some(cursor) = &cursor {
            path.push_str(&format!("&cursor={cursor}"));
        }
        let page: Page = client.get(&path, Duration::ZERO)?.read()?;
        tasks.extend(page.tasks);
        cursor = page.next;
        if cursor.is_none() || tasks.len() >= args.limit as usize {
            break;
        }
    }
    if args.api.json {
        let json = serde_json::to_string(&tasks).map_err(|e| Failure::Failed(e.to_string()))?;
        terminal::print(&terminal::pretty(&json))?;
        return Ok(Exit::OK);
    }
    let heads: Result<Vec<Head>, _> = tasks
        .iter()
        .map(|t| serde_json::from_str(t.get()))
        .collect();
    let heads = heads.map_err(|e| Failure::Failed(format!("the answer is not tasker's: {e}")))?;
    terminal::print(&view::list(&heads))?;
    if cursor.is_some() {
        terminal::tell("there are more; see --limit");
    }
    Ok(Exit::OK)
}
