//! Pages of other origins may not change anything here.
//!
//! A browser sends a POST without a body to any address, a local one too, on behalf of any page; it
//! only keeps the answer from the page. But it says whose page it was.

use actix_web::ResponseError;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use actix_web::middleware::Next;

use super::problem::{Code, Problem};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what a page of another origin sends, unless it only reads.
pub(super) async fn guard<B: MessageBody + 'static>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let is_read = matches!(*req.method(), Method::GET | Method::HEAD);
    if is_read || !is_foreign(req.headers()) {
        return next
            .call(req)
            .await
            .map(ServiceResponse::map_into_left_body);
    }
    let detail = "Pages of other origins may not send this; programs send no Origin header.";
    let refusal = Problem::new(Code::CrossOrigin, detail).error_response();
    Ok(req.into_response(refusal).map_into_right_body())
}

/// Whether a browser says that it acts for a page of another origin.
fn is_foreign(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(text).unwrap_or_default();
    let is_other = |origin| text(origin).is_none_or(|origin| !is_same(origin, host));
    let is_far = |site| {
        let site = text(site).unwrap_or_default();
        site.eq_ignore_ascii_case("cross-site") || site.eq_ignore_ascii_case("same-site")
    };
    headers.get_all(ORIGIN).any(is_other) || headers.get_all(FETCH_SITE).any(is_far)
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

/// Whether an origin (`scheme://host:port`) is at this host and port. `null` is nowhere.
fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    // Browsers leave the scheme's own port out; other clients may write it.
    let own_port = match scheme.to_ascii_lowercase().as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let bare = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.strip_suffix(own_port).unwrap_or(&text).to_owned()
    };
    !authority.is_empty() && bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_by_host_and_port() {
        for (origin, host, expected) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("HTTP://Tasker.Example:8080", "tasker.example:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://tasker.example", "tasker.example:80", true),
            ("https://tasker.example:443", "tasker.example", true),
            ("http://tasker.example:443", "tasker.example", false),
            ("http://127.0.0.1:8081", "127.0.0.1:8080", false),
            ("http://localhost:8080", "127.0.0.1:8080", false),
            ("http://evil.example", "127.0.0.1:8080", false),
            (
                "http://127.0.0.1:8080.evil.example",
                "127.0.0.1:8080",
                false,
            ),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080", false),
            ("127.0.0.1:8080", "127.0.0.1:8080", false),
            ("null", "127.0.0.1:8080", false),
            ("null", "null", false),
            ("", "", false),
            ("http://", "", false),
        ] {
            assert_eq!(is_same(origin, host), expected, "{origin} at {host}");
        }
    }
}
