//! The one place where a refusal becomes HTTP: `application/problem+json` (RFC 9457).
//!
//! Types are stable: clients may branch on `code` (or `type`), never on texts. Internal text never
//! gets here; it is logged where it arises.

use actix_web::http::StatusCode;
use std::time::Duration;

use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use tasker_core::store::StoreError;
use utoipa::ToSchema;

use crate::chain::chain;
use crate::fault::{Fault, FaultCode, Faults};

macro_rules! codes {
    ($($variant:ident = $status:literal $code:literal $title:literal,)+) => {
        /// Every kind of problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code { $($variant,)+ }

        impl Code {
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// HTTP status, stable code, title.
            pub(crate) const fn spec(self) -> (u16, &'static str, &'static str) {
                match self { $(Self::$variant => ($status, $code, $title)),+ }
            }
        }
    };
}

codes! {
    MalformedJson = 400 "malformed_json" "The body is not one JSON document",
    BrokenBody = 400 "broken_body" "The body did not arrive whole",
    WrongType = 400 "wrong_type" "A value has the wrong type",
    UnknownField = 400 "unknown_field" "A field does not exist",
    MissingField = 400 "missing_field" "A mandatory field is missing",
    BadName = 400 "bad_name" "A name breaks its pattern",
    UnknownState = 400 "unknown_state" "A state does not exist",
    BadValue = 400 "bad_value" "A value is not allowed",
    UnknownParameter = 400 "unknown_parameter" "A query parameter does not exist",
    BadParameter = 400 "bad_parameter" "A query parameter cannot be read",
    Unauthenticated = 401 "unauthenticated" "Who sends this is not known",
    Forbidden = 403 "forbidden" "The account may not do this",
    CrossOrigin = 403 "cross_origin" "A page of another origin may not do this",
    OtherClient = 403 "other_client" "It belongs to another client",
    NoSuchPath = 404 "no_such_path" "There is nothing here",
    UnknownTaskType = 404 "unknown_task_type" "The task type is not configured",
    UnknownTask = 404 "unknown_task" "There is no such task",
    UnknownDatasource = 404 "unknown_datasource" "The datasource is not configured",
    UnknownJob = 404 "unknown_job" "There is no such job",
    NoRequest = 404 "no_request" "There is no request",
    UnknownRun = 404 "unknown_run" "There is no such run",
    UnknownRunTask = 404 "unknown_run_task" "The run has no such task",
    UnknownWorker = 404 "unknown_worker" "The worker has not made itself known",
    UnknownInfo = 404 "unknown_info" "There is no such information",
    UnknownChoice = 404 "unknown_choice" "There is no such choice",
    MethodNotAllowed = 405 "method_not_allowed" "The method is not allowed here",
    SlowBody = 408 "slow_body" "The body took too long",
    IdentifierReused = 409 "identifier_reused" "The identifier was used for another request",
    CancelIllegal = 409 "cancel_illegal" "The task can no longer be cancelled",
    RetryIllegal = 409 "retry_illegal" "The task cannot be retried now",
    JobReused = 409 "job_reused" "The name stands for another job",
    JobMove = 409 "illegal_transition" "The job cannot become so from where it stands",
    JobRestless = 409 "too_many_changes" "The job has changed too often",
    ServedByWorker = 409 "served_by_worker" "A worker performs these jobs",
    TaskNotHeld = 409 "task_not_held" "The task is not the worker's",
    BodyTooLarge = 413 "body_too_large" "The body is too large",
    PayloadTooLarge = 413 "payload_too_large" "The payload is too large",
    WrongContentType = 415 "wrong_content_type" "The body must be application/json",
    ContentEncoding = 415 "content_encoding" "Encoded bodies are not read",
    OutOfBounds = 422 "out_of_bounds" "A value is out of its bounds",
    EmptyList = 422 "empty_list" "A list is empty",
    TooManyEndpoints = 422 "too_many_endpoints" "The list of endpoints is too long",
    UnknownEndpoint = 422 "unknown_endpoint" "An endpoint is not known",
    NotRetryable = 422 "not_retryable" "Responses in that state cannot be retried",
    PayloadSchema = 422 "payload_schema" "The payload breaks the task type's schema",
    CallbackRefused = 422 "callback_refused" "The callback URL is not allowed",
    TooManyLogins = 429 "too_many_logins" "Too many wrong passwords",
    Internal = 500 "internal" "Something went wrong here",
    Overloaded = 503 "overloaded" "Too many requests are under way",
    Unavailable = 503 "unavailable" "The ledger cannot be reached",
    NotReady = 503 "not_ready" "The service is not ready",
}

impl From<FaultCode> for Code {
    fn from(code: FaultCode) -> Self {
        match code {
            FaultCode::MalformedJson => Self::MalformedJson,
            FaultCode::WrongType => Self::WrongType,
            FaultCode::UnknownField => Self::UnknownField,
            FaultCode::MissingField => Self::MissingField,
            FaultCode::BadName => Self::BadName,
            FaultCode::UnknownState => Self::UnknownState,
            FaultCode::BadValue => Self::BadValue,
            FaultCode::UnknownParameter => Self::UnknownParameter,
            FaultCode::BadParameter => Self::BadParameter,
            FaultCode::PayloadTooLarge => Self::PayloadTooLarge,
            FaultCode::OutOfBounds => Self::OutOfBounds,
            FaultCode::EmptyList => Self::EmptyList,
            FaultCode::TooManyEndpoints => Self::TooManyEndpoints,
            FaultCode::UnknownEndpoint => Self::UnknownEndpoint,
            FaultCode::NotRetryable => Self::NotRetryable,
            FaultCode::PayloadSchema => Self::PayloadSchema,
            FaultCode::CallbackRefused => Self::CallbackRefused,
        }
    }
}

