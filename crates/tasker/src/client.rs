//! A plain client of tasker's HTTP API, for the commands.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use tasker_core::token::Token;
use ureq::Agent;
use ureq::http::{Method, Request, Response};

use crate::cli::ApiArgs;
use crate::config::Secret;
use crate::exit::Failure;
use crate::http::{self, send};
use crate::terminal::harmless;

/// Where the API is if nobody says otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8888";
/// How long a call may take, without the time that the API was asked to wait.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read: 1,000 rows with replies of 1 MiB would be a mistake.
const MAX_ANSWER_BYTES: u64 = 256 << 20;
/// How long a call that may be repeated is repeated while the API is away or busy.
const PATIENCE: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// tasker's HTTP API.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    url: String,
    /// What `Authorization` says.
    authorization: Option<Secret>,
}

/// A good answer.
#[derive(Debug)]
pub struct Answer {
    /// 200, 201 or 202.
    pub status: u16,
    /// The JSON as it came.
    pub json: String,
}

impl Answer {
    /// The answer's JSON as a type.
    ///
    /// # Errors
    /// [`Failure::Failed`] if it is another JSON: somebody else listens there.
    pub fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.json)
            .map_err(|e| Failure::Failed(format!("the answer is not tasker's: {e}")))
    }
}

/// What a refusal says (RFC 9457).
#[derive(Deserialize, Default)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    errors: Vec<Value>,
}

/// One try.
enum Tried {
    Answer(Answer),
    /// It may be tried again, after so long if the API said so.
    Later(Failure, Option<Duration>),
    Refused(Failure),
}

impl Client {
    /// A client of the API at a URL like `http://127.0.0.1:8888`.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it is not such a URL.
    pub fn new(url: &str) -> Result<Self, Failure> {
        Self::trusting(url, None)
    }

