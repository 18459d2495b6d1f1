//! One request and the head of its answer.

use std::time::Duration;

use tasker_core::callback::CallbackUrl;
use tasker_core::notice::Errand;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::Trouble;

/// The most that is read of an answer, head and body.
pub(crate) const MAX_ANSWER: usize = 64 << 10;
/// The longest head of an answer.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 100;
/// How long a receiver may go on with its answer after the head of it, which says everything.
const REST_WITHIN: Duration = Duration::from_millis(250);

/// The head of the request. Nothing in it can end a line: a [`CallbackUrl`] is printable ASCII.
pub(crate) fn head(url: &CallbackUrl, errand: &Errand, signature: &str) -> String {
    format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tasker/{}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nTasker-Delivery: {}\r\nTasker-Signature: {signature}\r\n\
         Connection: close\r\n\r\n",
        url.target(),
        url.origin().authority(),
        env!("CARGO_PKG_VERSION"),
        errand.body.len(),
        errand.uid,
    )
}

/// Sends a request; the status of its answer.
pub(crate) async fn exchange<C>(mut connection: C, head: &str, body: &[u8]) -> Result<u16, Trouble>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |error: std::io::Error| Trouble::Broken(error.kind().to_string());
    let request = [head.as_bytes(), body].concat();
    let sent = async {
        connection.write_all(&request).await?;
        connection.flush().await
    };
    // A receiver may answer and close before it has read everything.
    let sent = sent.await;
    let mut read = Vec::new();
    let (status, length) = loop {
        if let Some((status, length, rest)) = parse(&read)? {
            // 1xx: the answer is still to come.
            if status >= 200 {
                break (status, length.map(|length| length.saturating_sub(rest)));
            }
            read.drain(..read.len() - rest);
            continue;
        }
        if read.len() >= MAX_HEAD {
            return Err(Trouble::NoHttp);
        }
        let mut part = [0; 4096];
        match connection.read(&mut part).await {
            Ok(0) => return sent.map_err(broken).and(Err(Trouble::NoHttp)),
            Ok(count) => read.extend_from_slice(&part[..count]),
            Err(error) => return Err(broken(error)),
        }
    };
    // Read to its end, a short answer lets the receiver close in peace; nothing of it matters.
    let left = MAX_ANSWER.saturating_sub(read.len());
    let rest = length.unwrap_or(left).min(left) as u64;
    let mut nowhere = tokio::io::sink();
    let mut answer = connection.take(rest);
    drop(timeout(REST_WITHIN, tokio::io::copy(&mut answer, &mut nowhere)).await);
    Ok(status)
}

/// Status, length of the body if it is told, and how many bytes of the body are there already; `None`:
/// the head is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(u16, Option<usize>, usize)>, Trouble> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|_| Trouble::NoHttp)?;
    let httparse::Status::Complete(end) = parsed else {
        return Ok(None);
    };
    let status = response.code.filter(|code| (100..600).contains(code));
    let status = status.ok_or(Trouble::NoHttp)?;
    let mut headers = response.headers.iter();
    let length = headers
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok());
    Ok(Some((status, length, bytes.len() - end)))
}
