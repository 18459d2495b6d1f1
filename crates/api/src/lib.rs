//! tasker's API process: HTTP in front; relay, recorder and scheduler behind.
//!
//! # The line
//!
//! A task goes through these files in this order; each step has one type in and one type out.
//!
//! 1. `receive`: bytes → `CreateTask`
//! 2. `validate`: → `NewTask`, or every fault of the request at once
//! 3. `accept`: → stored `Task`; concurrent requests share a transaction
//! 4. `relay`: → envelopes → confirmed → SENT
//! 5. (workers take, claim, run)
//! 6. `recorder`: reports → response rows, and what they settle; hello → welcome
//! 7. `scheduler`: deadlines and silence → settled tasks; open rows → asks
//! 8. `show`: rows → JSON
//!
//! Beside it, `notifier` tells completions to those who asked for it.
//! `bridge` makes tasks of jobs whose server is a worker, and lets the jobs follow them.
//! Beside the line, `pulls` hands out the tasks of runs and writes what workers say of them.
//!
//! `http` holds the routes and the one place where a refusal becomes `problem+json`; `serve` wires
//! everything and stops it in order.

mod accept;
mod auth;
mod board;
mod bridge;
mod chain;
mod courier;
mod fault;
mod fields;
mod fleet;
mod herald;
mod http;
mod metrics;
mod news;
mod notifier;
mod outage;
mod pause;
mod pulls;
mod receive;
mod recorder;
mod relay;
mod scheduler;
mod serve;
mod settings;
mod show;
mod throttle;
mod validate;

pub use auth::{BadPassword, MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, hash_password};
pub use serve::{Drained, ServeError, serve};
pub use settings::{
    AcceptSettings, ApiSettings, Auth, DEFAULT_EXPIRES_IN_S, Kind, MAX_WAIT_S, RecorderSettings,
    RelaySettings, SchedulerSettings, TaskTypeSettings, Unlisted, Webhooks,
};
