//! `tasker`: one binary, a match of roles.

use std::process::ExitCode;

use tasker::cli::{self, Cli, Command};
use tasker::commands::accounts::{audit, token, user};
use tasker::commands::{
    api, bench, change, check_config, completions, demo, endpoint, init, list, purge, run, show,
    submit,
};
use tasker::exit;

fn main() -> ExitCode {
    // What it writes holds payloads (SQLite) or passwords (`endpoint add`): nobody else's business.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    tasker_core::fault::arm();
    exit::end(match &cli::parse::<Cli>().command {
        Command::Demo(args) => demo::run(args),
        Command::Api(args) => api::run(args),
        Command::Init(args) => init::run(args),
        Command::Endpoint(command) => endpoint::run(command),
        Command::User(command) => user::run(command),
        Command::Token(command) => token::run(command),
        Command::Audit(args) => audit::run(args),
        Command::Submit(args) => submit::run(args),
        Command::Show(args) => show::run(args),
        Command::List(args) => list::run(args),
        Command::Cancel(args) => change::cancel(args),
        Command::Retry(args) => change::retry(args),
        Command::Purge(args) => purge::run(args),
        Command::Run(command) => run::run(command),
        Command::Bench(command) => bench::run(command),
        Command::CheckConfig(args) => check_config::run(args),
        Command::Completions { shell } => completions::run(*shell),
    })
}
