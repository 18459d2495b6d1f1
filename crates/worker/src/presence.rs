//! That the worker is alive, every few seconds, and what it refused. Not durable; only the counts of
//! refusals are repeated until the broker has them.

use bytes::Bytes;
use tasker_core::broker::{Address, Confirmed, Message};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::worker::{PUBLISH_PATIENCE, Shared};

/// Sends heartbeats for ever.
pub(crate) async fn presence(shared: &Shared) {
    let settings = &shared.settings;
    let mut ticks = tokio::time::interval(settings.heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The hello has just said so.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let mut heartbeat = shared.heartbeat();
        heartbeat.refused = shared.refusals.untold();
        let message = Message {
            to: Address::Presence(settings.task_type.clone(), settings.endpoint.clone()),
            persistent: false,
            id: Uuid::now_v7(),
            body: Bytes::from(heartbeat.encode()),
        };
        let sent = tokio::time::timeout(PUBLISH_PATIENCE, shared.broker.publish(message)).await;
        if matches!(sent, Ok(Ok(Confirmed::Routed))) {
            shared.refusals.told(&heartbeat.refused);
        } else {
            // The reporter says aloud that the broker is away.
            tracing::debug!(endpoint = %settings.endpoint, "a heartbeat was lost");
        }
    }
}
