//! `tasker check-config`: tells everything that is wrong with a configuration.

use crate::cli::ModeArgs;
use crate::config::{self, Needs};
use crate::exit::{Exit, Failure};
use crate::{terminal, wiring};

/// Checks everything that any of the programs needs; what only the references of another host can
/// tell is looked up here as well.
///
/// # Errors
/// [`Failure::Config`], or [`Failure::Usage`] with a certificate that cannot be used.
pub fn run(args: &ModeArgs) -> Result<Exit, Failure> {
    let config = config::load(&args.mode, args.config.as_deref(), Needs::ALL)?;
    wiring::check_certificates(&config)?;
    let names: Vec<_> = config.names().iter().map(ToString::to_string).collect();
    let line = format!(
        "mode {}: fine; task types {}",
        config.mode,
        names.join(", ")
    );
    terminal::print(&line)?;
    Ok(Exit::OK)
}
