//! Accounts: who may do what, with which task types and endpoints, and whose things they see.

use serde::{Deserialize, Serialize};

use crate::name::{Client, EndpointName, NameError, TaskType};

/// What a user is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May do everything, with the things of every client.
    Admin,
    /// Submits, reads, cancels and retries, within its grants; sees the things of every client.
    Operator,
    /// Submits, reads, cancels and retries, within its grants; sees its own things only.
    Client,
    /// Reads the things of every client.
    Viewer,
    /// Answers the jobs of the task types that it was granted.
    Server,
    /// Pulls tasks of runs and reports on them.
    Worker,
}

/// Something that a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Make tasks, jobs and runs, change and end them.
    Submit,
    /// Read tasks, jobs and runs.
    Read,
    /// Read about the service: endpoints, counters.
    Observe,
    /// Pull tasks of runs, and report on them.
    Pull,
    /// Answer jobs.
    Serve,
}

impl Role {
    /// Every role.
    pub const ALL: &'static [Self] = &[
        Self::Admin,
        Self::Operator,
        Self::Client,
        Self::Viewer,
        Self::Server,
        Self::Worker,
    ];

    /// The word of a role.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Client => "client",
            Self::Viewer => "viewer",
            Self::Server => "server",
            Self::Worker => "worker",
        }
    }

    /// The role of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.as_str() == word)
    }

    /// Whether the role includes a right.
    #[must_use]
    pub const fn has(self, right: Right) -> bool {
        match self {
            Self::Admin => true,
            Self::Operator => !matches!(right, Right::Serve),
            Self::Client => matches!(right, Right::Submit | Right::Read | Right::Pull),
            Self::Viewer => matches!(right, Right::Read | Right::Observe),
            Self::Server => matches!(right, Right::Serve),
            Self::Worker => matches!(right, Right::Pull),
        }
    }

    /// Whether the role sees the things of every client.
    #[must_use]
    pub const fn sees_all(self) -> bool {
        !matches!(self, Self::Client)
    }
}

/// What an account may touch, of what its role may touch at all. A token's grants narrow its user's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Only these task types; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_types: Option<Vec<TaskType>>,
    /// Only endpoints that match one of these; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<EndpointGlob>>,
    /// Whether nothing may be made or changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl Grants {
    /// Whether a task type may be touched.
    #[must_use]
    pub fn allow_type(&self, task_type: &TaskType) -> bool {
        let types = self.task_types.as_ref();
        types.is_none_or(|types| types.contains(task_type))
    }

    /// Whether an endpoint may be given tasks.
    #[must_use]
    pub fn allow_endpoint(&self, endpoint: &EndpointName) -> bool {
        let globs = self.endpoints.as_ref();
        globs.is_none_or(|globs| globs.iter().any(|glob| glob.matches(endpoint)))
    }

    /// Whether every endpoint may be given tasks, known or not.
    #[must_use]
    pub const fn allow_every_endpoint(&self) -> bool {
        self.endpoints.is_none()
    }
}

/// The pattern of an [`EndpointGlob`].
pub const GLOB_PATTERN: &str = "^[A-Za-z0-9*?][A-Za-z0-9._*?-]{0,127}$";

/// A pattern of endpoint names: `*` stands for any characters or none, `?` for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointGlob(String);

impl EndpointGlob {
    /// Checks the text and makes it a pattern.
    ///
    /// # Errors
    /// [`NameError`] if it is none, see [`GLOB_PATTERN`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let is_glob = (1..=128).contains(&bytes.len())
            && !matches!(bytes[0], b'.' | b'_' | b'-')
            && bytes.iter().all(|b| {
                b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'*' | b'?')
            });
        if is_glob {
            Ok(Self(text.to_owned()))
        } else {
            let pattern = GLOB_PATTERN;
            Err(NameError::Pattern { pattern })
        }
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name matches, as a whole.
    #[must_use]
    pub fn matches(&self, name: &EndpointName) -> bool {
        matches(self.0.as_bytes(), name.as_str().as_bytes())
    }
}

/// Goes back to the last `*` when what follows it does not fit: as long as pattern times name at most.
fn matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&c) if c == b'?' || c == name[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((star_at, from)) = star else {
                    return false;
                };
                star = Some((star_at, from + 1));
                at = star_at + 1;
                read = from + 1;
            }
        }
    }
    glob[at..].iter().all(|c| *c == b'*')
}

impl TryFrom<String> for EndpointGlob {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<EndpointGlob> for String {
    fn from(glob: EndpointGlob) -> Self {
        glob.0
    }
}

impl std::str::FromStr for EndpointGlob {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

/// Whose things an operation works on. Only authentication makes one from a request (a test of the
/// workspace looks for others), so that no query can forget to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientScope {
    client: Client,
    is_bound: bool,
}

impl ClientScope {
    /// The scope of a client that sees its own things only.
    #[must_use]
    pub const fn own(client: Client) -> Self {
        Self {
            client,
            is_bound: true,
        }
    }

    /// The scope of somebody who sees the things of every client; `client` owns what it makes.
    #[must_use]
    pub const fn all(client: Client) -> Self {
        Self {
            client,
            is_bound: false,
        }
    }

    /// Who owns what is made here, and whose things a name stands for.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The only client whose things are seen; `None`: every client's are.
    #[must_use]
    pub fn bound(&self) -> Option<&Client> {
        self.is_bound.then_some(&self.client)
    }

    /// Whether things of a client are seen.
    #[must_use]
    pub fn covers(&self, client: &Client) -> bool {
        !self.is_bound || self.client == *client
    }

    /// The same for the things of one client, if they are seen.
    #[must_use]
    pub fn of(&self, client: Client) -> Option<Self> {
        self.covers(&client).then(|| Self::own(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        for (glob, name, expected) in [
            ("web1", "web1", true),
            ("web1", "web10", false),
            ("web*", "web", true),
            ("web*", "web10.example", true),
            ("web*", "xweb", false),
            ("*", "a", true),
            ("*.example", "web.example", true),
            ("*.example", "web.example.org", false),
            ("w?b", "web", true),
            ("w?b", "wb", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("**", "x", true),
        ] {
            let name = EndpointName::parse(name).unwrap();
            let is_match = EndpointGlob::parse(glob).unwrap().matches(&name);
            assert_eq!(is_match, expected, "{glob} {name}");
        }
    }

    #[test]
    fn a_glob_has_no_other_characters() {
        for text in ["", ".a", "-", "a b", "a/b", "[a]", "é", "a\n"] {
            assert!(EndpointGlob::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_stubborn_glob_takes_no_longer_than_its_length_times_the_names() {
        let glob = EndpointGlob::parse(&"*a".repeat(64)).unwrap();
        let name = EndpointName::parse(&format!("{}b", "a".repeat(127))).unwrap();
        assert!(!glob.matches(&name));
    }

    #[test]
    fn a_bound_scope_reaches_nobody_else() {
        let (one, two) = (Client::local(), Client::parse("two").unwrap());
        let own = ClientScope::own(one.clone());
        assert_eq!(own.bound(), Some(&one));
        assert_eq!(own.of(two.clone()), None);
        let all = ClientScope::all(one);
        assert_eq!(all.of(two.clone()), Some(ClientScope::own(two)));
    }

    #[test]
    fn roles_have_words() {
        for role in Role::ALL {
            assert_eq!(Role::from_word(role.as_str()), Some(*role));
            assert_eq!(
                serde_json::to_value(role).unwrap(),
                serde_json::json!(role.as_str())
            );
        }
        assert_eq!(Role::from_word("Admin"), None);
    }
}
