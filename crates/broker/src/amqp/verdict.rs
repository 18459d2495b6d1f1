//! Which publishes of a batch came back unroutable.
//!
//! lapin hands a returned message to whichever confirm it completes next, not to its own publish,
//! and completes the confirms of one `ack multiple` in arbitrary order. What it does guarantee: the
//! broker sends a return before the confirm of the same message, and each confirm takes the oldest
//! return that waits. So a batch that has a channel to itself is judged as a whole: once all its
//! confirms are in, all its returns have been handed out to some confirm of it.

use std::collections::HashSet;
use std::time::Duration;

use lapin::Confirmation;
use lapin::message::BasicReturnMessage;
use tasker_core::broker::{BrokerError, Confirmed};

use super::error::meaning;
use super::outgoing::Identity;

/// What is known of one publish when the batch ends. `None`: no confirm in time.
pub(super) type Answer = Option<lapin::Result<Confirmation>>;

/// What became of every publish of a batch, in its order. `late` are confirms that came after the
/// time-out: too late for their own publish, but they may carry returns of others.
pub(super) fn judge(
    batch: &[Identity],
    answers: Vec<Answer>,
    late: Vec<Confirmation>,
    limit: Duration,
) -> Vec<Result<Confirmed, BrokerError>> {
    let whole = answers.iter().all(Option::is_some);
    let mut returned = HashSet::new();
    let kinds: Vec<_> = answers
        .into_iter()
        .map(|answer| kind(answer, &mut returned))
        .collect();
    for confirmation in late {
        kind(Some(Ok(confirmation)), &mut returned);
    }
    let timed_out = || Err(BrokerError::TimedOut(limit));
    let verdict = |(identity, kind): (&Identity, Kind)| match kind {
        Kind::Failed(error) => Err(error),
        Kind::Nacked => Err(BrokerError::Nacked),
        Kind::Missing => timed_out(),
        Kind::Acked { .. } if returned.contains(identity) => Ok(Confirmed::Unroutable),
        // No return waited when this confirm came: its own, if there was one, has been seen.
        Kind::Acked { carried: false } => Ok(Confirmed::Routed),
        Kind::Acked { carried: true } if whole => Ok(Confirmed::Routed),
        // Its own return may still wait for a confirm that did not come.
        Kind::Acked { carried: true } => timed_out(),
    };
    batch.iter().zip(kinds).map(verdict).collect()
}

enum Kind {
    /// Confirmed; `carried`: with a return, its own or another's.
    Acked {
        carried: bool,
    },
    Nacked,
    Failed(BrokerError),
    Missing,
}

fn kind(answer: Answer, returned: &mut HashSet<Identity>) -> Kind {
    let (acked, message) = match answer {
        None => return Kind::Missing,
        Some(Err(error)) => return Kind::Failed(meaning(&error)),
        Some(Ok(Confirmation::Ack(message))) => (true, message),
        Some(Ok(Confirmation::Nack(message))) => (false, message),
        Some(Ok(Confirmation::NotRequested)) => {
            return Kind::Failed(BrokerError::Away("confirms are off".into()));
        }
    };
    let carried = message.is_some();
    returned.extend(message.as_ref().map(identity));
    if acked {
        Kind::Acked { carried }
    } else {
        Kind::Nacked
    }
}

fn identity(message: &BasicReturnMessage) -> Identity {
    (
        message.properties.message_id().clone().unwrap_or_default(),
        message.exchange.clone(),
        message.routing_key.clone(),
    )
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use lapin::message::Delivery;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn id(text: &str) -> Identity {
        (text.into(), "exchange".into(), "key".into())
    }

    fn returned(text: &str) -> Option<BasicReturnMessage> {
        let mut delivery = Delivery::mock(0, "exchange".into(), "key".into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_message_id(text.into());
        Some(BasicReturnMessage {
            delivery,
            reply_code: 312,
            reply_text: "NO_ROUTE".into(),
        })
    }

    fn ack(message: Option<BasicReturnMessage>) -> Answer {
        Some(Ok(Confirmation::Ack(message)))
    }

    #[test]
    fn returns_belong_to_their_own_message_whoever_carries_them() {
        let batch = [id("a"), id("b"), id("c")];
        let answers = vec![ack(returned("b")), ack(None), ack(None)];
        let verdicts = judge(&batch, answers, vec![], LIMIT);
        assert_eq!(
            verdicts,
            [
                Ok(Confirmed::Routed),
                Ok(Confirmed::Unroutable),
                Ok(Confirmed::Routed)
            ]
        );
    }

    #[test]
    fn a_late_confirm_still_tells_of_others() {
        let batch = [id("a"), id("b")];
        let late = match ack(returned("b")) {
            Some(Ok(confirmation)) => vec![confirmation],
            _ => Vec::new(),
        };
        let verdicts = judge(&batch, vec![None, ack(None)], late, LIMIT);
        let missing = Err(BrokerError::TimedOut(LIMIT));
        assert_eq!(verdicts, [missing, Ok(Confirmed::Unroutable)]);
    }

    #[test]
    fn what_is_not_certain_is_not_claimed() {
        let batch = [id("a"), id("b"), id("c")];
        let answers = vec![ack(returned("b")), ack(None), None];
        let missing = || Err(BrokerError::TimedOut(LIMIT));
        let verdicts = judge(&batch, answers, vec![], LIMIT);
        assert_eq!(verdicts, [missing(), Ok(Confirmed::Unroutable), missing()]);
    }

    #[test]
    fn a_nack_is_a_nack() {
        let answers = vec![Some(Ok(Confirmation::Nack(None)))];
        let verdicts = judge(&[id("a")], answers, vec![], LIMIT);
        assert_eq!(verdicts, [Err(BrokerError::Nacked)]);
    }
}
