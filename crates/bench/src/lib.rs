//! tasker's load generator, behind `tasker bench`.
//!
//! It plays both ends of the line in one process: clients that POST, and simulated endpoints that take
//! tasks from real queues, write them to a real journal and report. In between is whatever
//! installation it is pointed at. A figure counts only if every task ended DONE with all its responses
//! SUCCEEDED; otherwise the run is void and says why.
//!
//! # Layout
//!
//! * [`accept`], [`fanout`], [`latency`], [`reads`]: what is measured, a file each
//! * [`bench`](mod@bench): what all of them share
//! * `fleet`, `endpoint`, `journal`: the simulated endpoints
//! * `connection`, `client`, `posting`: the clients
//! * `walk`: when all tasks are finished, and whether all succeeded
//! * `spread`: percentiles

pub mod accept;
pub mod bench;
mod client;
mod connection;
mod endpoint;
mod error;
pub mod fanout;
mod fleet;
mod journal;
pub mod latency;
mod posting;
mod progress;
pub mod reads;
mod spread;
mod walk;

pub use bench::{Audience, Bench};
pub use error::BenchError;
pub use progress::Progress;
