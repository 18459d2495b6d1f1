//! The programs as they are shipped, as processes of their own, on a real MariaDB and a real RabbitMQ.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hostile;
mod jobs;
mod line;
mod retries;
mod sample;
mod system;
mod webhooks;
mod wiped_broker;
