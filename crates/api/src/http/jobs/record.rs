//! The records of jobs: what clients and servers send, and what they get.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use tasker_core::callback::CallbackUrl;
use tasker_core::jobs::{Asked, Change, Job, JobStatus, MAX_ERROR_BYTES, Outcome, Request};
use tasker_core::store::StoreError;
use tasker_core::{Client, Identifier, TaskType};
use utoipa::ToSchema;

use crate::fault::{Fault, FaultCode, Faults};
use crate::fields::Fields;
use crate::http::query::words;
use crate::settings::{ApiSettings, TaskTypeSettings};
use crate::show::CallbackJson;
use crate::validate::{callback, judge_json, name};

/// A job, as its client sends it.
#[derive(Debug, ToSchema)]
#[schema(title = "JobRecord")]
#[expect(dead_code, reason = "the schema of what is read field by field")]
pub(crate) struct JobBody {
    /// The client's own name of the job, unique per datasource; a GUID, for example.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    job: String,
    /// The client; its own name if it is left out.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    client: Option<String>,
    /// What is asked: any JSON, kept byte for byte; at most 256 KiB, 32 levels deep, no key twice.
    request: Option<serde_json::Value>,
    /// Where its end is told, by POST; https, of a host that this installation allows.
    #[schema(max_length = 2048)]
    callback_url: Option<String>,
}

/// Who cancels, or subscribes.
#[derive(Debug, ToSchema)]
#[schema(title = "JobClient")]
#[expect(dead_code, reason = "the schema of what is read field by field")]
pub(crate) struct ClientBody {
    /// The client; the caller's own name if it is left out.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    client: Option<String>,
}

/// How a job stands, as its server sends it.
#[derive(Debug, ToSchema)]
#[schema(title = "JobUpdate")]
#[expect(dead_code, reason = "the schema of what is read field by field")]
pub(crate) struct UpdateBody {
    /// The job; the one of the path if it is left out.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    job: Option<String>,
    /// Its client, as a check.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    client: Option<String>,
    /// submitted, accepted, retrying, complete, cancelled, forbidden or failed.
    status: String,
    /// The answer: any JSON, kept byte for byte; only with `complete`.
    response: Option<serde_json::Value>,
    /// What went wrong; not with `submitted`, `accepted` or `complete`.
    #[schema(max_length = 4096)]
    error: Option<String>,
}

/// A job record that was read.
#[derive(Debug)]
pub(super) struct Submit {
    pub(super) job: Identifier,
    pub(super) client: Option<Client>,
    pub(super) request: Option<Bytes>,
    pub(super) callback_url: Option<CallbackUrl>,
}

/// A name in a field.
fn named<T>(
    fields: &mut Fields<'_>,
    field: &str,
    parse: impl Fn(&str) -> Result<T, tasker_core::NameError>,
) -> Option<T> {
    let text: String = fields.value(field, "string")?;
    name(&mut fields.faults, field.to_owned(), &text, parse)
}

fn mandatory<T>(faults: &mut Faults, field: &str, value: Option<&T>) {
    if value.is_none() && !faults.tell_of(field) {
        faults.push(Fault::new(FaultCode::MissingField, field, "is mandatory"));
    }
}

/// A copy: a slice would keep the whole body in memory.
fn copied(raw: &RawValue) -> Bytes {
    Bytes::copy_from_slice(raw.get().as_bytes())
}

/// Reads a job record.
pub(super) fn read_submit(
    body: &[u8],
    kind: &TaskTypeSettings,
    settings: &ApiSettings,
) -> Result<Submit, Faults> {
    let mut fields = Fields::read(body)?;
    let job = named(&mut fields, "job", Identifier::parse);
    let client = named(&mut fields, "client", Client::parse);
    let request = fields.raw("request").map(copied);
    let callback_url: Option<String> = fields.value("callback_url", "string");
    let mut faults = fields.finish(&["job", "client", "request", "callback_url"]);
    let callback_url =
        callback_url.and_then(|text| callback(&mut faults, &text, settings.webhooks.as_ref()));
    mandatory(&mut faults, "job", job.as_ref());
    judge_json(&mut faults, "request", request.as_ref(), kind, settings);
    match job {
        None => Err(faults),
        Some(job) => faults.or(Submit {
            job,
            client,
            request,
            callback_url,
        }),
    }
}

/// Reads the client that a body names.
pub(super) fn read_client(body: &[u8]) -> Result<Option<Client>, Faults> {
    let mut fields = Fields::read(body)?;
    let client = named(&mut fields, "client", Client::parse);
    fields.finish(&["client"]).or(client)
}

/// Reads a status record for the job of the path.
pub(super) fn read_update(
    body: &[u8],
    job: &Identifier,
    settings: &ApiSettings,
) -> Result<(Option<Client>, Outcome), Faults> {
    let mut fields = Fields::read(body)?;
    let said = named(&mut fields, "job", Identifier::parse);
    let client = named(&mut fields, "client", Client::parse);
    let word: Option<String> = fields.value("status", "string");
    let response = fields.raw("response").map(copied);
    let error: Option<String> = fields.value("error", "string");
    let mut faults = fields.finish(&["job", "client", "status", "response", "error"]);
    if said.is_some_and(|said| said != *job) {
        let message = "is not the job of the path";
        faults.push(Fault::new(FaultCode::OutOfBounds, "job", message));
    }
    mandatory(&mut faults, "status", word.as_ref());
    let status = word.and_then(|word| status(&mut faults, &word));
    judge_length(&mut faults, response.as_ref(), settings);
    if let (Some(status), true) = (status, response.is_some())
        && !status.has_response()
    {
        let fault = Fault::new(
            FaultCode::OutOfBounds,
            "response",
            format!("does not go with {status}"),
        );
        faults.push(fault.allow("only with complete"));
    }
    if let Some(error) = &error {
        judge_error(&mut faults, error, status);
    }
    match status {
        None => Err(faults),
        Some(status) => faults.or((
            client,
            Outcome {
                status,
                response,
                error,
            },
        )),
    }
}