    /// The same; an API at `https://…` must show a certificate of these authorities, or of those that
    /// the system trusts.
    fn trusting(url: &str, ca: Option<&Path>) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/');
        let secret = url.strip_prefix("https://");
        let host = secret.or_else(|| url.strip_prefix("http://"));
        let host = host.unwrap_or_default();
        if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
            let message = format!("{url:?} is not a URL like {DEFAULT_URL}");
            return Err(Failure::Usage(message));
        }
        if secret.is_none() && ca.is_some() {
            let message =
                format!("--ca (TASKER_CA) is there for https://, and {url} is not encrypted");
            return Err(Failure::Usage(message));
        }
        let trust = http::trust(url, ca).map_err(|e| Failure::Usage(format!("--ca: {e}")))?;
        let agent = Agent::config_builder()
            .tls_config(trust)
            .timeout_connect(Some(Duration::from_secs(5)))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("tasker/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self {
            agent,
            url: url.to_owned(),
            authorization: None,
        })
    }

    /// A client as the command line asks for it: with the token of `--token-file`, or of the variable
    /// `TASKER_TOKEN`.
    ///
    /// # Errors
    /// [`Failure::Usage`]: no URL, no such file, no CA, no token.
    pub fn of(args: &ApiArgs) -> Result<Self, Failure> {
        let mut client = Self::trusting(&args.url, args.ca.as_deref())?;
        let token = token(args.token_file.as_deref())?;
        client.authorization = token.map(|token| Secret::new(format!("Bearer {}", token.expose())));
        Ok(client)
    }

    /// Where the API is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// GET of a path; `wait` is how long the API was asked to wait.
    ///
    /// # Errors
    /// [`Failure`]: unavailable, or refused.
    pub fn get(&self, path: &str, wait: Duration) -> Result<Answer, Failure> {
        self.patiently(|| self.call(Method::GET, path, None, wait))
    }

    /// POST of a JSON body, repeated while the API is away or busy. Only for what is harmless to
    /// repeat: a task with its identifier, a cancel.
    ///
    /// # Errors
    /// [`Failure`]: unavailable, or refused.
    pub fn post(&self, path: &str, body: &str) -> Result<Answer, Failure> {
        self.patiently(|| self.call(Method::POST, path, Some(body), Duration::ZERO))
    }

    /// POST of a JSON body, once.
    ///
    /// # Errors
    /// [`Failure`]: unavailable, or refused.
    pub fn post_once(&self, path: &str, body: &str) -> Result<Answer, Failure> {
        self.once(Method::POST, path, Some(body))
    }

    /// DELETE, once.
    ///
    /// # Errors
    /// [`Failure`]: unavailable, or refused.
    pub fn delete_once(&self, path: &str) -> Result<Answer, Failure> {
        self.once(Method::DELETE, path, None)
    }

    fn once(&self, method: Method, path: &str, body: Option<&str>) -> Result<Answer, Failure> {
        match self.call(method, path, body, Duration::ZERO) {
            Tried::Answer(answer) => Ok(answer),
            Tried::Later(failure, _) | Tried::Refused(failure) => Err(failure),
        }
    }

    fn patiently(&self, call: impl Fn() -> Tried) -> Result<Answer, Failure> {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            match call() {
                Tried::Answer(answer) => return Ok(answer),
                Tried::Refused(failure) => return Err(failure),
                Tried::Later(failure, retry_after) => {
                    let jitter = rand::random_range(0.8..1.2);
                    let wait = retry_after.unwrap_or(pause).mul_f64(jitter);
                    if start.elapsed() + wait > PATIENCE {
                        return Err(failure);
                    }
                    std::thread::sleep(wait);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn call(&self, method: Method, path: &str, body: Option<&str>, wait: Duration) -> Tried {
        let away = |error: ureq::Error| {
            let (reason, is_lasting) = http::told(&error, &self.url);
            let message = format!("tasker's API at {} is unavailable: {reason}", self.url);
            let failure = Failure::Unavailable(message);
            match is_lasting {
                true => Tried::Refused(failure),
                false => Tried::Later(failure, None),
            }
        };
        // The original asks for this type on a GET too.
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", "application/json");
        let request = match &self.authorization {
            Some(secret) => request.header("authorization", secret.expose()),
            None => request,
        };
        let mut response = match send(&self.agent, request, body, TIMEOUT + wait) {
            Ok(response) => response,
            Err(error) => return away(error),
        };
        let read = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_string();
        match read {
            Ok(text) => judge(&response, text),
            Err(error) => away(error),
        }
    }
}

/// The token of a file, or else of the variable `TASKER_TOKEN`; `None`: there is none.
///
/// # Errors
/// [`Failure::Usage`]: no such file, or no token.
pub fn token(file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    let (text, place) = match file {
        Some(path) => {
            let place = path.display().to_string();
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|e| Failure::Usage(format!("{place}: {e}")))?;
            (Some(text), place)
        }
        None => {
            let place = "TASKER_TOKEN".to_owned();
            (std::env::var(&place).ok(), place)
        }
    };
    let text = text.as_deref().map(str::trim);
    match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) if Token::read(text).is_some() => Ok(Some(Secret::new(text.to_owned()))),
        Some(_) => {
            let message = format!("{place} holds no token of tasker's");
            Err(Failure::Usage(message))
        }
    }
}

fn judge<B>(response: &Response<B>, text: String) -> Tried {
    let status = response.status().as_u16();
    if response.status().is_success() {
        return Tried::Answer(Answer { status, json: text });
    }
    let problem: Problem = serde_json::from_str(&text).unwrap_or_default();
    let message = harmless(&told(status, &problem));
    match status {
        429 | 502..=504 => {
            let after = response.headers().get("retry-after");
            let after = after.and_then(|v| v.to_str().ok()?.parse().ok());
            Tried::Later(
                Failure::Unavailable(message),
                after.map(Duration::from_secs),
            )
        }
        401 => Tried::Refused(Failure::Failed(format!(
            "{message}\nset TASKER_TOKEN or --token-file; `tasker token create` makes a token"
        ))),
        400 | 413 | 415 | 422 => Tried::Refused(Failure::Usage(message)),
        _ => Tried::Refused(Failure::Failed(message)),
    }
}

