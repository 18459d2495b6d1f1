//! From lapin's errors to the port's, in one place.

use std::future::Future;
use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::ShortString;
use tasker_core::broker::BrokerError;

/// What a failed operation means to the port. What RabbitMQ refuses for good is `Denied`; the rest
/// may pass.
pub(super) fn meaning(error: &lapin::Error) -> BrokerError {
    let ErrorKind::ProtocolError(protocol) = error.kind() else {
        return BrokerError::Away(error.to_string());
    };
    let text = protocol.get_message().to_string();
    match protocol.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED | AMQPSoftError::PRECONDITIONFAILED)
        | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => BrokerError::Denied(text),
        _ => BrokerError::Away(text),
    }
}

/// Whether the exchange or the queue does not exist.
pub(super) fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(protocol)
        if *protocol.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}

/// An AMQP name. lapin panics on those of more than 255 bytes.
pub(super) fn short(text: String) -> Result<ShortString, BrokerError> {
    ShortString::try_new(text).map_err(|error| BrokerError::Denied(error.to_string()))
}

/// What a failed preparation means to a message that waited for it: nothing was sent. `TimedOut` would
/// say that it was and that its confirm is late.
pub(super) fn unsent(error: BrokerError) -> BrokerError {
    match error {
        BrokerError::TimedOut(_) => BrokerError::Away(error.to_string()),
        error => error,
    }
}

/// Waits for an operation, but not for ever.
pub(super) async fn within<T>(
    limit: Duration,
    operation: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(limit, operation).await {
        Ok(done) => done.map_err(|error| meaning(&error)),
        Err(_) => Err(BrokerError::TimedOut(limit)),
    }
}
