//! Step 2 of the line, validate: [`CreateTask`] → [`NewTask`]. A pure function that tells every
//! fault at once; past it nothing of the request is checked again.

use std::collections::HashSet;

use bytes::Bytes;
use tasker_core::callback::CallbackUrl;
use tasker_core::name::NAME_PATTERN;
use tasker_core::task::{Audience, MAX_EXPIRES_IN_S, NewTask};
use tasker_core::{Client, EndpointName, Identifier, TaskUid};

use crate::fault::{Fault, FaultCode, Faults};
use crate::receive::CreateTask;
use crate::settings::{ApiSettings, DEFAULT_EXPIRES_IN_S, TaskTypeSettings, Unlisted, Webhooks};

/// What a request is judged by.
pub(crate) struct Rules<'a> {
    pub(crate) client: &'a Client,
    pub(crate) task_type: &'a TaskTypeSettings,
    pub(crate) settings: &'a ApiSettings,
    /// The endpoints that lists may name; `None`: any.
    pub(crate) known: Option<&'a HashSet<EndpointName>>,
}

/// Judges a request.
pub(crate) fn validate(asked: CreateTask, rules: &Rules<'_>) -> Result<NewTask, Faults> {
    let mut faults = asked.faults;
    let kind = rules.task_type;

    let identifier = match asked.identifier {
        Some(text) => name(
            &mut faults,
            "identifier".to_owned(),
            &text,
            Identifier::parse,
        ),
        None => {
            // One of the wrong type is not missing, and has been told already.
            if !faults.tell_of("identifier") {
                faults.push(Fault::new(
                    FaultCode::MissingField,
                    "identifier",
                    "is mandatory",
                ));
            }
            None
        }
    };
    let payload = asked.payload;
    judge_json(
        &mut faults,
        "payload",
        payload.as_ref(),
        kind,
        rules.settings,
    );
    let endpoints = asked
        .endpoints
        .map(|list| names(&mut faults, list, rules.settings.max_endpoints));
    if let (Some(known), Some(list)) = (rules.known, &endpoints) {
        for (place, name) in list.iter().filter(|(_, name)| !known.contains(name)) {
            let message = format!("no worker of endpoint {name} has said hello yet");
            let field = format!("endpoints[{place}]");
            faults.push(Fault::new(FaultCode::UnknownEndpoint, field, message));
        }
    }
    let timeout_s = bounded(
        &mut faults,
        "timeout_s",
        asked.timeout_s,
        kind.max_timeout_s,
    );
    let expires_in_s = bounded(
        &mut faults,
        "expires_in_s",
        asked.expires_in_s,
        MAX_EXPIRES_IN_S,
    );

    let callback_url = asked
        .callback_url
        .and_then(|text| callback(&mut faults, &text, rules.settings.webhooks.as_ref()));

    let Some(identifier) = identifier else {
        return Err(faults);
    };
    let endpoints: Option<Vec<_>> =
        endpoints.map(|list| list.into_iter().map(|(_, name)| name).collect());
    let audience = match (&endpoints, kind.unlisted) {
        (None, _) => Audience::Subscribed,
        (Some(_), Unlisted::Ignore) => Audience::Listed,
        (Some(_), Unlisted::Perform) => Audience::Everybody,
    };
    faults.or(NewTask {
        uid: TaskUid::mint(),
        client: rules.client.clone(),
        task_type: kind.name.clone(),
        identifier,
        body_hash: NewTask::hash(
            payload.as_deref(),
            endpoints.as_deref(),
            timeout_s,
            expires_in_s,
            callback_url.as_ref(),
        ),
        // A copy: the slice would keep the whole body in memory.
        payload: payload.map(|bytes| Bytes::copy_from_slice(&bytes)),
        endpoints,
        audience,
        run_policy: kind.run_policy,
        retry: kind.retry,
        timeout_s: timeout_s.unwrap_or(kind.timeout_s),
        expires_in_s: expires_in_s.unwrap_or(DEFAULT_EXPIRES_IN_S),
        wait_s: rules.settings.wait_for_endpoints_timeout_s,
        callback_url,
    })
}

