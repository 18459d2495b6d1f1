//! `tasker demo`: the whole thing in one process, nothing to install.
//!
//! The same API, workers and line as in a real installation; only the two backends differ, SQLite
//! and the in-process broker.

mod handler;
mod play;
mod progress;
mod stage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::cli::DemoArgs;
use crate::config::{self, Config, LogFormat, Needs};
use crate::exit::{Exit, Failure};
use crate::terminal::tell;
use crate::{logging, signals};

use play::Play;
use stage::Stage;

/// How long the end may take.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Shows everything, prints the aggregated answer of a sample task to stdout and everything else to
/// stderr; then serves until SIGINT or SIGTERM, or ends with the task's exit code.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    let mut config = config::default(Needs::NOTHING)?;
    config.log.format = LogFormat::Human;
    // What happens is told by the demonstration itself; only what goes wrong is logged.
    config.log.level = "warn".to_owned();
    logging::start(&config.log)?;
    config.api.port = args.port;
    let folder = Folder::open(args.data.as_deref())?;
    config.worker.journal_dir = folder.path().join("journal");

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::Failed(e.to_string()))?;
    let ended = runtime.block_on(show(args, &config, &folder));
    runtime.shutdown_timeout(END_WITHIN);
    ended
}

async fn show(args: &DemoArgs, config: &Config, folder: &Folder) -> Result<Exit, Failure> {
    let stop = signals::stop_token()?;
    let mut stage = Stage::set(config, folder.path(), args.endpoints, stop.clone()).await?;
    tell(&format!(
        "tasker serves on {}, with its data in {}",
        stage.url(),
        folder.path().display()
    ));

    let play = Play::new(stage.url(), stage.endpoints(), stop.clone())?;
    let (told, mut outcome) = oneshot::channel();
    // The plain client blocks; a thread of its own is not waited for when the process is stopped.
    std::thread::spawn(move || told.send(play.run()));
    let exit = tokio::select! {
        played = &mut outcome => match played {
            // It was in the middle when it was stopped, and so was the API that it speaks to.
            Ok(Err(_)) if stop.is_cancelled() => Ok(Exit::NOT_YET),
            Ok(played) => played,
            Err(_) => Err(Failure::Failed("the demonstration ended unexpectedly".to_owned())),
        },
        failure = stage.ended() => Err(failure),
    };
    let exit = match exit {
        Ok(exit) if !args.exit && !stop.is_cancelled() => {
            tell(&play::curl_lines(&stage.url(), stage.endpoints()));
            tell("Ctrl-C ends it.");
            tokio::select! {
                () = stop.cancelled() => Ok(exit),
                failure = stage.ended() => Err(failure),
            }
        }
        other => other,
    };
    stop.cancel();
    stage.strike(END_WITHIN).await;
    // Whoever ends it by hand has seen it; only `--exit` is asked for the task's code.
    exit.map(|exit| if args.exit { exit } else { Exit::OK })
}

/// Where database and journals are.
enum Folder {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Folder {
    fn open(dir: Option<&Path>) -> Result<Self, Failure> {
        let bad = |dir: &Path, e| Failure::Usage(format!("{}: {e}", dir.display()));
        match dir {
            Some(dir) => {
                std::fs::create_dir_all(dir).map_err(|e| bad(dir, e))?;
                let dir = dir.canonicalize().map_err(|e| bad(dir, e))?;
                Ok(Self::Kept(dir))
            }
            None => tempfile::Builder::new()
                .prefix("tasker-demo-")
                .tempdir()
                .map(Self::Temporary)
                .map_err(|e| bad(&std::env::temp_dir(), e)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(dir) => dir,
            Self::Temporary(dir) => dir.path(),
        }
    }
}
