//! Reads request bodies within bounds: bytes, time and the memory of all of them together.

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout_at;

use super::desk::Desk;
use super::problem::{Code, Problem};

/// A body, and the memory that it was granted.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

const KIB: usize = 1024;

/// Reads a JSON body.
pub(crate) async fn read(
    req: &HttpRequest,
    payload: web::Payload,
    desk: &Desk,
) -> Result<Body, Problem> {
    check_type(req)?;
    read_bytes(req, payload, desk).await
}

/// Reads a JSON body that may be left out.
pub(crate) async fn read_optional(
    req: &HttpRequest,
    payload: web::Payload,
    desk: &Desk,
) -> Result<Option<Body>, Problem> {
    let typed = check_type(req);
    if let (Err(problem), true) = (&typed, req.headers().contains_key(CONTENT_TYPE)) {
        return Err(Problem::new(problem.code, WANTED));
    }
    check_encoding(req)?;
    let body = read_bytes(req, payload, desk).await?;
    if body.bytes.is_empty() {
        return Ok(None);
    }
    typed.map(|()| Some(body))
}

const WANTED: &str = "Send `Content-Type: application/json` (in UTF-8).";

/// Only `application/json`: a browser cannot send that to another site unasked.
fn check_type(req: &HttpRequest) -> Result<(), Problem> {
    let mut values = req.headers().get_all(CONTENT_TYPE);
    let is_json = match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(text)), None) => is_json(text),
        _ => false,
    };
    if !is_json {
        return Err(Problem::new(Code::WrongContentType, WANTED));
    }
    check_encoding(req)
}

fn check_encoding(req: &HttpRequest) -> Result<(), Problem> {
    let mut encodings = req.headers().get_all(CONTENT_ENCODING);
    if encodings.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "Send the body as it is, without Content-Encoding.";
        return Err(Problem::new(Code::ContentEncoding, detail));
    }
    Ok(())
}

fn is_json(text: &str) -> bool {
    let mut parts = text.split(';').map(str::trim);
    let is_json = parts
        .next()
        .is_some_and(|t| t.eq_ignore_ascii_case("application/json"));
    is_json
        && parts.all(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else {
                return parameter.is_empty();
            };
            name.trim().eq_ignore_ascii_case("charset")
                && value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

async fn read_bytes(
    req: &HttpRequest,
    mut payload: web::Payload,
    desk: &Desk,
) -> Result<Body, Problem> {
    let limit = desk.settings.max_body_bytes;
    let too_large = || {
        let detail = format!("At most {limit} bytes are allowed.");
        Problem::new(Code::BodyTooLarge, detail)
    };
    // Refused before a byte of it is read.
    let announced = req.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit as u64) {
        return Err(too_large());
    }
    let deadline = Instant::now() + desk.settings.body_timeout;
    let mut bytes = BytesMut::new();
    let mut memory: Option<OwnedSemaphorePermit> = None;
    loop {
        let chunk = match timeout_at(deadline.into(), payload.next()).await {
            Err(_) => {
                let detail = format!("It must arrive within {:?}.", desk.settings.body_timeout);
                return Err(Problem::new(Code::SlowBody, detail));
            }
            Ok(None) => break,
            Ok(Some(Err(_))) => {
                let detail = "The connection broke, or the framing of the body is wrong.";
                return Err(Problem::new(Code::BrokenBody, detail));
            }
            Ok(Some(Ok(chunk))) => chunk,
        };
        if bytes.len() + chunk.len() > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
        let granted = memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = bytes.len().div_ceil(KIB).saturating_sub(granted);
        if wanted > 0 {
            let more = Arc::clone(&desk.body_memory)
                .try_acquire_many_owned(u32::try_from(wanted).unwrap_or(u32::MAX))
                .map_err(|_| {
                    let detail = "Too many large requests are under way; try again.";
                    Problem::new(Code::Overloaded, detail)
                })?;
            match &mut memory {
                Some(memory) => memory.merge(more),
                None => memory = Some(more),
            }
        }
    }
    Ok(Body {
        bytes: bytes.freeze(),
        _memory: memory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf_8_is_json() {
        for text in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json;",
        ] {
            assert!(is_json(text), "{text}");
        }
        for text in [
            "",
            "text/plain",
            "application/jsonp",
            "application/problem+json",
            "application/json; charset=latin1",
            "application/json; boundary=x",
            "text/plain; application/json",
        ] {
            assert!(!is_json(text), "{text}");
        }
    }
}