/// A refusal.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    detail: String,
    errors: Vec<FieldError>,
    allow: Option<&'static str>,
    retry_after_s: Option<u64>,
}

/// Seconds after which a client may try again.
const RETRY_AFTER_S: u64 = 2;

/// A refusal as JSON (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Problem")]
pub(crate) struct ProblemBody {
    /// `urn:tasker:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem, for people.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened this time, for people.
    detail: String,
    /// The kind of problem, for programs; stable.
    code: &'static str,
    /// Every fault of the request (at most 100), by field.
    errors: Vec<FieldError>,
}

/// One fault of a request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// The field or parameter, as `endpoints[3]`; empty for the whole body.
    field: String,
    /// The kind of fault, for programs; stable.
    code: &'static str,
    /// What is wrong, for people.
    message: String,
    /// What would be allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<String>,
    /// JSON pointer into the field's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
}

impl From<Fault> for FieldError {
    fn from(fault: Fault) -> Self {
        Self {
            field: fault.field,
            code: Code::from(fault.code).spec().1,
            message: fault.message,
            allowed: fault.allowed,
            pointer: fault.pointer,
        }
    }
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            allow: None,
            retry_after_s: None,
        }
    }

    /// Names what is wrong, part by part.
    pub(crate) fn with(mut self, field: &str, message: &str) -> Self {
        self.errors.push(FieldError {
            field: field.into(),
            code: self.code.spec().1,
            message: message.into(),
            allowed: None,
            pointer: None,
        });
        self
    }

    /// The methods that are allowed.
    pub(crate) const fn allow(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    /// When it may be tried again.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_s = Some(wait.as_secs_f64().ceil() as u64);
        self
    }

    /// A ledger that failed while serving a request. A refusal is logged here; an absence is told
    /// once for the whole process.
    pub(crate) fn of_store(error: &StoreError) -> Self {
        if let StoreError::Unavailable(_) = error {
            return Self::unavailable();
        }
        tracing::error!(error = %chain(error), "the ledger failed a request");
        Self::internal()
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(
            Code::Unavailable,
            "The ledger cannot be reached; try again.",
        )
    }

    pub(crate) fn internal() -> Self {
        Self::new(Code::Internal, "The cause is in the log.")
    }
}

impl From<Faults> for Problem {
    fn from(faults: Faults) -> Self {
        let Some(code) = faults.decisive() else {
            return Self::internal();
        };
        let total = faults.total();
        let told = faults.into_told();
        let first = told.iter().find(|fault| fault.code == code);
        let mut detail = first.map_or_else(String::new, |fault| match fault.field.as_str() {
            "" => fault.message.clone(),
            field => format!("{field}: {}", fault.message),
        });
        if total > 1 {
            detail.push_str(&format!(" ({total} faults in all)"));
        }
        Self {
            errors: told.into_iter().map(FieldError::from).collect(),
            ..Self::new(code.into(), detail)
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Faults::from(fault).into()
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code.spec().1)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.spec().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let (status, code, title) = self.code.spec();
        let body = ProblemBody {
            kind: format!("urn:tasker:problem:{code}"),
            title,
            status,
            detail: self.detail.clone(),
            code,
            errors: self.errors.clone(),
        };
        let mut response = HttpResponseBuilder::new(self.status_code());
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        if let Some(seconds) = self
            .retry_after_s
            .or((status == 503).then_some(RETRY_AFTER_S))
        {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if status == 401 {
            response.append_header((WWW_AUTHENTICATE, "Bearer realm=\"tasker\""));
            response.append_header((
                WWW_AUTHENTICATE,
                "Basic realm=\"tasker\", charset=\"UTF-8\"",
            ));
        }
        if let Some(methods) = self.allow {
            response.insert_header((ALLOW, methods));
        }
        // Expect safety: strings, numbers and lists of them always serialise.
        let json = serde_json::to_vec(&body).expect("a problem serialises");
        let mut response = response.body(json);
        response.extensions_mut().insert(self.code);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_every_status_is_a_refusal() {
        let codes: HashSet<_> = Code::ALL.iter().map(|code| code.spec().1).collect();
        assert_eq!(codes.len(), Code::ALL.len());
        assert!(
            Code::ALL
                .iter()
                .all(|code| (400..600).contains(&code.spec().0))
        );
    }

    #[test]
    fn internal_text_stays_inside() {
        let secret = std::io::Error::other("Access denied for user 'tasker'@'db1'");
        for error in [
            StoreError::Unavailable(Box::new(secret)),
            StoreError::Corrupt {
                table: "tasks",
                what: "Access denied".into(),
            },
        ] {
            let problem = Problem::of_store(&error);
            assert!(!format!("{problem:?}").contains("Access"), "{problem:?}");
        }
    }
}
