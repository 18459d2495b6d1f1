//! The command line of `tasker`: one role each.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tasker_core::{Client as ClientName, EndpointName, Identifier, TaskStatus, TaskType};

use crate::client::DEFAULT_URL;
use crate::commands::accounts::args::{AuditArgs, TokenCommand, UserCommand};
use crate::commands::bench::args::BenchCommand;
use crate::commands::run::args::RunCommand;

/// Hands one task to many machines and knows, for every one of them, what became of it.
#[derive(Debug, Parser)]
#[command(name = "tasker", version, about, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 fine (of a task: DONE and all succeeded), 1 refused or failed, \
    2 INCOMPLETE, 3 DONE but not all succeeded, 4 cancelled, 64 usage, 69 unavailable, 75 not yet."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole thing on this machine: API, workers and a sample task in one process
    Demo(DemoArgs),
    /// Serve the HTTP API
    #[command(
        after_help = "Exit codes: 0 drained, 1 failed, 64 usage, 69 the port cannot be had, 75 \
        drained with tasks left for another process or the next start to publish."
    )]
    Api(ModeArgs),
    /// Prepare the database and RabbitMQ; harmless to repeat
    Init(InitArgs),
    /// Manage the broker accounts of endpoints
    #[command(subcommand)]
    Endpoint(EndpointCommand),
    /// Manage who may use the API
    #[command(subcommand)]
    User(UserCommand),
    /// Manage the tokens of users
    #[command(subcommand)]
    Token(TokenCommand),
    /// Show who did what, when, from where
    Audit(AuditArgs),
    /// Hand a task to endpoints
    Submit(SubmitArgs),
    /// Show what became of a task
    Show(ShowArgs),
    /// List tasks, newest first
    List(ListArgs),
    /// Cancel a task
    Cancel(TaskArgs),
    /// Try again where a task did not succeed
    Retry(RetryArgs),
    /// Delete tasks that were settled long ago, or export them first
    Purge(PurgeArgs),
    /// Make and manage runs: numbered tasks that workers pull
    #[command(subcommand)]
    Run(RunCommand),
    /// Measure an installation with simulated endpoints
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Tell everything that is wrong with a configuration, and start nothing
    CheckConfig(ModeArgs),
    /// Print shell completions
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

/// `tasker demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many endpoints
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub endpoints: u16,
    /// The port on 127.0.0.1; 0 takes any free one
    #[arg(long, value_name = "P", default_value_t = 8888)]
    pub port: u16,
    /// End after the sample task, with its exit code
    #[arg(long)]
    pub exit: bool,
    /// Keep database and journals in this folder [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Which configuration.
#[derive(Debug, Clone, Args)]
pub struct ModeArgs {
    /// Use the configuration `MODE.config.yaml`
    #[arg(long, env = "TASKER_MODE", default_value = "development")]
    pub mode: String,
    /// The folder of the configuration [default: ./config, then /etc/tasker]
    #[arg(long, env = "TASKER_CONFIG", value_name = "DIR")]
    pub config: Option<PathBuf>,
}

/// `tasker init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Only the database
    #[arg(long, short)]
    pub database: bool,
    /// Only RabbitMQ
    #[arg(long, short)]
    pub rabbitmq: bool,
    /// Delete everything first: all tables of the database, the whole virtual host
    #[arg(long)]
    pub reset: bool,
    /// Really delete what is in use
    #[arg(long, requires = "reset")]
    pub yes: bool,
    /// Which configuration.
    #[command(flatten)]
    pub mode: ModeArgs,
}

/// `tasker purge`.
#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// Only tasks that were settled so many days ago [default: api.retention_days]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(0..=36_500))]
    pub older_than: Option<u32>,
    /// Before they are deleted, write them to this new file (mode 0600; JSON lines); - is stdout
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// Only count them
    #[arg(long, conflicts_with = "export")]
    pub dry_run: bool,
    /// Which configuration.
    #[command(flatten)]
    pub mode: ModeArgs,
}

/// `tasker endpoint`.
#[derive(Debug, Subcommand)]
pub enum EndpointCommand {
    /// Make the broker account of an endpoint, with the right to these task types and no others
    Add {
        /// The endpoint's name
        name: EndpointName,
        /// A task type that it performs; several times, or separated by commas
        #[arg(long, required = true, value_delimiter = ',', value_name = "TYPE")]
        tasktype: Vec<TaskType>,
        /// Write account and password to this new file (mode 0600) instead of the terminal
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Give an existing account another password
        #[arg(long)]
        new_password: bool,
        /// Which configuration.
        #[command(flatten)]
        mode: ModeArgs,
    },
    /// List accounts, inboxes and their consumers
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Which configuration.
        #[command(flatten)]
        mode: ModeArgs,
    },
    /// Take an endpoint's account away: its connections are closed, its inboxes deleted
    Revoke {
        /// The endpoint's name
        name: EndpointName,
        /// Which configuration.
        #[command(flatten)]
        mode: ModeArgs,
    },
}

