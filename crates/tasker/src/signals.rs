//! SIGINT, SIGTERM and SIGHUP.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// How shells tell that a program was ended by SIGINT.
const INTERRUPTED: i32 = 130;

/// A token that the first SIGINT or SIGTERM cancels. A second one ends the process at once: what is
/// accepted is stored and what is claimed is journalled, so that loses nothing but time.
///
/// # Errors
/// [`Failure::Failed`] if the system does not allow to listen for signals.
pub fn stop_token() -> Result<CancellationToken, Failure> {
    let mut interrupts = listen(SignalKind::interrupt())?;
    let mut terminations = listen(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            if is_first {
                tracing::info!("stopping; a second signal ends at once");
                token.cancel();
            }
        }
        std::process::exit(INTERRUPTED);
    });
    Ok(stop)
}

/// Calls this at each SIGHUP, which would end the process otherwise.
///
/// # Errors
/// [`Failure::Failed`] if the system does not allow to listen for signals.
pub fn on_hangup(call: impl Fn() + Send + 'static) -> Result<(), Failure> {
    let mut hangups = listen(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            call();
        }
    });
    Ok(())
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|e| Failure::Failed(format!("signals: {e}")))
}
