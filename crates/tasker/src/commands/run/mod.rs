//! `tasker run`: numbered tasks that workers pull.

pub mod args;
mod watch;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::args::{CreateRunArgs, ListRunsArgs, RestartRunArgs, RunArgs, RunCommand, ShowRunArgs};
use super::submit;
use super::view::table;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::terminal::{self, harmless};

/// How many runs the API counts at once.
const PAGE: u32 = 100;

/// A run, and how it stands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunView {
    uuid: String,
    num_tasks: u32,
    #[serde(flatten)]
    progress: ProgressView,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProgressView {
    percent_done: f64,
    num_waiting: u32,
    num_computing: u32,
    num_done: u32,
    #[serde(rename = "created_at")]
    created_at: String,
}

/// Does what is asked of runs.
///
/// # Errors
/// [`Failure`].
pub fn run(command: &RunCommand) -> Result<Exit, Failure> {
    match command {
        RunCommand::Create(args) => create(args),
        RunCommand::List(args) => list(args),
        RunCommand::Show(args) => show(args),
        RunCommand::Restart(args) => restart(args),
        RunCommand::Delete(args) => delete(args),
        RunCommand::Watch(args) => watch::watch(args),
    }
}

fn path(run: &RunArgs) -> String {
    format!("/api/runs/{}", run.uuid.simple())
}

/// What is sent; payloads keep their bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    num_tasks: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payloads: Option<Box<RawValue>>,
}

fn create(args: &CreateRunArgs) -> Result<Exit, Failure> {
    #[derive(Deserialize)]
    struct Created {
        uuid: String,
    }
    let payload = args.payload.as_deref().map(submit::payload).transpose()?;
    let payloads = args.payloads.as_ref().map(|file| {
        let text = submit::read(file)?;
        RawValue::from_string(text)
            .map_err(|e| Failure::Usage(format!("{} is not JSON: {e}", file.display())))
    });
    let body = Body {
        num_tasks: args.num_tasks,
        payload,
        payloads: payloads.transpose()?,
    };
    let body = serde_json::to_string(&body).map_err(|e| Failure::Failed(e.to_string()))?;
    // Once: when the answer is lost, repeating it would make a second run.
    let answer = Client::new(&args.api.url)?.post_once("/api/run", &body)?;
    if args.api.json {
        terminal::print(&terminal::pretty(&answer.json))?;
    } else {
        let created: Created = answer.read()?;
        terminal::print(&harmless(&created.uuid))?;
    }
    Ok(Exit::OK)
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Box<RawValue>>,
    next: Option<String>,
}

fn list(args: &ListRunsArgs) -> Result<Exit, Failure> {
    let client = Client::new(&args.api.url)?;
    let mut runs: Vec<Box<RawValue>> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let found = u32::try_from(runs.len()).unwrap_or(u32::MAX);
        let missing = args.limit.saturating_sub(found).min(PAGE);
        let mut path = format!("/api/runs?progress=true&limit={missing}");
        if let Some(cursor) = &cursor {
            path.push_str(&format!("&cursor={cursor}"));
        }
        let mut page: Page = client.get(&path, Duration::ZERO)?.read()?;
        // Pages go back in time, each in the order of time.
        page.data.append(&mut runs);
        runs = page.data;
        cursor = page.next;
        if cursor.is_none() || runs.len() >= args.limit as usize {
            break;
        }
    }
    if args.api.json {
        let json = serde_json::to_string(&runs).map_err(|e| Failure::Failed(e.to_string()))?;
        terminal::print(&terminal::pretty(&json))?;
        return Ok(Exit::OK);
    }
    let read: Result<Vec<RunView>, _> = runs
        .iter()
        .map(|run| serde_json::from_str(run.get()))
        .collect();
    let read = read.map_err(|e| Failure::Failed(format!("the answer is not tasker's: {e}")))?;
    terminal::print(&rows(&read))?;
    if cursor.is_some() {
        terminal::tell("there are older ones; see --limit");
    }
    Ok(Exit::OK)
}

/// Runs for people.
fn rows(runs: &[RunView]) -> String {
    let mut table = table(&[
        "UUID",
        "CREATED (UTC)",
        "TASKS",
        "WAITING",
        "COMPUTING",
        "DONE",
        "PERCENT",
    ]);
    for run in runs {
        let progress = &run.progress;
        table.add_row([
            harmless(&run.uuid),
            harmless(&progress.created_at),
            run.num_tasks.to_string(),
            progress.num_waiting.to_string(),
            progress.num_computing.to_string(),
            progress.num_done.to_string(),
            format!("{:.1}", progress.percent_done),
        ]);
    }
    table.trim_fmt()
}

fn show(args: &ShowRunArgs) -> Result<Exit, Failure> {
    let client = Client::new(&args.run.api.url)?;
    let path = path(&args.run);
    let Some(task) = args.task else {
        let answer = client.get(&path, Duration::ZERO)?;
        let text = match args.run.api.json {
            true => terminal::pretty(&answer.json),
            false => rows(&[answer.read()?]),
        };
        terminal::print(&text)?;
        return Ok(Exit::OK);
    };
    // A payload and a result are JSON anyway.
    let answer = client.get(&format!("{path}/tasks/{task}"), Duration::ZERO)?;
    terminal::print(&terminal::pretty(&answer.json))?;
    Ok(Exit::OK)
}

fn restart(args: &RestartRunArgs) -> Result<Exit, Failure> {
    let all = if args.all { "True" } else { "False" };
    let path = format!("{}/restart?all={all}", path(&args.run));
    // Once: when the answer is lost, repeating it could take back what was handed out since.
    Client::new(&args.run.api.url)?.post_once(&path, "{}")?;
    Ok(Exit::OK)
}

fn delete(args: &RunArgs) -> Result<Exit, Failure> {
    Client::new(&args.api.url)?.delete_once(&path(args))?;
    Ok(Exit::OK)
}