/// Which API, and how to print its answers.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// Where tasker's API is
    #[arg(long, env = "TASKER_URL", default_value = DEFAULT_URL)]
    pub url: String,
    /// A file that holds the token to show; the variable TASKER_TOKEN holds one itself
    #[arg(long, env = "TASKER_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The certificates of the authorities that an API at https:// may have its certificate from
    /// [default: those that this system trusts]
    #[arg(long, env = "TASKER_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Waiting for a task.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Wait until the task is settled, at most so many seconds if a number is given
    #[arg(long, value_name = "SECONDS", num_args = 0..=1)]
    pub wait: Option<Option<u32>>,
}

/// Which task.
#[derive(Debug, Args)]
pub struct TaskArgs {
    /// The task type
    #[arg(value_name = "TYPE")]
    pub task_type: TaskType,
    /// The task's identifier
    #[arg(value_name = "ID")]
    pub identifier: Identifier,
    /// Whose it is, if it is another client's
    #[arg(long, value_name = "NAME")]
    pub client: Option<ClientName>,
    /// Which API.
    #[command(flatten)]
    pub api: ApiArgs,
}

impl TaskArgs {
    /// Where the task is.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}/{}", self.task_type, self.identifier)
    }

    /// Whose it is, as a query of its own.
    #[must_use]
    pub fn query(&self) -> String {
        let client = self.client.as_ref();
        client.map_or_else(String::new, |client| format!("?client={client}"))
    }
}

/// `tasker submit`.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The task type
    #[arg(value_name = "TYPE")]
    pub task_type: TaskType,
    /// The task's identifier; the same one again is the same task [default: a new UUID]
    #[arg(long, value_name = "ID")]
    pub identifier: Option<Identifier>,
    /// JSON for the handlers; @FILE reads a file, - reads stdin
    #[arg(long, value_name = "JSON")]
    pub payload: Option<String>,
    /// Who is expected to perform it [default: whoever is subscribed]
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub endpoints: Vec<EndpointName>,
    /// A file of endpoints, one a line; # begins a comment, - reads stdin
    #[arg(long, value_name = "FILE")]
    pub endpoints_file: Option<PathBuf>,
    /// How long a run may take, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub timeout_s: Option<u32>,
    /// How long from now the task may start, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub expires_in_s: Option<u32>,
    /// Where its completion is told, by POST; a host of webhooks.allow
    #[arg(long, value_name = "URL")]
    pub callback_url: Option<String>,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Which API.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// `tasker show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Which task.
    #[command(flatten)]
    pub task: TaskArgs,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// `tasker list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The task type
    #[arg(value_name = "TYPE")]
    pub task_type: TaskType,
    /// Whose; your own by default
    #[arg(long, value_name = "NAME")]
    pub client: Option<ClientName>,
    /// Only of this status: CREATED, SENT, INCOMPLETE, DONE or CANCELLED
    #[arg(long, value_parser = parse_status)]
    pub status: Option<TaskStatus>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Which API.
    #[command(flatten)]
    pub api: ApiArgs,
}

/// `tasker retry`.
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// Which task.
    #[command(flatten)]
    pub task: TaskArgs,
    /// Only where the response is in one of these states
    /// [default: FAILED,TIMED_OUT,INTERRUPTED,REJECTED,EXPIRED]
    #[arg(long, value_delimiter = ',', value_name = "STATE,…")]
    pub states: Vec<String>,
    /// Only these endpoints
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub endpoints: Vec<EndpointName>,
}

fn parse_status(text: &str) -> Result<TaskStatus, String> {
    TaskStatus::from_word(&text.to_ascii_uppercase()).ok_or_else(|| {
        let words: Vec<_> = TaskStatus::ALL.iter().map(|s| s.as_str()).collect();
        format!("must be one of {}", words.join(", "))
    })
}

/// Reads a command line. Ends the process on `--help`, `--version` and usage errors; these with 64,
/// not with clap's own 2, which means INCOMPLETE here.
#[must_use]
pub fn parse<P: Parser>() -> P {
    P::try_parse().unwrap_or_else(|error| {
        // Help that nobody reads any more is no fault.
        let _ = error.print();
        std::process::exit(if error.use_stderr() { 64 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn verify_cli() {
        Cli::command().debug_assert();
    }

    #[test]
    fn waiting_takes_a_number_or_none() {
        let wait = |args: &[&str]| match Cli::try_parse_from(args).unwrap().command {
            Command::Show(show) => show.wait.wait,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(&["tasker", "show", "worker", "a"]), None);
        assert_eq!(
            wait(&["tasker", "show", "worker", "a", "--wait"]),
            Some(None)
        );
        assert_eq!(
            wait(&["tasker", "show", "worker", "a", "--wait", "5"]),
            Some(Some(5))
        );
        assert_eq!(
            wait(&["tasker", "show", "--wait=5", "worker", "a", "--json"]),
            Some(Some(5))
        );
    }

    #[test]
    fn names_are_checked_before_anything_is_sent() {
        for args in [
            &["tasker", "show", "api", "a"][..],
            &["tasker", "show", "worker", "../a"],
            &["tasker", "submit", "worker", "--endpoints", "a,b c"],
            &["tasker", "list", "worker", "--status", "DONNE"],
            &["tasker", "endpoint", "add", "console1"],
            &["tasker", "init", "--yes"],
            &["tasker", "demo", "--endpoints", "0"],
            &["tasker", "purge", "--dry-run", "--export", "-"],
        ] {
            assert!(Cli::try_parse_from(args).is_err(), "{args:?}");
        }
    }
}
