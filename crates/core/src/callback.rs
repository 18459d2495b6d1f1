//! Callback URLs, and the list of hosts that they may name.
//!
//! A URL is taken apart here, once and strictly, and what is compared with the list is what the
//! connection is made to: whatever two readers could understand differently is refused.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::public::is_public;

/// The longest callback URL, in bytes.
pub const MAX_URL_BYTES: usize = 2048;
/// The longest allow-list.
pub const MAX_ALLOWED: usize = 1000;

/// What is wrong with a URL, or with an entry of the list. Safe to show to clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(&'static str);

/// Where a callback is sent: scheme, host and port.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    is_tls: bool,
    host: Host,
    port: u16,
}

/// A host, as a connection is made to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, in lower case.
    Name(Arc<str>),
    /// An address.
    Address(IpAddr),
}

impl Origin {
    /// Whether the connection is encrypted.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Whom to connect to.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is a receiver on this very machine, which a list must name as such.
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        matches!(&self.host, Host::Address(address) if address.is_loopback())
    }

    /// The value of the header `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = &self.host;
        if self.port == default_port(self.is_tls) {
            host.to_string()
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// Scheme, host and port of a URL, and where the rest of it begins.
    fn read(text: &str) -> Result<(Self, usize), UrlError> {
        let (is_tls, start) = match text {
            _ if text.starts_with("https://") => (true, "https://".len()),
            _ if text.starts_with("http://") => (false, "http://".len()),
            _ => return Err(UrlError("must start with https://")),
        };
        let rest = &text[start..];
        let length = rest.find(['/', '?']).unwrap_or(rest.len());
        let origin = Self::of_authority(is_tls, &rest[..length])?;
        Ok((origin, start + length))
    }

    fn of_authority(is_tls: bool, authority: &str) -> Result<Self, UrlError> {
        if authority.contains('@') {
            return Err(UrlError("must not name a user"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let wrong = UrlError("names no valid host");
                let (inner, after) = rest.split_once(']').ok_or(wrong)?;
                (Host::v6(inner)?, after)
            }
            None => {
                let end = authority.find(':').unwrap_or(authority.len());
                (Host::parse(&authority[..end])?, &authority[end..])
            }
        };
        let port = match port {
            "" => default_port(is_tls),
            text => read_port(text).ok_or(UrlError("names no valid port"))?,
        };
        Ok(Self { is_tls, host, port })
    }
}

const fn default_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

/// `:` and a number without leading zeros.
fn read_port(text: &str) -> Option<u16> {
    let digits = text.strip_prefix(':')?;
    let port: u16 = digits.parse().ok()?;
    (port > 0 && port.to_string() == digits).then_some(port)
}

impl Host {
    fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.to_ascii_lowercase();
        let last = text.rsplit('.').next().unwrap_or_default();
        // What ends in a number is an address, in one of many notations. Only one of them is read.
        if last.starts_with(|c: char| c.is_ascii_digit()) {
            let address: Result<Ipv4Addr, _> = text.parse();
            let wrong = UrlError("must write an address as four decimal numbers");
            return Ok(Self::Address(address.map_err(|_| wrong)?.into()));
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if text.len() <= 253 && text.split('.').all(is_label) {
            Ok(Self::Name(text.into()))
        } else {
            Err(UrlError("names no valid host"))
        }
    }

    fn v6(text: &str) -> Result<Self, UrlError> {
        let wrong = UrlError("must write an address of IPv6 in its shortest form");
        let address: Ipv6Addr = text.parse().map_err(|_| wrong.clone())?;
        if address.to_string() == text.to_ascii_lowercase() {
            Ok(Self::Address(address.into()))
        } else {
            Err(wrong)
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where the completion of something is told. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackUrl {
    text: Arc<str>,
    origin: Origin,
    /// Where path and query begin.
    target: usize,
}

impl CallbackUrl {
    /// Takes a URL apart. Whether it may be called is the list's to say.
    ///
    /// # Errors
    /// [`UrlError`] if it is not one, or not one that everybody reads alike.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError("must not be longer than 2048 bytes"));
        }
        let is_plain = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b);
        if !text.bytes().all(is_plain) {
            return Err(UrlError("has a character that must be percent-encoded"));
        }
        if text.contains('#') {
            return Err(UrlError("must not have a fragment"));
        }
        let (origin, target) = Origin::read(text)?;
        Ok(Self {
            text: text.into(),
            origin,
            target,
        })
    }

    /// The URL as its client wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it leads.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Path and query, as they are sent.
    #[must_use]
    pub fn target(&self) -> String {
        match &self.text[self.target..] {
            path if path.starts_with('/') => path.to_owned(),
            query => format!("/{query}"),
        }
    }
}

impl fmt::Debug for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The hosts that callback URLs may name.
#[derive(Debug, Clone, Default)]
pub struct AllowList(Vec<Origin>);

impl AllowList {
    /// Reads the entries: `host` or `host:port` of receivers by https (the port is 443 if none is
    /// named), or, for development, the whole `http://127.0.0.1:port` (or `https`, or `[::1]`).
    ///
    /// # Errors
    /// The place of the first entry that is none, and what is wrong with it.
    pub fn parse<'a>(
        entries: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, (usize, UrlError)> {
        let mut origins = Vec::new();
        for (place, entry) in entries.into_iter().enumerate() {
            if place >= MAX_ALLOWED {
                return Err((place, UrlError("is one entry too many: at most 1000")));
            }
            origins.push(entry_origin(entry).map_err(|error| (place, error))?);
        }
        Ok(Self(origins))
    }

    /// Whether it allows nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether callbacks may be sent there.
    #[must_use]
    pub fn allows(&self, origin: &Origin) -> bool {
        self.0.contains(origin)
    }

    /// The entries, for people.
    pub fn entries(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }
}

fn entry_origin(entry: &str) -> Result<Origin, UrlError> {
    if entry.contains("://") {
        let (origin, end) = Origin::read(entry)?;
        let is_whole = end == entry.len();
        return match origin.is_loopback() && is_whole {
            true => Ok(origin),
            false => Err(UrlError(
                "must be a host or host:port; a whole http:// or https:// is for 127.0.0.1 and [::1] only, \
                 without a path",
            )),
        };
    }
    let origin = Origin::of_authority(true, entry)?;
    match &origin.host {
        Host::Address(address) if !is_public(*address) => Err(UrlError(
            "is not a public address; a receiver on this machine is written http://127.0.0.1:port",
        )),
        _ => Ok(origin),
    }
}

#[cfg(test)]
#[path = "callback_tests.rs"]
mod tests;