/// A refusal in a few lines.
fn told(status: u16, problem: &Problem) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in [&problem.title, &problem.detail] {
        if !part.is_empty() && !parts.contains(&part.as_str()) {
            parts.push(part);
        }
    }
    let mut text = match parts.is_empty() {
        true => format!("the API answered with status {status}"),
        false => format!("{} (status {status})", parts.join(": ")),
    };
    for error in problem.errors.iter().take(20) {
        let field = error["field"].as_str().unwrap_or_default();
        let message = error["message"].as_str().unwrap_or_default();
        text.push_str(&match field {
            "" => format!("; {message}"),
            field => format!("; {field}: {message}"),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread::{self, JoinHandle};

    /// A server that gives these answers to its first connections, and returns what it was asked.
    fn serve(answers: &'static [&'static str]) -> (Client, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let thread = thread::spawn(move || {
            let answer = |answer: &&str| {
                let (mut stream, _) = listener.accept().unwrap();
                let asked = read_request(&mut stream);
                stream.write_all(answer.as_bytes()).unwrap();
                asked
            };
            answers.iter().map(answer).collect()
        });
        (Client::new(&url).unwrap(), thread)
    }

    fn read_request(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        let mut chunk = [0; 4096];
        loop {
            let read = stream.read(&mut chunk).unwrap();
            text.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
            if text.contains("\r\n\r\n") && body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
    }

    const BUSY: &str = "HTTP/1.1 503 x\r\nretry-after: 0\r\nconnection: close\r\n\
                        content-length: 0\r\n\r\n";
    const BROKEN: &str = "HTTP/1.1 201 x\r\nconnection: close\r\ncontent-length: 99\r\n\r\n{";
    const CREATED: &str = "HTTP/1.1 201 x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    const REFUSED: &str = "HTTP/1.1 422 x\r\nconnection: close\r\n\r\n\
        {\"title\":\"T\",\"detail\":\"D\\u001b\",\"errors\":[{\"field\":\"endpoints[3]\",\"message\":\"bad name\"}]}";

    #[test]
    fn a_task_is_posted_again_until_it_is_answered() {
        let (client, server) = serve(&[BUSY, BROKEN, CREATED]);
        let answer = client.post("/worker", "{\"identifier\":\"a\"}").unwrap();
        assert_eq!((answer.status, answer.json.as_str()), (201, "{}"));
        let asked = server.join().unwrap();
        assert_eq!(asked.len(), 3);
        assert!(
            asked[0].starts_with("POST /worker HTTP/1.1\r\n"),
            "{}",
            asked[0]
        );
        assert!(asked[2].ends_with("{\"identifier\":\"a\"}"), "{}", asked[2]);
        assert!(
            asked[2].contains("content-type: application/json"),
            "{}",
            asked[2]
        );
    }

    #[test]
    fn what_must_not_be_repeated_is_not() {
        let (client, server) = serve(&[BUSY]);
        let failure = client.post_once("/worker/a/retry", "{}").unwrap_err();
        assert!(matches!(failure, Failure::Unavailable(_)), "{failure}");
        assert_eq!(server.join().unwrap().len(), 1);
    }

    #[test]
    fn a_refusal_says_what_is_wrong_and_where() {
        let (client, server) = serve(&[REFUSED]);
        let failure = client.get("/worker/a", Duration::ZERO).unwrap_err();
        let told = "T: D\\u{1b} (status 422); endpoints[3]: bad name";
        assert_eq!(failure.to_string(), told);
        assert!(matches!(failure, Failure::Usage(_)));
        assert!(server.join().unwrap()[0].starts_with("GET /worker/a HTTP/1.1\r\n"));
    }

    #[test]
    fn a_url_is_scheme_host_and_port() {
        for url in [
            "",
            "http://",
            "127.0.0.1:1",
            "http://a/b",
            "http://u:p@h",
            "http://a b",
        ] {
            assert!(Client::new(url).is_err(), "{url}");
        }
        assert_eq!(Client::new("http://h:1/").unwrap().url(), "http://h:1");
    }
}
