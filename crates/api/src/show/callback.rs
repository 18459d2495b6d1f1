//! Where the completion of a task is told, and how that went.

use serde::Serialize;
use tasker_core::notice::Notice;
use utoipa::ToSchema;
use uuid::Uuid;

use super::time;

/// Where the completion is told, and how that went; of several completions (after a retry) the last one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Callback")]
pub(crate) struct CallbackJson {
    /// As the client gave it.
    url: String,
    /// WAITING (nothing to tell yet), PENDING, DELIVERED, or FAILED: every try failed, or the receiver
    /// answered 410.
    #[schema(example = "DELIVERED")]
    state: &'static str,
    /// What the receiver gets as `Tasker-Delivery`; `null` while WAITING.
    delivery: Option<Uuid>,
    /// How many tries have begun, of ten.
    attempts: u32,
    /// The status of the last answer.
    last_status: Option<u16>,
    /// Why the last try failed.
    last_error: Option<String>,
    /// When it is tried (again), UTC; `null`: there is nothing to do.
    next_try_at: Option<String>,
}

impl CallbackJson {
    pub(crate) fn of(url: &str, last: Option<Notice>) -> Self {
        let url = url.to_owned();
        match last {
            None => Self {
                url,
                state: "WAITING",
                delivery: None,
                attempts: 0,
                last_status: None,
                last_error: None,
                next_try_at: None,
            },
            Some(notice) => Self {
                url,
                state: notice.state.as_str(),
                delivery: Some(notice.uid),
                attempts: notice.tries,
                last_status: notice.last_status,
                last_error: notice.last_error,
                next_try_at: notice.next_try_at.map(time),
            },
        }
    }
}
