//! The port's contract, with either kind of queue.

use tasker_broker::amqp::QueueType;
use tasker_testkit::broker_suite;

use crate::rabbit::Rabbit;

broker_suite!(Rabbit::new());

mod quorum {
    use super::*;

    broker_suite!(
        Rabbit::with(|settings| settings.queue_type = QueueType::Quorum);
        everybody_gets_what_goes_to_everybody,
        a_dropped_consumer_gives_back_what_it_held,
        only_one_consumer_of_an_inbox_is_active,
        only_one_consumer_of_reports_is_active,
        a_rejected_message_is_dead,
        hundreds_of_publishes_are_confirmed_each_for_itself,
    );
}
