//! What a client asks the API for.

use std::io;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tasker_core::{EndpointName, TaskStatus, TaskType};
use tokio::time::timeout;

use crate::connection::{Connection, Head};
use crate::error::BenchError;

/// How long a call may take: longer than any long-poll.
const CALL_WITHIN: Duration = Duration::from_secs(90);
/// How much of a refusal is shown.
const SHOWN: usize = 300;

/// Where the API is, and the task type of the run.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Host and port.
    pub(crate) address: String,
    pub(crate) task_type: TaskType,
    authorization: Authorization,
}

/// The line of a request's head that says who sends it; may be empty. `Debug` hides it.
#[derive(Clone)]
struct Authorization(String);

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorization(…)")
    }
}

impl Target {
    /// From `http://host:port`, and the token that is shown there.
    pub(crate) fn parse(
        url: &str,
        task_type: TaskType,
        token: Option<&str>,
    ) -> Result<Self, BenchError> {
        let host = url.strip_prefix("http://").unwrap_or_default();
        let host = host.trim_end_matches('/');
        if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
            return Err(BenchError::BadUrl(url.to_owned()));
        }
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self {
            address: match has_port {
                true => host.to_owned(),
                false => format!("{host}:80"),
            },
            task_type,
            authorization: Authorization(token.map_or_else(String::new, |token| {
                format!("authorization: Bearer {token}\r\n")
            })),
        })
    }
}

/// A task as a list shows it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Listed {
    pub(crate) identifier: String,
    pub(crate) status: TaskStatus,
    pub(crate) finished: u32,
    pub(crate) failed: u32,
}

/// A page of a list, newest first.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    pub(crate) tasks: Vec<Listed>,
    pub(crate) next: Option<String>,
}

#[derive(Deserialize)]
struct Shown {
    task: ShownTask,
}

#[derive(Deserialize)]
struct ShownTask {
    status: TaskStatus,
}

/// One client with one connection, opened when it is needed.
#[derive(Debug)]
pub(crate) struct Client {
    target: Target,
    connection: Option<Connection>,
}

impl Client {
    pub(crate) fn new(target: &Target) -> Self {
        Self {
            target: target.clone(),
            connection: None,
        }
    }

    /// One exchange. After an error the next one gets a new connection.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Result<(Head, &[u8]), BenchError> {
        let address = &self.target.address;
        let kept = match self.connection.take() {
            Some(connection) => exchange(connection, request).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        let answered = match kept {
            // A server closes a connection that was idle for a while. Whatever is asked may be asked twice:
            // a task has its identifier.
            Err(error) if is_closed(&error) => match Connection::open(address).await {
                Ok(connection) => exchange(connection, request).await,
                Err(error) => Err(error),
            },
            kept => kept,
        };
        let (connection, head) = answered.map_err(|source| BenchError::Unreachable {
            address: address.clone(),
            source,
        })?;
        Ok((head, self.connection.insert(connection).body()))
    }

    /// GET of a path; anything but 200 is an error.
    pub(crate) async fn get(&mut self, path: &str) -> Result<&[u8], BenchError> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\n{}\r\n",
            self.target.address, self.target.authorization.0
        );
        match self.call(request.as_bytes()).await? {
            (Head { status: 200, .. }, body) => Ok(body),
            (head, body) => Err(refused(path, head.status, body)),
        }
    }

    async fn read<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, BenchError> {
        let body = self.get(path).await?;
        serde_json::from_slice(body).map_err(|e| BenchError::Strange(e.to_string()))
    }

    /// A page of the task type's tasks.
    pub(crate) async fn page(
        &mut self,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page, BenchError> {
        let mut path = format!("/{}?limit={limit}", self.target.task_type);
        if let Some(cursor) = cursor {
            path.push_str("&cursor=");
            path.push_str(cursor);
        }
        self.read(&path).await
    }

    /// The path of a task.
    pub(crate) fn path(&self, identifier: &str) -> String {
        format!("/{}/{identifier}", self.target.task_type)
    }

    /// The status of a task, after at most so many seconds if it is not settled.
    pub(crate) async fn status(
        &mut self,
        identifier: &str,
        wait_s: u32,
    ) -> Result<TaskStatus, BenchError> {
        let path = format!("{}?wait={wait_s}", self.path(identifier));
        let shown: Shown = self.read(&path).await?;
        Ok(shown.task.status)
    }
}

/// Sends a request and reads its answer; gives the connection back for the next one.
async fn exchange(mut connection: Connection, request: &[u8]) -> io::Result<(Connection, Head)> {
    let called = timeout(CALL_WITHIN, connection.call(request)).await;
    let head = called.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    Ok((connection, head))
}

