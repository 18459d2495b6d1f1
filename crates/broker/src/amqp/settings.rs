//! Where RabbitMQ is and how patient we are with it.

use std::fmt;
use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};
use tasker_core::wire::MAX_ENVELOPE_BYTES;
use tasker_tls::Ca;

/// How queues are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueType {
    /// On one node. Confirmed messages may be lost with the node: the ledger asks again.
    #[default]
    Classic,
    /// Replicated over a cluster and synced before the confirm.
    Quorum,
}

impl QueueType {
    /// The value of the queue argument `x-queue-type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }
}

/// A password. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"********\"")
    }
}

/// How long to wait for the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For TCP, TLS and the AMQP handshake together.
    pub connect: Duration,
    /// For each question and answer on a channel, and for each write.
    pub operation: Duration,
    /// For the confirm of a published message.
    pub confirm: Duration,
    /// How long the broker may block the publishing connection before it is built anew.
    pub blocked: Duration,
    /// For the orderly end of a channel or a connection.
    pub close: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            operation: Duration::from_secs(5),
            confirm: Duration::from_secs(5),
            blocked: Duration::from_secs(60),
            close: Duration::from_secs(2),
        }
    }
}

/// Everything that [`super::AmqpBroker`] wants to know. Made by [`AmqpSettings::new`], so that a
/// later field does not break anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AmqpSettings {
    /// A name or an address.
    pub host: String,
    /// Usually 5672, with TLS 5671.
    pub port: u16,
    /// Whose certificate the broker must show, for its host by name; without it nothing is encrypted.
    pub tls: Option<Ca>,
    /// The account.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// The virtual host, `/` by default.
    pub virtual_host: String,
    /// What all names start with, see [`crate::Names`].
    pub prefix: String,
    /// How queues are declared.
    pub queue_type: QueueType,
    /// What RabbitMQ shows of us; ` publish` or ` consume` is appended.
    pub connection_name: String,
    /// The largest AMQP frame in bytes, at least 8192. Each connection allocates 64 times as much.
    /// Lists of inboxes that do not fit into one frame are published in parts.
    pub frame_max: u32,
    /// The longest message that anybody reads from this connection, in bytes. Longer ones are delivered
    /// cut to one byte more, so that a flood of them cannot fill the memory.
    pub longest_body: usize,
    /// Seconds between heartbeats; the connection is given up after two of them.
    pub heartbeat_s: u16,
    /// How long to wait.
    pub timeouts: Timeouts,
}

impl AmqpSettings {
    /// The account `guest` on the virtual host `/` of this host, with the prefix `tasker`.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            tls: None,
            username: "guest".into(),
            password: "guest".into(),
            virtual_host: "/".into(),
            prefix: "tasker".into(),
            queue_type: QueueType::default(),
            connection_name: "tasker".into(),
            frame_max: 16_384,
            longest_body: MAX_ENVELOPE_BYTES,
            heartbeat_s: 10,
            timeouts: Timeouts::default(),
        }
    }

    /// From `amqp://user:password@host:port/virtual_host`, the parts percent-encoded.
    ///
    /// # Errors
    /// What is wrong with the URL. The text holds no password.
    pub fn from_url(url: &str, prefix: &str) -> Result<Self, String> {
        let uri: AMQPUri = url.parse()?;
        if uri.scheme != AMQPScheme::AMQP {
            return Err("only amqp:// is supported".into());
        }
        let mut settings = Self::new(uri.authority.host, uri.authority.port);
        settings.username = uri.authority.userinfo.username;
        settings.password = uri.authority.userinfo.password.into();
        settings.virtual_host = uri.vhost;
        settings.prefix = prefix.into();
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_settings() {
        let settings = AmqpSettings::from_url("amqp://me:s%2fcret@broker:5673/%2fteam", "p");
        let settings = settings.unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("broker", 5673));
        assert_eq!(settings.username, "me");
        assert_eq!(settings.password.reveal(), "s/cret");
        assert_eq!(settings.virtual_host, "/team");
        assert_eq!(settings.prefix, "p");
        let settings = AmqpSettings::from_url("amqp://127.0.0.1:1", "p").unwrap();
        assert_eq!(settings.virtual_host, "/");
    }

    #[test]
    fn what_is_not_amqp_is_refused() {
        assert!(AmqpSettings::from_url("amqps://h", "p").is_err());
        assert!(AmqpSettings::from_url("http://h", "p").is_err());
    }

    #[test]
    fn debug_does_not_show_the_password() {
        let settings = AmqpSettings::from_url("amqp://me:hidden@h", "p").unwrap();
        assert!(!format!("{settings:?}").contains("hidden"));
    }
}
