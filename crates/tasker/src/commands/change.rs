//! `tasker cancel` and `tasker retry`.

use serde::Deserialize;
use serde_json::{Map, json};

use super::view::Task;
use crate::cli::{RetryArgs, TaskArgs};
use crate::client::{Answer, Client};
use crate::exit::{Exit, Failure};
use crate::terminal::{self, harmless};

#[derive(Deserialize)]
struct Changed {
    task: Task,
    changed: u32,
}

/// Cancels a task. Cancelling twice changes nothing.
///
/// # Errors
/// [`Failure`].
pub fn cancel(args: &TaskArgs) -> Result<Exit, Failure> {
    let path = format!("{}/cancel{}", args.path(), args.query());
    let answer = Client::of(&args.api)?.post(&path, "{}")?;
    tell(args, &answer, "to be cancelled by their endpoints")
}

/// Orders another attempt where a task did not succeed.
///
/// # Errors
/// [`Failure`].
pub fn retry(args: &RetryArgs) -> Result<Exit, Failure> {
    let task = &args.task;
    let mut body = Map::new();
    if !args.states.is_empty() {
        let states = args.states.iter().map(|state| state.to_ascii_uppercase());
        body.insert("states".to_owned(), states.collect());
    }
    if !args.endpoints.is_empty() {
        body.insert("endpoints".to_owned(), json!(args.endpoints));
    }
    let path = format!("{}/retry{}", task.path(), task.query());
    // Once: when the answer is lost, repeating it could order a second attempt of what has failed
    // again in the meantime.
    let body = serde_json::Value::Object(body).to_string();
    let answer = Client::of(&task.api)?.post_once(&path, &body)?;
    tell(task, &answer, "to be tried again")
}

fn tell(args: &TaskArgs, answer: &Answer, what: &str) -> Result<Exit, Failure> {
    if args.api.json {
        terminal::print(&terminal::pretty(&answer.json))?;
    } else {
        let Changed { task, changed } = answer.read()?;
        let identifier = harmless(&task.identifier);
        let line = format!(
            "{}/{identifier}  {}  {changed} responses {what}",
            args.task_type, task.status
        );
        terminal::print(&line)?;
    }
    Ok(Exit::OK)
}
