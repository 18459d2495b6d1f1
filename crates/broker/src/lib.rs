//! The courier between the API and the workers: two backends of
//! [`tasker_core::broker::Broker`].
//!
//! * [`amqp`]: RabbitMQ, for installations of more than one process
//! * [`local`]: in the process itself, for the embedded mode and for tests
//!
//! Both pass the conformance suite of `tasker-testkit`. No other crate knows AMQP; what others need
//! to know of it is how exchanges and queues are called ([`Names`]).

pub mod amqp;
pub mod local;
mod names;

pub use names::{MAX_PREFIX_BYTES, Names};
