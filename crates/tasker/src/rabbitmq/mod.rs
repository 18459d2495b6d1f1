//! RabbitMQ from outside: its management API, and who may do what on it.
//!
//! Used by `tasker init` and `tasker endpoint` only. The API process and the workers speak AMQP.

pub mod api;
mod call;
pub mod rights;
pub mod setup;
