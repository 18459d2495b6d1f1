//! What the two HTTP clients share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tasker_tls::{Ca, TlsError};

use ureq::http::Response;
use ureq::http::request::Builder;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// Sends a request with or without a body and waits for the head of the answer; the whole exchange
/// may take `within`.
pub(crate) fn send(
    agent: &Agent,
    request: Builder,
    body: Option<&str>,
    within: Duration,
) -> Result<Response<Body>, ureq::Error> {
    // A body of no bytes is still a body, which a GET must not have.
    match body {
        Some(text) => {
            let request = agent.configure_request(request.body(text)?);
            agent.run(request.timeout_global(Some(within)).build())
        }
        None => {
            let request = agent.configure_request(request.body(())?);
            agent.run(request.timeout_global(Some(within)).build())
        }
    }
}

/// Whom a client trusts: the authorities of a file, or those of the system if the URL needs any.
///
/// # Errors
/// [`TlsError`].
pub(crate) fn trust(url: &str, ca: Option<&Path>) -> Result<TlsConfig, TlsError> {
    let ca = match ca {
        Some(path) => Some(Ca::read(path)?),
        None if url.starts_with("https://") => Some(Ca::system()?),
        None => None,
    };
    let certificates = ca.iter().flat_map(Ca::certificates);
    let roots = certificates.map(|der| Certificate::from_der(der).to_owned());
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
        .unversioned_rustls_crypto_provider(tasker_tls::provider())
        .build())
}

/// Why an exchange with a URL failed, and whether it will fail again until somebody changes something.
pub(crate) fn told(error: &ureq::Error, url: &str) -> (String, bool) {
    let reason = match error {
        ureq::Error::Io(error) => tasker_tls::reason(error),
        ureq::Error::Rustls(error) => tasker_tls::reason(error),
        _ => None,
    };
    match reason {
        Some(reason) => (reason.to_string(), reason.is_lasting()),
        // An alert of TLS reads like a bad answer.
        None if url.starts_with("http://") && is_no_http(error) => {
            let hint = "if TLS is spoken there, use an https:// URL";
            (format!("{error}; {hint}"), true)
        }
        None => (error.to_string(), false),
    }
}

fn is_no_http(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Protocol(_)) && error.to_string().contains("parse fail")
}
