//! Why a handshake failed, in words for the operator who has to mend it.

use std::error::Error;
use std::fmt;
use std::io;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, Error as Tls};

/// What went wrong between us and a server, for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    text: String,
    is_lasting: bool,
}

impl Reason {
    /// Whether the same again will fail until somebody changes a certificate or a file.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        self.is_lasting
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a handshake failed: the first error of a chain that says so. `None` if TLS is not to blame;
/// then the error has words of its own.
#[must_use]
pub fn reason(error: &(dyn Error + 'static)) -> Option<Reason> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<Tls>() {
            return Some(Reason {
                text: of_tls(tls),
                is_lasting: matches!(tls, Tls::InvalidCertificate(_)),
            });
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // What it wraps is not in its chain.
            if let Some(inner) = error.get_ref()
                && let Some(reason) = reason(inner)
            {
                return Some(reason);
            }
            let is_early = error.to_string() == "tls handshake eof";
            if error.kind() == io::ErrorKind::UnexpectedEof && is_early {
                return Some(Reason {
                    text: "it closed the connection instead of answering in TLS".to_owned(),
                    is_lasting: false,
                });
            }
        }
        next = error.source();
    }
    None
}

fn of_tls(error: &Tls) -> String {
    match error {
        Tls::InvalidCertificate(error) => of_certificate(error),
        Tls::InvalidMessage(_) => "it does not speak TLS at this port".to_owned(),
        Tls::AlertReceived(alert) => format!("it refused the TLS handshake: {alert:?}"),
        Tls::PeerIncompatible(_) => format!("it offers no TLS that we take (1.2 or 1.3): {error}"),
        error => format!("the TLS handshake failed: {error}"),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "wrong CA: its certificate was signed by an authority that our CA file does not hold"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "wrong CA: its certificate was signed with another key than that of the authority in \
             our CA file"
                .to_owned()
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => of_name(expected, presented),
        CertificateError::NotValidForName => {
            "wrong name: its certificate is for another host than the one that we asked for"
                .to_owned()
        }
        CertificateError::ExpiredContext { time, not_after } => format!(
            "expired: its certificate ended {} ago",
            span(*not_after, *time)
        ),
        CertificateError::Expired => "expired: its certificate has ended".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "not valid yet: its certificate begins in {}; is this machine's clock right?",
            span(*time, *not_before)
        ),
        error => format!("its certificate is refused: {error}"),
    }
}

fn of_name(expected: &ServerName<'_>, presented: &[String]) -> String {
    // `DnsName("db")`, `IpAddress(127.0.0.1)`: rustls' own notation, made plain.
    let plain = |name: &String| {
        let inner = name
            .split_once('(')
            .map_or(name.as_str(), |(_, inner)| inner);
        inner.trim_end_matches(')').trim_matches('"').to_owned()
    };
    let presented: Vec<_> = presented.iter().take(10).map(plain).collect();
    let presented = match presented.is_empty() {
        true => "no host at all (subjectAltName is missing)".to_owned(),
        false => presented.join(", "),
    };
    format!(
        "wrong name: its certificate is for {presented}, and we asked for {}",
        expected.to_str()
    )
}

/// The time between two moments, in the largest unit that fits.
fn span(from: UnixTime, to: UnixTime) -> String {
    let seconds = to.as_secs().saturating_sub(from.as_secs());
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
