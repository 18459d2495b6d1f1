//! One attempt to connect, and a connection that can be ended whatever state it is in.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, OnceLock};

use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties};
use tasker_core::broker::BrokerError;
use tokio_util::sync::CancellationToken;

use super::error::within;
use super::settings::{AmqpSettings, Timeouts};
use super::stream::{Guarded, Wire, runtime};

/// A connection that was established.
#[derive(Debug)]
pub(super) struct Live {
    connection: Connection,
    socket: Owned,
    /// Cancelled by whoever found out that the connection is of no use.
    pub(super) doubted: CancellationToken,
    timeouts: Timeouts,
}

/// A second handle to the socket of a connection or of an attempt. lapin writes nothing at all on a
/// connection that the broker blocked, not even its end, and it cannot stop a handshake; shutting
/// the socket down ends lapin's thread in every state.
#[derive(Debug, Default)]
struct Socket {
    twin: OnceLock<TcpStream>,
    given_up: CancellationToken,
}

impl Socket {
    /// Connects, in lapin's thread.
    async fn dial(&self, host: &str, port: u16) -> std::io::Result<tokio::net::TcpStream> {
        let gone = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        let dialing = tokio::net::TcpStream::connect((host, port));
        let stream = self.given_up.run_until_cancelled(dialing).await;
        let stream = stream.ok_or_else(gone)??;
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        let twin = stream.try_clone()?;
        self.twin.get_or_init(|| twin);
        // Looked at after the twin was left: one of the two ends the connection.
        if self.given_up.is_cancelled() {
            return Err(gone());
        }
        tokio::net::TcpStream::from_std(stream)
    }

    fn shut_down(&self) {
        self.given_up.cancel();
        if let Some(socket) = self.twin.get() {
            // It fails when the peer has closed it already, which is as well.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Shuts the socket down when it is dropped.
#[derive(Debug, Default)]
struct Owned(Arc<Socket>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}

/// Connects within `timeouts.connect`.
pub(super) async fn connect(settings: &AmqpSettings, role: &str) -> Result<Live, BrokerError> {
    let timeouts = settings.timeouts;
    let name = format!("{} {role}", settings.connection_name);
    // lapin's own recovery stays off: the supervisor builds whole connections instead.
    let properties = ConnectionProperties::default().with_connection_name(name.as_str().into());
    let socket = Owned::default();
    let dialed = socket.0.clone();
    // One byte more than is read, so that its reader sees that a message is too long.
    let longest_body = settings.longest_body as u64 + 1;
    let tls = settings.tls.clone();
    // To lapin it is a plain stream: what is encrypted lies under the guard.
    let dial = async move |uri: AMQPUri, _| {
        let host = &uri.authority.host;
        let stream = dialed.dial(host, uri.authority.port).await?;
        let wire = Wire::new(stream, host, tls.as_ref()).await?;
        Ok(AsyncTcpStream::Plain(Guarded::new(wire, longest_body)))
    };
    let connecting = Connection::connector(uri(settings), runtime(), dial, properties);
    Ok(Live {
        connection: within(timeouts.connect, connecting).await?,
        socket,
        doubted: CancellationToken::new(),
        timeouts,
    })
}

fn uri(settings: &AmqpSettings) -> AMQPUri {
    AMQPUri {
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: settings.username.clone(),
                password: settings.password.reveal().to_owned(),
            },
            host: settings.host.clone(),
            port: settings.port,
        },
        vhost: settings.virtual_host.clone(),
        query: AMQPQueryString {
            frame_max: Some(settings.frame_max),
            heartbeat: Some(settings.heartbeat_s),
            ..AMQPQueryString::default()
        },
    }
}

impl Live {
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether it is connected and the broker reads what we write.
    pub(super) fn is_usable(&self) -> bool {
        let status = self.connection.status();
        status.connected() && !status.blocked() && !self.doubted.is_cancelled()
    }

    /// A new channel. A connection that does not open one is given up: with lapin 4.12 a channel that the
    /// broker closed, as it does at each try to consume a queue that is missing, keeps its number, and
    /// after some thousand of them nothing can be opened any more.
    pub(super) async fn open_channel(&self) -> Result<Channel, BrokerError> {
        let opened = within(self.timeouts.operation, self.connection.create_channel()).await;
        opened.inspect_err(|_| self.doubted.cancel())
    }

    /// Gives the connection up if an operation on it ran out of time.
    pub(super) fn checked<T>(&self, result: Result<T, BrokerError>) -> Result<T, BrokerError> {
        if let Err(BrokerError::TimedOut(_)) = result {
            self.doubted.cancel();
        }
        result
    }

    /// Ends it: orderly if the broker answers in time, and surely, whoever still holds it.
    pub(super) async fn end(&self) {
        let closing = self.connection.close(200, "OK".into());
        // An error means that it is closed already.
        let _ = within(self.timeouts.close, closing).await;
        self.socket.0.shut_down();
    }
}
