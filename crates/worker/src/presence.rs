//! That the worker is alive, every few seconds, and nothing else. Not durable, not repeated.

use bytes::Bytes;
use tasker_core::broker::{Address, Message};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::worker::{PUBLISH_PATIENCE, Shared};

/// Sends heartbeats for ever.
pub(crate) async fn presence(shared: &Shared) {
    let settings = &shared.settings;
    let body = Bytes::from(shared.heartbeat().encode());
    let mut ticks = tokio::time::interval(settings.heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The hello has just said so.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let message = Message {
            to: Address::Presence(settings.task_type.clone(), settings.endpoint.clone()),
            id: Uuid::now_v7(),
            body: body.clone(),
        };
        let sent = tokio::time::timeout(PUBLISH_PATIENCE, shared.broker.publish(message)).await;
        if !matches!(sent, Ok(Ok(_))) {
            // The reporter says aloud that the broker is away.
            tracing::debug!(endpoint = %settings.endpoint, "a heartbeat was lost");
        }
    }
}
