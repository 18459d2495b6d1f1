//! The guard in its place: a TCP stream that lapin reads filtered.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::guard::Guard;
pub(super) use super::wire::Wire;
use async_rs::Tokio;
use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;

/// What is read from the socket at once.
const READ_BYTES: usize = 64 * 1024;

/// A stream from the broker, filtered, and to the broker, as it is. Encryption lies under it, not
/// around it.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    guard: Guard,
    buffer: Vec<u8>,
    /// What of the buffer was read and not yet filtered.
    unread: Range<usize>,
}

impl<S> Guarded<S> {
    /// Bodies longer than `longest_body` bytes are cut to that length.
    pub(super) fn new(stream: S, longest_body: u64) -> Self {
        Self {
            stream,
            guard: Guard::new(longest_body),
            buffer: vec![0; READ_BYTES],
            unread: 0..0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        output: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if output.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            let unread = &this.buffer[this.unread.clone()];
            let progress = this.guard.filter(unread, output)?;
            this.unread.start += progress.read;
            if progress.written > 0 {
                return Poll::Ready(Ok(progress.written));
            }
            // All of it was held back. Nothing written would mean the end of the stream, so we
            // wait for more.
            let stream = Pin::new(&mut this.stream);
            let read = ready!(stream.poll_read(cx, &mut this.buffer))?;
            if read == 0 {
                return Poll::Ready(Ok(0));
            }
            this.unread = 0..read;
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// The present tokio runtime, with guarded TCP streams: lapin takes only those of its runtime.
pub(super) type Runtime = async_rs::Runtime<RuntimeParts<Tokio, GuardedTcp>>;

/// # Panics
/// Outside of a tokio runtime.
pub(super) fn runtime() -> Runtime {
    let tokio = Tokio::current();
    Runtime::new(RuntimeParts::new(tokio.clone(), GuardedTcp(tokio)))
}

/// Tokio's timers and sockets, and a guard before each of its TCP streams.
#[derive(Debug, Clone)]
pub(super) struct GuardedTcp(Tokio);

impl Reactor for GuardedTcp {
    type TcpStream = Guarded<Wire>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        // lapin is given a stream by `connect`; this way is there because its trait asks for one.
        async move { Ok(Guarded::new(Wire::Plain(connecting.await?), u64::MAX)) }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use async_compat::Compat;
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// A content header with an empty table, and the same without it.
    const WITH_TABLE: &[u8] = b"\x02\0\x01\0\0\0\x12\0\x3C\0\0\0\0\0\0\0\0\0\0\x20\0\0\0\0\0\xCE";
    const WITHOUT: &[u8] = b"\x02\0\x01\0\0\0\x0E\0\x3C\0\0\0\0\0\0\0\0\0\0\0\0\xCE";

    async fn read<S: AsyncRead + Unpin>(
        stream: &mut Guarded<S>,
        output: &mut [u8],
    ) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, output)).await
    }

    #[tokio::test]
    async fn what_is_held_back_is_not_the_end() {
        let (mut broker, socket) = tokio::io::duplex(8);
        let mut stream = Guarded::new(Compat::new(socket), u64::MAX);
        let sending = tokio::spawn(async move {
            for _ in 0..3 {
                broker.write_all(WITH_TABLE).await.unwrap();
            }
        });
        let (mut output, mut window) = (Vec::new(), [0; 5]);
        loop {
            match read(&mut stream, &mut window).await.unwrap() {
                0 => break,
                length => output.extend_from_slice(&window[..length]),
            }
        }
        sending.await.unwrap();
        assert_eq!(output, WITHOUT.repeat(3));
    }

    #[tokio::test]
    async fn an_alert_of_tls_is_told_as_such() {
        let mut stream = Guarded::new(&b"\x15\x03\x03\x00\x02\x02\x46"[..], u64::MAX);
        let error = read(&mut stream, &mut [0; 64]).await.unwrap_err();
        assert!(error.to_string().contains("answers in TLS"), "{error}");
    }

    #[tokio::test]
    async fn what_is_not_amqp_is_an_error_with_a_reason() {
        let mut stream = Guarded::new(&b"HTTP/1.1 400 Bad Request\r\n"[..], u64::MAX);
        let error = read(&mut stream, &mut [0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("unknown type 72"), "{error}");
        assert!(read(&mut stream, &mut [0; 64]).await.is_err());
    }
}