/// Judges a client's JSON by the limits and the schema of its task type.
pub(crate) fn judge_json(
    faults: &mut Faults,
    field: &str,
    payload: Option<&Bytes>,
    kind: &TaskTypeSettings,
    settings: &ApiSettings,
) {
    let limit = settings.max_payload_bytes;
    let length = payload.map_or(0, Bytes::len);
    if length > limit {
        let message = format!("{length} bytes are too many");
        let fault = Fault::new(FaultCode::PayloadTooLarge, field, message);
        faults.push(fault.allow(format!("at most {limit} bytes")));
    } else if let Some(schema) = &kind.schema
        && let Err(broken) = schema.check(payload.map(|bytes| &bytes[..]))
    {
        for fault in broken {
            // The library quotes the faulty value, which may be long.
            let message: String = fault.message.chars().take(300).collect();
            faults.push(Fault::new(FaultCode::PayloadSchema, field, message).at(fault.pointer));
        }
    }
}

/// The names of a list, each with the place where it came first.
fn names(
    faults: &mut Faults,
    list: Vec<(usize, String)>,
    limit: usize,
) -> Vec<(usize, EndpointName)> {
    if list.is_empty() && !faults.tell_of("endpoints") {
        let message = "must name at least one endpoint; leave it out to reach every subscriber";
        faults.push(Fault::new(FaultCode::EmptyList, "endpoints", message));
    }
    let mut seen = HashSet::new();
    let mut names = Vec::with_capacity(list.len());
    for (place, text) in list {
        let field = format!("endpoints[{place}]");
        let parsed = name(faults, field, &text, EndpointName::parse);
        if let Some(name) = parsed.filter(|name| seen.insert(name.clone())) {
            names.push((place, name));
        }
    }
    if names.len() > limit {
        let message = format!("{} endpoints are too many", names.len());
        let fault = Fault::new(FaultCode::TooManyEndpoints, "endpoints", message);
        faults.push(fault.allow(format!("at most {limit}")));
    }
    names
}

/// A name, or the fault that it is none.
pub(crate) fn name<T>(
    faults: &mut Faults,
    field: String,
    text: &str,
    parse: impl Fn(&str) -> Result<T, tasker_core::NameError>,
) -> Option<T> {
    parse(text)
        .map_err(|error| {
            let fault = Fault::new(FaultCode::BadName, field, error.to_string());
            faults.push(fault.allow(NAME_PATTERN));
        })
        .ok()
}

/// How many hosts of the list a client is told.
const HOSTS_TOLD: usize = 20;

/// A URL that may be called, or the fault that it may not.
pub(crate) fn callback(
    faults: &mut Faults,
    text: &str,
    webhooks: Option<&Webhooks>,
) -> Option<CallbackUrl> {
    let refuse = |message: String, allowed: &str| {
        Fault::new(FaultCode::CallbackRefused, "callback_url", message).allow(allowed)
    };
    let Some(webhooks) = webhooks.filter(|webhooks| !webhooks.allow.is_empty()) else {
        let message = "callbacks are not allowed here (webhooks.allow)".to_owned();
        faults.push(refuse(message, "none"));
        return None;
    };
    let fault = match CallbackUrl::parse(text) {
        Ok(url) if webhooks.allow.allows(url.origin()) => return Some(url),
        Ok(url) => format!("{} is not on the list of webhooks.allow", url.origin()),
        Err(error) => error.to_string(),
    };
    let mut hosts = webhooks.allow.entries();
    let told: Vec<String> = hosts.by_ref().take(HOSTS_TOLD).collect();
    let mut allowed = told.join(", ");
    let rest = hosts.count();
    if rest > 0 {
        allowed.push_str(&format!(", and {rest} more"));
    }
    faults.push(refuse(fault, &allowed));
    None
}

fn bounded(faults: &mut Faults, field: &str, value: Option<i64>, max: u32) -> Option<u32> {
    let value = value?;
    let fits = u32::try_from(value).ok().filter(|v| (1..=max).contains(v));
    if fits.is_none() {
        let fault = Fault::new(FaultCode::OutOfBounds, field, "is out of its bounds");
        faults.push(fault.allow(format!("1..={max}")));
    }
    fits
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