fn status(faults: &mut Faults, word: &str) -> Option<JobStatus> {
    let status = JobStatus::from_word(word);
    if status.is_none() {
        let fault = Fault::new(FaultCode::UnknownState, "status", "there is no such status");
        faults.push(fault.allow(words(JobStatus::ALL.iter().map(|s| s.as_str()))));
    }
    status
}

fn judge_length(faults: &mut Faults, response: Option<&Bytes>, settings: &ApiSettings) {
    let (length, limit) = (response.map_or(0, Bytes::len), settings.max_payload_bytes);
    if length > limit {
        let message = format!("{length} bytes are too many");
        let fault = Fault::new(FaultCode::PayloadTooLarge, "response", message);
        faults.push(fault.allow(format!("at most {limit} bytes")));
    }
}

fn judge_error(faults: &mut Faults, error: &str, status: Option<JobStatus>) {
    if error.len() > MAX_ERROR_BYTES {
        let fault = Fault::new(FaultCode::OutOfBounds, "error", "is too long");
        faults.push(fault.allow(format!("at most {MAX_ERROR_BYTES} bytes")));
    }
    if let Some(status) = status.filter(|status| !status.has_error()) {
        let message = format!("does not go with {status}");
        let allowed = JobStatus::ALL.iter().filter(|s| s.has_error());
        let allowed = words(allowed.map(|s| s.as_str()));
        let fault = Fault::new(FaultCode::OutOfBounds, "error", message);
        faults.push(fault.allow(format!("only with {allowed}")));
    }
}

/// JSON as it is stored.
fn raw(bytes: Option<Bytes>) -> Result<Option<Box<RawValue>>, StoreError> {
    let corrupt = |what: String| StoreError::Corrupt {
        table: "jobs",
        what,
    };
    bytes
        .map(|bytes| {
            let text = String::from_utf8(bytes.into()).map_err(|e| corrupt(e.to_string()))?;
            RawValue::from_string(text).map_err(|e| corrupt(e.to_string()))
        })
        .transpose()
}

/// Times of jobs in JSON: UTC, to the microsecond.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A job that was stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "JobKey")]
pub(crate) struct JobKey {
    /// The client's own name of the job.
    pub(super) job: String,
    /// The client.
    pub(super) client: String,
}

/// How a job stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "JobStatus")]
pub(crate) struct StatusJson {
    /// The job.
    job: String,
    /// Its client.
    client: String,
    /// submitted, accepted, retrying, complete, cancelled, forbidden or failed.
    #[schema(example = "accepted")]
    status: &'static str,
    /// The server's answer, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    response: Option<Box<RawValue>>,
    /// What went wrong, if the server said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// How its end was told, if somebody wants to be; shown to who polls.
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<CallbackJson>,
}

impl StatusJson {
    pub(super) fn of(job: Job) -> Result<Self, StoreError> {
        Ok(Self {
            job: job.job.into(),
            client: job.client.into(),
            status: job.outcome.status.as_str(),
            response: raw(job.outcome.response)?,
            error: job.outcome.error,
            callback: None,
        })
    }

    /// The same, with how its end was told.
    pub(super) fn with_callback(self, callback: Option<CallbackJson>) -> Self {
        Self { callback, ..self }
    }
}

/// That a job changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "JobStatusNotification")]
pub(crate) struct StatusNotice {
    datasource_id: String,
    job: String,
    /// `status`
    #[serde(rename = "type")]
    kind: &'static str,
    client: String,
    data: StatusJson,
    /// When, UTC; later than of any notification before.
    timestamp: String,
}

impl StatusNotice {
    pub(super) fn of(change: Change) -> Result<Self, StoreError> {
        Ok(Self {
            datasource_id: change.job.datasource.as_str().to_owned(),
            job: change.job.job.as_str().to_owned(),
            kind: "status",
            client: change.job.client.as_str().to_owned(),
            timestamp: time(change.at),
            data: StatusJson::of(change.job)?,
        })
    }
}

/// What a client asks: a job record, or, without `request`, a cancel record.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "JobRequest")]
pub(crate) struct RequestJson {
    job: String,
    client: String,
    /// What is asked, `null` if nothing was sent along. Left out: the client asks to cancel the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    request: Option<Option<Box<RawValue>>>,
}

/// That a client asks something of the server.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "JobRequestNotification")]
pub(crate) struct RequestNotice {
    datasource_id: String,
    job: String,
    /// `request`
    #[serde(rename = "type")]
    kind: &'static str,
    client: String,
    data: RequestJson,
    /// When it was stored, UTC; later than of any request before.
    #[schema(example = "2026-05-06T01:14:24.123456Z")]
    timestamp: String,
}

impl RequestNotice {
    pub(super) fn of(datasource: &TaskType, request: Request) -> Result<Self, StoreError> {
        let (job, client) = (request.job.as_str(), request.client.as_str());
        Ok(Self {
            datasource_id: datasource.as_str().to_owned(),
            job: job.to_owned(),
            kind: "request",
            client: client.to_owned(),
            timestamp: time(request.at),
            data: RequestJson {
                job: job.to_owned(),
                client: client.to_owned(),
                request: match request.asked {
                    Asked::Submit(bytes) => Some(raw(bytes)?),
                    Asked::Cancel => None,
                },
            },
        })
    }
}
