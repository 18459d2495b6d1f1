//! `tasker api`: serves the HTTP API on MySQL/MariaDB or SQLite and RabbitMQ.

use std::net::{SocketAddr, TcpListener};

use tasker_api::Drained;
use tasker_core::wire::MAX_REPORT_BYTES;
use tasker_tls::Identity;

use crate::cli::ModeArgs;
use crate::config::{self, Config, Needs};
use crate::exit::{Exit, Failure};
use crate::{logging, signals, wiring};

/// Serves until SIGINT or SIGTERM, then drains. The broker may be away, then tasks are accepted and
/// published later; so may the database, then requests are answered 503.
///
/// Returns [`Exit::NOT_YET`] if the drain took too long or left stored tasks to be published by another
/// process or the next start.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &ModeArgs) -> Result<Exit, Failure> {
    let config = config::load(&args.mode, args.config.as_deref(), Needs::API)?;
    logging::start(&config.log)?;
    // Everything of ours waits; requests are answered on threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.api.threads)
        .enable_all()
        .build()
        .map_err(|e| Failure::Failed(e.to_string()))?;
    runtime.block_on(serve(&config))
}

async fn serve(config: &Config) -> Result<Exit, Failure> {
    let stop = signals::stop_token()?;
    let missing = |key: &str| Failure::Usage(format!("{key} is missing"));
    let db = config.db.as_ref().ok_or_else(|| missing("manager.db"))?;
    let queue = config
        .message_queue
        .as_ref()
        .ok_or_else(|| missing("manager.message_queue"))?;
    let account = queue.account.as_ref();
    let account = account.ok_or_else(|| missing("manager.message_queue.username"))?;

    // Before anything is waited for: a wrong file is a mistake, not an absence.
    let identity = wiring::identity(&config.api)?;
    match wiring::schema_is_current(db).await {
        Ok(true) => {}
        Ok(false) => {
            let message = format!(
                "{} has not the schema of this release: run `tasker init`",
                db.uri
            );
            return Err(Failure::Failed(message));
        }
        Err(Failure::Unavailable(why)) => {
            tracing::warn!(error = %why, "the database is away; requests are answered 503 until it is back");
        }
        Err(other) => return Err(other),
    }
    let listener = bind(config.api.address())?;
    let address = listener
        .local_addr()
        .map_err(|e| Failure::Failed(e.to_string()))?;
    let scheme = if identity.is_some() { "https" } else { "http" };
    tracing::info!("listening on {scheme}://{address}");
    let mut settings = wiring::api_settings(config)?;
    settings.tls = identity.as_ref().map(Identity::server_config);
    if let Some(identity) = identity {
        signals::on_hangup(move || read_again(&identity))?;
    }
    let ports = wiring::open_store(db, config.timing)?;
    let broker = wiring::rabbitmq(queue, account, "tasker api", MAX_REPORT_BYTES)?;
    let drained = tasker_api::serve(listener, settings, ports, broker.clone(), stop)
        .await
        .map_err(|e| Failure::Failed(e.to_string()))?;
    broker.close().await;
    tracing::info!(
        in_time = drained.in_time,
        left_to_others = drained.left_to_others,
        "ended"
    );
    Ok(exit(drained))
}

/// A new certificate, without a restart.
fn read_again(identity: &Identity) {
    match identity.read_again() {
        Ok(()) => tracing::info!("the certificate was read again"),
        Err(error) => tracing::error!(%error, "the old certificate stays in use"),
    }
}

/// Whether something is left that others, or the next start, have to finish.
const fn exit(drained: Drained) -> Exit {
    if drained.in_time && drained.left_to_others == 0 {
        Exit::OK
    } else {
        Exit::NOT_YET
    }
}

/// Listens on an address.
///
/// # Errors
/// [`Failure::Unavailable`] if the port is taken or not allowed.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another program listens there: choose another port, or 0 for any free one"
            }
            _ => "",
        };
        Failure::Unavailable(format!("cannot listen on {address}: {error}{hint}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told() {
        for (in_time, left_to_others, code) in [
            (true, 0, Exit::OK),
            (true, 1, Exit::NOT_YET),
            (false, 0, Exit::NOT_YET),
        ] {
            let drained = Drained {
                in_time,
                left_to_others,
            };
            assert_eq!(exit(drained), code, "{drained:?}");
        }
    }

    #[test]
    fn a_taken_port_is_told() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let failure = bind(taken.local_addr().unwrap()).unwrap_err();
        assert_eq!(failure.exit(), Exit::UNAVAILABLE);
        assert!(
            failure
                .to_string()
                .contains("another program listens there"),
            "{failure}"
        );
    }
}
