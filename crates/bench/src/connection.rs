//! One keep-alive connection to the API, as cheap as it gets: the load shares its machine with what it
//! measures. One request at a time; answers must say their length, as tasker's do.

use std::io;
use std::ops::Range;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAX_HEADERS: usize = 32;
/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 20;
const FIRST_BUFFER: usize = 8 << 10;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where in the buffer the body of the last answer is.
    body: Range<usize>,
}

/// The head of an answer, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Seconds.
    pub(crate) retry_after: Option<u64>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(FIRST_BUFFER),
            body: 0..0,
        })
    }

    /// Sends a request and reads its answer. After an error the connection is of no use.
    pub(crate) async fn call(&mut self, request: &[u8]) -> io::Result<Head> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (head, body) = loop {
            self.more().await?;
            if let Some(parsed) = parse(&self.buffer)? {
                break parsed;
            }
        };
        self.buffer
            .reserve(body.end.saturating_sub(self.buffer.len()));
        while self.buffer.len() < body.end {
            self.more().await?;
        }
        self.body = body;
        Ok(head)
    }

    /// The body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        &self.buffer[self.body.clone()]
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// Reads the head of an answer and where its body will be; `None` if there is more to come.
fn parse(bytes: &[u8]) -> io::Result<Option<(Head, Range<usize>)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(io::Error::other)?;
    let httparse::Status::Complete(start) = parsed else {
        return Ok(None);
    };
    let number = |name: &str| -> Option<u64> {
        let mut headers = response.headers.iter();
        let header = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()?.trim().parse().ok()
    };
    let length = number("content-length").and_then(|length| usize::try_from(length).ok());
    let length = length.ok_or_else(|| io::Error::other("the answer does not say its length"))?;
    if length > MAX_ANSWER_BYTES {
        return Err(io::Error::other("the answer is too long"));
    }
    let head = Head {
        status: response.code.unwrap_or_default(),
        retry_after: number("retry-after"),
    };
    Ok(Some((head, start..start + length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Gives one answer a request, in these pieces, and then closes.
    async fn serve(answers: Vec<Vec<&'static str>>) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for pieces in answers {
                let mut request = [0; 5];
                stream.read_exact(&mut request).await.unwrap();
                for piece in pieces {
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                }
            }
        });
        Connection::open(&address).await.unwrap()
    }

    #[tokio::test]
    async fn answers_come_in_pieces_and_one_after_the_other() {
        let mut connection = serve(vec![
            vec![
                "HTTP/1.1 20",
                "1 x\r\ncontent-le",
                "ngth: 6\r\n\r\nab",
                "cdef",
            ],
            vec!["HTTP/1.1 503 x\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"],
        ])
        .await;
        let head = connection.call(b"first").await.unwrap();
        assert_eq!((head.status, head.retry_after), (201, None));
        assert_eq!(connection.body(), b"abcdef");
        let head = connection.call(b"other").await.unwrap();
        assert_eq!((head.status, head.retry_after), (503, Some(2)));
        assert_eq!(connection.body(), b"");
        assert!(connection.call(b"third").await.is_err());
    }

    #[tokio::test]
    async fn an_answer_without_its_length_is_refused() {
        let mut connection = serve(vec![vec!["HTTP/1.1 200 x\r\n\r\n"]]).await;
        assert!(connection.call(b"first").await.is_err());
    }
}
