//! The AMQP broker against the real RabbitMQ that all tests share.

mod contract;
mod faults;
mod foreign;
mod rabbit;
mod raw;
