//! Builders: a valid value of everything, to be varied by the test.

use bytes::Bytes;
use tasker_core::retry::RetryPolicy;
use tasker_core::task::{Audience, NewTask, RunPolicy};
use tasker_core::{Client, EndpointName, Identifier, TaskType, TaskUid};

/// The task type of that name.
///
/// # Panics
/// If it is not a task type.
#[must_use]
pub fn task_type(name: &str) -> TaskType {
    TaskType::parse(name).expect("a task type")
}

/// The endpoint of that name.
///
/// # Panics
/// If it is not an endpoint name.
#[must_use]
pub fn endpoint(name: &str) -> EndpointName {
    EndpointName::parse(name).expect("an endpoint name")
}

/// The endpoints of these names.
#[must_use]
pub fn endpoints(names: &[&str]) -> Vec<EndpointName> {
    names.iter().map(|name| endpoint(name)).collect()
}

/// A task of type `worker` with an identifier and, unless the list is empty, a list of endpoints.
///
/// # Panics
/// If a name is not one.
#[must_use]
pub fn new_task(identifier: &str, listed: &[&str]) -> NewTask {
    let payload = Bytes::from_static(br#"{"foo":"bar"}"#);
    let list = (!listed.is_empty()).then(|| endpoints(listed));
    NewTask {
        uid: TaskUid::mint(),
        client: Client::local(),
        task_type: task_type("worker"),
        identifier: Identifier::parse(identifier).expect("an identifier"),
        body_hash: NewTask::hash(Some(&payload), list.as_deref(), None, None, None),
        payload: Some(payload),
        audience: if list.is_some() {
            Audience::Listed
        } else {
            Audience::Subscribed
        },
        endpoints: list,
        run_policy: RunPolicy::Once,
        retry: RetryPolicy::DEFAULT,
        timeout_s: 60,
        expires_in_s: 3600,
        wait_s: 30,
        callback_url: None,
    }
}
