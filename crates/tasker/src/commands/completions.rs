//! `tasker completions`: what a shell needs to complete the command line.

use clap::CommandFactory;

use crate::cli::Cli;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Prints the completions of a shell.
///
/// # Errors
/// [`Failure::Failed`] if stdout cannot be written.
pub fn run(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tasker", &mut script);
    terminal::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::OK)
}
