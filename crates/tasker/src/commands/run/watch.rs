//! `tasker run watch`: a bar on a terminal, a line for each change otherwise.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::args::RunArgs;
use super::{RunView, path};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// How often it looks.
const EVERY: Duration = Duration::from_millis(500);

/// Watches a run until all its tasks are done.
pub(super) fn watch(args: &RunArgs) -> Result<Exit, Failure> {
    let client = Client::new(&args.api.url)?;
    let path = path(args);
    let bar = std::io::stderr().is_terminal().then(bar);
    let mut told = String::new();
    loop {
        let answer = client.get(&path, Duration::ZERO)?;
        let run: RunView = answer.read()?;
        let line = line(&run);
        match &bar {
            Some(bar) => {
                bar.set_length(run.num_tasks.into());
                bar.set_position(run.progress.num_done.into());
                bar.set_message(line);
            }
            None if line != told => {
                terminal::tell(&line);
                told = line;
            }
            None => {}
        }
        if run.progress.num_done >= run.num_tasks {
            if let Some(bar) = &bar {
                bar.finish_and_clear();
            }
            let text = match args.api.json {
                true => terminal::pretty(&answer.json),
                false => super::rows(&[run]),
            };
            terminal::print(&text)?;
            return Ok(Exit::OK);
        }
        std::thread::sleep(EVERY);
    }
}

fn line(run: &RunView) -> String {
    let progress = &run.progress;
    format!(
        "{} of {} done, {} computing, {} waiting, {:.1} %",
        progress.num_done,
        run.num_tasks,
        progress.num_computing,
        progress.num_waiting,
        progress.percent_done
    )
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("[{bar:40}] {elapsed} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::new(0).with_style(style)
}
