//! tasker's programs: configuration, logs, commands, and the one place that names concrete backends.
//!
//! * [`cli`] and [`commands`]: the binary `tasker`, a role each
//! * [`worker`]: the binary `tasker-worker`
//! * [`config`]: `<mode>.config.yaml` over the compiled-in default
//! * [`wiring`]: the only place where a store, a broker or a handler gets its name
//! * [`client`]: a plain client of the HTTP API
//! * [`rabbitmq`]: the broker from outside, for `tasker init` and `tasker endpoint`

pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod exit;
mod http;
pub mod logging;
pub mod rabbitmq;
pub mod signals;
pub mod terminal;
pub mod wiring;
pub mod worker;
