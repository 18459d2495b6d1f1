//! Measures tasker beside what bounds it and who does the same job: MariaDB, RabbitMQ, an HTTP echo and
//! Celery, on private servers, in one run. `docs/PERFORMANCE.md` holds the method and the last figures.
//!
//! Hosts drift, so a run goes by rounds: what is compared runs side by side in every round, and what is
//! published are medians, and ratios taken within a round.

pub mod args;
pub mod broker;
pub mod chart;
pub mod database;
pub mod document;
pub mod echo;
pub mod figures;
pub mod fill;
pub mod growth;
pub mod limits;
pub mod machine;
pub mod measured;
pub mod peer;
pub mod probe;
pub mod product;
pub mod round;
pub mod runs;
pub mod stage;
pub mod tables;
pub mod targets;
pub mod tasker;
