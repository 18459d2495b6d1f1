//! `tasker show`: what became of a task.

use std::time::{Duration, Instant};

use super::view::Answer;
use crate::cli::{ShowArgs, WaitArgs};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// How long one request asks the API to wait.
const ONE_WAIT: Duration = Duration::from_secs(30);

/// Shows a task; the exit code tells how it stands.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ShowArgs) -> Result<Exit, Failure> {
    let task = &args.task;
    let client = Client::of(&task.api)?;
    let query = task
        .client
        .as_ref()
        .map(|client| format!("client={client}&"));
    let path = format!("{}?{}", task.path(), query.unwrap_or_default());
    show(&client, &path, &args.wait, task.api.json)
}

/// Shows the task at a path, after waiting if that is wanted.
pub(super) fn show(
    client: &Client,
    path: &str,
    wait: &WaitArgs,
    json: bool,
) -> Result<Exit, Failure> {
    let deadline = wait
        .wait
        .map(|limit| limit.map(|seconds| Instant::now() + Duration::from_secs(seconds.into())));
    loop {
        let left = match deadline {
            None => Duration::ZERO,
            Some(None) => ONE_WAIT,
            Some(Some(at)) => at.saturating_duration_since(Instant::now()).min(ONE_WAIT),
        };
        // Whole seconds, rounded up, so that the last request does not ask for none.
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let answer = client.get(&format!("{path}wait={seconds}"), left)?;
        let read: Answer = answer.read()?;
        if read.task.status.is_settled() || left.is_zero() {
            terminal::print(&if json {
                terminal::pretty(&answer.json)
            } else {
                read.text()
            })?;
            return Ok(read.exit());
        }
    }
}
