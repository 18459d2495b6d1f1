//! One call of RabbitMQ's management API, and what can go wrong with it.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tasker_tls::TlsError;
use ureq::Agent;
use ureq::http::{Method, Request};

use crate::config::{RabbitmqConfig, Secret};
use crate::http::{self, send};
use crate::terminal::harmless;

/// How long one call may take. Deleting a virtual host with many queues is the slowest.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Answers beyond this are not read: a list of 100,000 queues needs about 20 MB.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The file of authorities cannot be used.
    #[error("rabbitmq.ca: {0}")]
    Ca(#[from] TlsError),
    /// Nobody answers there.
    #[error("RabbitMQ's management API at {url} cannot be reached: {reason}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What happened.
        reason: String,
    },
    /// Somebody answers who is not the management API.
    #[error("{url} does not answer like RabbitMQ's management API: {reason}")]
    Strange {
        /// Where it was looked for.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The account is not known or not an administrator.
    #[error(
        "RabbitMQ refused {what}: {username:?} is unknown, not an administrator, or has another password"
    )]
    Denied {
        /// What was asked for.
        what: String,
        /// The account.
        username: String,
    },
    /// It does not exist.
    #[error("RabbitMQ does not know {what}")]
    Missing {
        /// What was asked for.
        what: String,
    },
    /// It was refused.
    #[error("RabbitMQ refused {what}: {reason}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What RabbitMQ said.
        reason: String,
    },
}

/// The management API of one virtual host, as an administrator.
#[derive(Debug)]
pub struct ManagementApi {
    agent: Agent,
    url: String,
    username: String,
    authorization: Secret,
    pub(super) vhost: String,
}

impl ManagementApi {
    /// Nothing is called yet.
    ///
    /// # Errors
    /// [`ApiError::Ca`].
    pub fn new(config: &RabbitmqConfig, vhost: &str) -> Result<Self, ApiError> {
        let trust = http::trust(&config.apiurl, config.ca.as_deref())?;
        let account = &config.account;
        let pair = format!("{}:{}", account.username, account.password.expose());
        Ok(Self {
            agent: Agent::config_builder()
                .tls_config(trust)
                .timeout_connect(Some(Duration::from_secs(5)))
                .http_status_as_error(false)
                .max_redirects(0)
                // A proxy of the environment is meant for the web, not for the broker next door.
                .proxy(None)
                .build()
                .new_agent(),
            url: config.apiurl.clone(),
            username: account.username.clone(),
            authorization: Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair))),
            vhost: vhost.to_owned(),
        })
    }

    pub(super) fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<T, ApiError> {
        let body = self.call(what, Method::GET, path, None)?;
        serde_json::from_slice(&body).map_err(|e| self.strange(&e.to_string()))
    }

    pub(super) fn put(&self, what: &str, path: &str, body: &Value) -> Result<(), ApiError> {
        self.call(what, Method::PUT, path, Some(body)).map(drop)
    }

    pub(super) fn delete(&self, what: &str, path: &str) -> Result<(), ApiError> {
        match self.call(what, Method::DELETE, path, None) {
            Ok(_) | Err(ApiError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn call(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Vec<u8>, ApiError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/api/{path}", self.url))
            .header("authorization", self.authorization.expose())
            .header("content-type", "application/json");
        let unreachable = |error: ureq::Error| ApiError::Unreachable {
            url: self.url.clone(),
            reason: http::told(&error, &self.url).0,
        };
        let body = body.map(Value::to_string);
        let sent = send(&self.agent, request, body.as_deref(), TIMEOUT);
        let mut response = sent.map_err(unreachable)?;
        let status = response.status().as_u16();
        let answer = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec();
        let answer = answer.map_err(unreachable)?;
        match status {
            200..=299 => Ok(answer),
            401 | 403 => Err(ApiError::Denied {
                what: what.to_owned(),
                username: self.username.clone(),
            }),
            404 => Err(ApiError::Missing {
                what: what.to_owned(),
            }),
            _ => Err(ApiError::Refused {
                what: what.to_owned(),
                reason: reason(status, &answer),
            }),
        }
    }

    pub(super) fn strange(&self, reason: &str) -> ApiError {
        ApiError::Strange {
            url: self.url.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// What RabbitMQ says of a refusal: `{"error":"bad_request","reason":"…"}`.
fn reason(status: u16, answer: &[u8]) -> String {
    let said = serde_json::from_slice::<Value>(answer)
        .ok()
        .and_then(|json| json["reason"].as_str().map(harmless));
    said.unwrap_or_else(|| format!("status {status}"))
}

/// A name as one part of a path.
pub(super) fn part(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // A dot too: the parts `.` and `..` have a meaning.
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_of_a_path() {
        assert_eq!(part("/"), "%2F");
        assert_eq!(part(".."), "%2E%2E");
        assert_eq!(part("tasker-a_b é"), "tasker-a_b%20%C3%A9");
    }

    #[test]
    fn a_refusal_says_why() {
        assert_eq!(
            reason(400, br#"{"error":"bad_request","reason":"inequivalent"}"#),
            "inequivalent"
        );
        assert_eq!(reason(500, b"<html>"), "status 500");
    }
}
