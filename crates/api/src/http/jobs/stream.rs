//! One subscription, as a stream of server-sent events.
//!
//! It holds nothing but its place in the log. When it is woken and its client has taken what came
//! before, it reads the next page from there; a client that reads slowly makes nothing pile up. One
//! that reads nothing at all is cut by the time-out of its connection and resumes by its last number.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use tasker_core::jobs::{Bound, From, Log};
use tasker_core::store::StoreError;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::record::{RequestNotice, StatusNotice};
use super::subscribe::event;
use crate::http::desk::Desk;
use crate::http::problem::Problem;
use crate::news::{Ticket, Topic};

/// How much is read at once; a subscription never holds more.
const CHUNK: Bound = Bound {
    entries: 100,
    bytes: 256 << 10,
};
/// How long to wait with the next look after one that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The first bytes: how soon to reconnect, in milliseconds.
const WELCOME: &[u8] = b"retry: 1000\n\n";
/// A comment that tells both sides that the other one lives.
const HEARTBEAT: &[u8] = b":\n\n";

/// A subscription.
pub(super) struct Feed {
    pub(super) desk: web::Data<Desk>,
    pub(super) topic: Topic,
    pub(super) ticket: Ticket,
    /// The last number that was sent.
    pub(super) position: u64,
    /// There may be more already.
    pub(super) is_behind: bool,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// What it sends; ends when the process stops.
pub(super) fn stream(feed: Feed) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    unfold((feed, false), |(mut feed, is_welcome)| async move {
        let chunk = if is_welcome {
            let stopping = feed.desk.stopping.clone();
            stopping.run_until_cancelled(feed.next()).await?
        } else {
            Bytes::from_static(WELCOME)
        };
        Some((Ok(chunk), (feed, true)))
    })
}

impl Feed {
    /// The next events, or a heartbeat.
    async fn next(&mut self) -> Bytes {
        let beat = self.desk.settings.heartbeat;
        let woken = timeout(beat, async {
            loop {
                if self.is_behind {
                    match self.read().await {
                        Ok(events) if events.is_empty() => {}
                        Ok(events) => return events,
                        Err(_) => tokio::time::sleep(AFTER_FAILURE).await,
                    }
                } else {
                    self.ticket.woken().await;
                    self.is_behind = true;
                }
            }
        });
        // A look that is cut short has not moved the place in the log.
        woken.await.unwrap_or(Bytes::from_static(HEARTBEAT))
    }

    /// What follows the last number; nothing, if nothing does.
    async fn read(&mut self) -> Result<Bytes, Problem> {
        let (jobs, after) = (Arc::clone(&self.desk.jobs), self.position);
        let (mut events, mut position) = (Vec::new(), self.position);
        let is_more = match self.topic.clone() {
            Topic::Requests(datasource) => {
                let of = datasource.clone();
                let page = self
                    .desk
                    .apart(async move { jobs.requests(&of, From::After(after), CHUNK).await })
                    .await?;
                for request in page.entries {
                    position = request.sequence;
                    let notice = RequestNotice::of(&datasource, request);
                    write(&mut events, Log::Requests, position, notice)?;
                }
                page.is_more
            }
            Topic::Changes(datasource, client) => {
                let page = self
                    .desk
                    .apart(async move { jobs.changes(&datasource, &client, after, CHUNK).await })
                    .await?;
                for change in page.entries {
                    position = change.sequence;
                    write(
                        &mut events,
                        Log::Changes,
                        position,
                        StatusNotice::of(change),
                    )?;
                }
                page.is_more
            }
        };
        self.position = position;
        self.is_behind = is_more;
        Ok(events.into())
    }
}

/// Appends one event.
fn write<T: Serialize>(
    events: &mut Vec<u8>,
    log: Log,
    id: u64,
    notice: Result<T, StoreError>,
) -> Result<(), Problem> {
    let notice = notice.map_err(|error| Problem::of_store(&error))?;
    let json = serde_json::to_string(&notice).map_err(|error| {
        tracing::error!(%error, "a notification cannot be written");
        Problem::internal()
    })?;
    events.extend_from_slice(format!("id: {id}\nevent: {}\n", event(log)).as_bytes());
    // Line breaks between the parts of a client's JSON; in its texts there are none.
    for line in json.split(['\n', '\r']) {
        events.extend_from_slice(b"data: ");
        events.extend_from_slice(line.as_bytes());
        events.push(b'\n');
    }
    events.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_block_of_lines() {
        let mut events = Vec::new();
        let raw = serde_json::value::RawValue::from_string("{\r\n\"a\": 1}".to_owned()).unwrap();
        write(&mut events, Log::Changes, 7, Ok(raw)).unwrap();
        let text = String::from_utf8(events).unwrap();
        assert_eq!(
            text,
            "id: 7\nevent: status\ndata: {\ndata: \ndata: \"a\": 1}\n\n"
        );
    }
}
