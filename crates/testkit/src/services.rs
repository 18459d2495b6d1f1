//! Where the real servers of a test run are. `./scripts/test` starts them and sets the variables.

/// A MariaDB or MySQL server whose user may create databases, without a database name:
/// `mysql://user:password@host:port`.
///
/// # Panics
/// If `TASKER_TEST_MYSQL_URL` is not set: a missing service fails the test, it is never skipped.
#[must_use]
pub fn mysql_url() -> String {
    required("TASKER_TEST_MYSQL_URL")
}

/// A RabbitMQ server: `amqp://user:password@host:port`, virtual host `/`.
///
/// # Panics
/// If `TASKER_TEST_AMQP_URL` is not set.
#[must_use]
pub fn amqp_url() -> String {
    required("TASKER_TEST_AMQP_URL")
}

/// The management API of the same RabbitMQ server, with an administrator:
/// `http://user:password@host:port`.
///
/// # Panics
/// If `TASKER_TEST_RABBITMQ_API` is not set.
#[must_use]
pub fn rabbitmq_api() -> String {
    required("TASKER_TEST_RABBITMQ_API")
}

fn required(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("set {name} or run ./scripts/test"))
}
