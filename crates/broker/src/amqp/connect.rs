//! One attempt to connect, and a connection that can be ended whatever state it is in.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, OnceLock};

use async_compat::Compat;
use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties};
use tasker_core::broker::BrokerError;

use tokio_util::sync::CancellationToken;

use super::error::{meaning, within};
use super::settings::{AmqpSettings, Timeouts};

/// A connection that was established.
#[derive(Debug)]
pub(super) struct Live {
    connection: Connection,
    socket: Socket,
    /// Cancelled by whoever found out that the connection is of no use.
    pub(super) doubted: CancellationToken,
    timeouts: Timeouts,
}

/// A second handle to the connection's socket. lapin writes nothing at all on a connection that the
/// broker blocked, not even its end, and it cannot stop a handshake; shutting the socket down ends
/// lapin's thread in every state.
#[derive(Debug, Clone, Default)]
struct Socket(Arc<OnceLock<TcpStream>>);

impl Socket {
    fn shut_down(&self) {
        if let Some(socket) = self.0.get() {
            // It fails when the peer has closed it already, which is as well.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Connects within `timeouts.connect`.
pub(super) async fn connect(settings: &AmqpSettings, role: &str) -> Result<Live, BrokerError> {
    let timeouts = settings.timeouts;
    let name = format!("{} {role}", settings.connection_name);
    // lapin's own recovery stays off: the supervisor builds whole connections instead.
    let properties = ConnectionProperties::default().with_connection_name(name.as_str().into());
    let runtime = lapin::runtime::default_runtime().map_err(|error| meaning(&error))?;
    let socket = Socket::default();
    let kept = socket.clone();
    let limit = timeouts.connect;
    let dial = async move |uri: AMQPUri, _| {
        let address = (uri.authority.host.as_str(), uri.authority.port);
        let stream = tokio::time::timeout(limit, tokio::net::TcpStream::connect(address))
            .await
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        let twin = stream.try_clone()?;
        kept.0.get_or_init(|| twin);
        let stream = tokio::net::TcpStream::from_std(stream)?;
        Ok(AsyncTcpStream::Plain(Compat::new(stream)))
    };
    let connected = within(
        limit,
        Connection::connector(uri(settings), runtime, dial, properties),
    )
    .await;
    match connected {
        Ok(connection) => Ok(Live {
            connection,
            socket,
            doubted: CancellationToken::new(),
            timeouts,
        }),
        Err(error) => {
            socket.shut_down();
            Err(error)
        }
    }
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

    /// A new channel. A connection that does not open one in time is given up.
    pub(super) async fn open_channel(&self) -> Result<Channel, BrokerError> {
        let opened = within(self.timeouts.operation, self.connection.create_channel()).await;
        self.checked(opened)
    }

    /// Gives the connection up if an operation on it ran out of time.
    pub(super) fn checked<T>(&self, result: Result<T, BrokerError>) -> Result<T, BrokerError> {
        if let Err(BrokerError::TimedOut(_)) = result {
            self.doubted.cancel();
        }
        result
    }

    /// Ends it: orderly if the broker answers in time, and surely.
    pub(super) async fn end(&self) {
        let closing = self.connection.close(200, "OK".into());
        // An error means that it is closed already.
        let _ = within(self.timeouts.close, closing).await;
        self.socket.shut_down();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.socket.shut_down();
    }
}
