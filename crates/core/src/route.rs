//! Which way a task travels: one pure function of its list and the size of the fleet.

use crate::name::EndpointName;
use crate::task::Audience;

/// Lists up to this length may travel with the message; longer ones never are copied per endpoint.
pub const MAX_AUDIENCE: usize = 64;

/// The way of a message to the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// Once to the task type's fanout exchange; with names, those who are not named skip it.
    Fanout(Option<&'a [EndpointName]>),
    /// To the inboxes of these endpoints only.
    Inbox(&'a [EndpointName]),
}

/// Chooses the way. `known` is the number of endpoints that are known for the task type.
///
/// Open tasks and those that everybody performs go by fanout. A list goes by fanout, with its names,
/// if it is short and covers at least a quarter of the known endpoints; otherwise to the inboxes: 3
/// of 10,000 endpoints cost 3 deliveries, and a list of 10,000 names is never copied 10,000 times.
#[must_use]
pub fn route<'a>(
    audience: Audience,
    endpoints: Option<&'a [EndpointName]>,
    known: usize,
) -> Route<'a> {
    match (audience, endpoints) {
        (Audience::Listed, Some(list)) => {
            if list.len() <= MAX_AUDIENCE && list.len() * 4 >= known {
                Route::Fanout(Some(list))
            } else {
                Route::Inbox(list)
            }
        }
        _ => Route::Fanout(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<EndpointName> {
        (0..n)
            .map(|i| EndpointName::parse(&format!("e{i}")).unwrap())
            .collect()
    }

    #[test]
    fn open_tasks_go_to_everybody() {
        let list = names(3);
        assert_eq!(
            route(Audience::Subscribed, None, 10_000),
            Route::Fanout(None)
        );
        assert_eq!(
            route(Audience::Everybody, Some(&list), 10_000),
            Route::Fanout(None)
        );
    }

    #[test]
    fn lists_go_where_they_cost_least() {
        for (len, known, fanout) in [
            (2, 2, true),
            (2, 8, true),
            (2, 9, false),
            (3, 10_000, false),
            (64, 64, true),
            (65, 65, false),
            (64, 0, true),
        ] {
            let list = names(len);
            let way = route(Audience::Listed, Some(&list), known);
            let wanted = if fanout {
                Route::Fanout(Some(&list))
            } else {
                Route::Inbox(&list)
            };
            assert_eq!(way, wanted, "{len} of {known}");
        }
    }
}
