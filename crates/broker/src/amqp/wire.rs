//! What carries the bytes: TCP, or TLS on top of it.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_compat::Compat;
use futures_io::{AsyncRead, AsyncWrite};
use tasker_tls::Ca;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

/// A connection to the broker.
pub(super) enum Wire {
    Plain(Compat<TcpStream>),
    Tls(Box<Compat<TlsStream<TcpStream>>>),
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Tls(_) => "Tls",
        })
    }
}

impl Wire {
    /// With a CA the broker has to prove that it is `host`; nothing is sent to it before.
    ///
    /// # Errors
    /// Why it could not prove that, in words for an operator.
    pub(super) async fn new(stream: TcpStream, host: &str, ca: Option<&Ca>) -> io::Result<Self> {
        let Some(ca) = ca else {
            return Ok(Self::Plain(Compat::new(stream)));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            let what =
                format!("{host:?} is neither a host name nor an address, which TLS asks for");
            io::Error::new(io::ErrorKind::InvalidInput, what)
        })?;
        let connector = TlsConnector::from(ca.client_config());
        let stream =
            connector.connect(name, stream).await.map_err(|error| {
                match tasker_tls::reason(&error) {
                    Some(reason) => {
                        io::Error::new(error.kind(), format!("TLS with {host}: {reason}"))
                    }
                    None => error,
                }
            })?;
        Ok(Self::Tls(Box::new(Compat::new(stream))))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        output: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, output),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, output),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_close(cx),
            Self::Tls(stream) => Pin::new(stream).poll_close(cx),
        }
    }
}