/// Whether there was no connection (any more).
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
    };
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
    )
}

/// A refusal as an error.
pub(crate) fn refused(what: &str, status: u16, body: &[u8]) -> BenchError {
    let text = String::from_utf8_lossy(body);
    BenchError::Refused {
        what: what.to_owned(),
        status,
        text: tasker_core::harmless::harmless(&text.chars().take(SHOWN).collect::<String>()),
    }
}

/// A POST of which only the identifier changes. Has no `Debug`: its head may hold a token.
#[derive(Clone)]
pub(crate) struct Order {
    run: String,
    head: String,
    before: String,
    after: String,
}

impl Order {
    /// Tasks of a run, with a payload of so many bytes, for the listed endpoints or whoever is
    /// subscribed.
    pub(crate) fn new(
        target: &Target,
        run: &str,
        payload_bytes: usize,
        endpoints: Option<&[EndpointName]>,
    ) -> Result<Self, BenchError> {
        let frame = r#"{"pad":""}"#.len();
        let pad = "x".repeat(payload_bytes.saturating_sub(frame));
        let list = match endpoints {
            Some(names) => {
                let names = serde_json::to_string(names);
                let names = names.map_err(|e| BenchError::Usage(e.to_string()))?;
                format!(",\"endpoints\":{names}")
            }
            None => String::new(),
        };
        Ok(Self {
            run: run.to_owned(),
            head: format!(
                "POST /{} HTTP/1.1\r\nhost: {}\r\n{}content-type: application/json\r\n\
                 content-length: ",
                target.task_type, target.address, target.authorization.0
            ),
            before: "{\"identifier\":\"".to_owned(),
            after: format!("\",\"payload\":{{\"pad\":\"{pad}\"}}{list}}}"),
        })
    }

    /// The identifier of the run's task of that number, from 0.
    pub(crate) fn identifier(&self, number: u64) -> String {
        format!("{}-{number}", self.run)
    }

    /// The whole request.
    pub(crate) fn request(&self, number: u64) -> Vec<u8> {
        let identifier = self.identifier(number);
        let length = self.before.len() + identifier.len() + self.after.len();
        let mut request = Vec::with_capacity(self.head.len() + length + 16);
        request.extend_from_slice(self.head.as_bytes());
        request.extend_from_slice(length.to_string().as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        for part in [&self.before, &identifier, &self.after] {
            request.extend_from_slice(part.as_bytes());
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, BenchError> {
        Target::parse(url, TaskType::parse("bench").unwrap(), None)
    }

    #[test]
    fn a_url_is_scheme_host_and_port() {
        assert_eq!(target("http://h:1/").unwrap().address, "h:1");
        assert_eq!(target("http://h").unwrap().address, "h:80");
        for bad in ["", "http://", "https://h", "http://h/a", "http://u:p@h"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_shown_to_the_api_and_to_nobody_else() {
        let task_type = TaskType::parse("bench").unwrap();
        let target = Target::parse("http://h:1", task_type, Some("tsk_x")).unwrap();
        let order = Order::new(&target, "r", 0, None).unwrap();
        let request = String::from_utf8(order.request(0)).unwrap();
        assert!(
            request.contains("\r\nauthorization: Bearer tsk_x\r\n"),
            "{request}"
        );
        assert!(!format!("{target:?}").contains("tsk_x"));
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_meanwhile_is_replaced() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 256];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                let answer = b"HTTP/1.1 200 x\r\ncontent-length: 1\r\n\r\na";
                stream.write_all(answer).await.unwrap();
            }
        });
        let mut client = Client::new(&target(&format!("http://{address}")).unwrap());
        assert_eq!(client.get("/").await.unwrap(), b"a");
        assert_eq!(client.get("/").await.unwrap(), b"a");
        server.await.unwrap();
        assert!(client.get("/").await.is_err());
    }

    #[test]
    fn an_order_is_a_whole_request() {
        let target = target("http://h:1").unwrap();
        let names = [EndpointName::parse("a").unwrap()];
        let order = Order::new(&target, "r", 500, Some(&names)).unwrap();
        let request = String::from_utf8(order.request(7)).unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("POST /bench HTTP/1.1\r\nhost: h:1\r\n"),
            "{head}"
        );
        assert!(
            head.ends_with(&format!("content-length: {}", body.len())),
            "{head}"
        );
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["identifier"], "r-7");
        assert_eq!(body["endpoints"], serde_json::json!(["a"]));
        assert_eq!(body["payload"].to_string().len(), 500);
        let open = Order::new(&target, "r", 0, None).unwrap().request(0);
        assert!(!String::from_utf8(open).unwrap().contains("endpoints"));
    }
}
