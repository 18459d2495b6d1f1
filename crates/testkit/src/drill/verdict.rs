//! The comparison of the ledgers with what tasker says.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::{Posts, Runs};

/// What tasker says of one endpoint's answer to one task.
#[derive(Debug, Clone)]
pub struct Row {
    /// The client's name of the task.
    pub identifier: String,
    /// The endpoint; `None` for a task without any response yet.
    pub endpoint: Option<String>,
    /// The response's state.
    pub state: String,
    /// The token that the answer carries, if it does.
    pub token: Option<String>,
}

/// What a drill calls right.
#[derive(Debug)]
pub struct Terms<'a> {
    /// Who has to answer every accepted task.
    pub endpoints: &'a [String],
    /// States that count as an answer.
    pub answers: &'a [&'a str],
    /// Whether the task type is `once`: one start for each attempt and no more. Otherwise one start
    /// for each (attempt, run).
    pub is_once: bool,
}

/// The figures of a drill, as Jepsen's `total-queue` counts them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Tasks that the client was told are stored.
    pub accepted: usize,
    /// Tasks of which the client was told nothing.
    pub unknown: usize,
    /// Those of them that are stored.
    pub found: usize,
    /// Accepted tasks that are not stored, and answers of expected endpoints that are missing.
    pub lost: usize,
    /// Answers of success without a handler that ended so.
    pub lies: usize,
    /// Handlers that ran for a task that is not stored.
    pub phantoms: usize,
    /// Starts of a handler beyond the allowed one.
    pub duplicated: usize,
    /// Answers INTERRUPTED.
    pub interrupted: usize,
    /// Tasks that are stored more than once.
    pub twins: usize,
    /// How many answers are in each state.
    pub states: BTreeMap<String, usize>,
    /// Some of what is wrong, for whoever has to find out why.
    pub examples: Vec<String>,
}

impl Figures {
    /// Takes in those of another task type of the same drill.
    pub fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.unknown += other.unknown;
        self.found += other.found;
        self.lost += other.lost;
        self.lies += other.lies;
        self.phantoms += other.phantoms;
        self.duplicated += other.duplicated;
        self.interrupted += other.interrupted;
        self.twins += other.twins;
        for (state, count) in other.states {
            *self.states.entry(state).or_default() += count;
        }
        self.examples.extend(other.examples);
    }
}

/// Compares. `rows` are all tasks that tasker holds.
#[must_use]
pub fn compare(posts: &Posts, runs: &Runs, rows: &[Row], terms: &Terms<'_>) -> Figures {
    let mut figures = Figures {
        accepted: posts.accepted.len(),
        unknown: posts.unknown.len(),
        ..Figures::default()
    };
    let mut examples = Vec::new();
    let mut stored: BTreeMap<&str, BTreeMap<&str, &Row>> = BTreeMap::new();
    for row in rows {
        let answers = stored.entry(&row.identifier).or_default();
        let Some(endpoint) = row.endpoint.as_deref() else {
            continue;
        };
        *figures.states.entry(row.state.clone()).or_default() += 1;
        if answers.insert(endpoint, row).is_some() {
            figures.twins += 1;
            examples.push(format!("{} {endpoint} is stored twice", row.identifier));
        }
        if row.state == "INTERRUPTED" {
            figures.interrupted += 1;
        }
        if row.state == "SUCCEEDED" {
            let ends = runs
                .ends
                .get(&(row.identifier.clone(), endpoint.to_owned()));
            let token = row.token.as_ref();
            if !ends
                .zip(token)
                .is_some_and(|(ends, token)| ends.contains(token))
            {
                figures.lies += 1;
                examples.push(format!(
                    "{} {endpoint} succeeded without an end",
                    row.identifier
                ));
            }
        }
    }
    let is_stored = |identifier: &&String| stored.contains_key(identifier.as_str());
    figures.found = posts.unknown.iter().filter(is_stored).count();
    for identifier in &posts.accepted {
        let Some(answers) = stored.get(identifier.as_str()) else {
            figures.lost += 1;
            examples.push(format!("{identifier} was accepted and is not stored"));
            continue;
        };
        for endpoint in terms.endpoints {
            let state = answers.get(endpoint.as_str()).map(|row| row.state.as_str());
            if !state.is_some_and(|state| terms.answers.contains(&state)) {
                figures.lost += 1;
                let state = state.unwrap_or("no row");
                examples.push(format!("{identifier} {endpoint}: {state}"));
            }
        }
    }
    for ((identifier, endpoint), starts) in &runs.starts {
        if !stored.contains_key(identifier.as_str()) {
            figures.phantoms += starts.len();
            examples.push(format!("{identifier} {endpoint} ran and is not stored"));
        }
        let allowed: BTreeSet<_> = if terms.is_once {
            starts.iter().map(|(attempt, _)| (*attempt, 1)).collect()
        } else {
            starts.iter().copied().collect()
        };
        if starts.len() > allowed.len() {
            figures.duplicated += starts.len() - allowed.len();
            examples.push(format!("{identifier} {endpoint} started as {starts:?}"));
        }
    }
    examples.truncate(10);
    figures.examples = examples;
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(identifier: &str, endpoint: &str, state: &str, token: Option<&str>) -> Row {
        Row {
            identifier: identifier.into(),
            endpoint: Some(endpoint.into()),
            state: state.into(),
            token: token.map(str::to_owned),
        }
    }

    fn posts(accepted: &[&str], unknown: &[&str]) -> Posts {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Posts {
            accepted: set(accepted),
            unknown: set(unknown),
            ..Posts::default()
        }
    }

    fn runs(starts: &[(&str, u32, u32)], ends: &[(&str, &str)]) -> Runs {
        let mut runs = Runs::default();
        for (identifier, attempt, run) in starts {
            let key = ((*identifier).to_owned(), "e".to_owned());
            runs.starts.entry(key).or_default().push((*attempt, *run));
        }
        for (identifier, token) in ends {
            let key = ((*identifier).to_owned(), "e".to_owned());
            runs.ends
                .entry(key)
                .or_default()
                .insert((*token).to_owned());
        }
        runs
    }

    fn judge(posts: &Posts, runs: &Runs, rows: &[Row], is_once: bool) -> Figures {
        let terms = Terms {
            endpoints: &["e".to_owned()],
            answers: &["SUCCEEDED", "INTERRUPTED"],
            is_once,
        };
        compare(posts, runs, rows, &terms)
    }

    #[test]
    fn a_clean_drill_has_clean_figures() {
        let figures = judge(
            &posts(&["a"], &["u", "v"]),
            &runs(&[("a", 1, 1), ("u", 1, 1)], &[("a", "t"), ("u", "t2")]),
            &[
                row("a", "e", "SUCCEEDED", Some("t")),
                row("u", "e", "SUCCEEDED", Some("t2")),
            ],
            true,
        );
        assert_eq!(
            (figures.accepted, figures.unknown, figures.found),
            (1, 2, 1)
        );
        let bad = [
            figures.lost,
            figures.lies,
            figures.phantoms,
            figures.duplicated,
            figures.twins,
        ];
        assert_eq!(bad, [0; 5], "{:?}", figures.examples);
    }

    #[test]
    fn every_kind_of_wrong_is_seen() {
        let lost = judge(
            &posts(&["a", "b"], &[]),
            &runs(&[], &[]),
            &[row("b", "e", "WAITING", None)],
            true,
        );
        assert_eq!(lost.lost, 2);
        let lie = judge(
            &posts(&["a"], &[]),
            &runs(&[("a", 1, 1)], &[("a", "t")]),
            &[row("a", "e", "SUCCEEDED", Some("other"))],
            true,
        );
        assert_eq!((lie.lies, lie.lost), (1, 0));
        let phantom = judge(&posts(&[], &[]), &runs(&[("x", 1, 1)], &[]), &[], true);
        assert_eq!(phantom.phantoms, 1);
        let twice = [("a", 1, 1), ("a", 1, 2), ("a", 2, 1)];
        let rows = [row("a", "e", "INTERRUPTED", None)];
        assert_eq!(
            judge(&posts(&[], &[]), &runs(&twice, &[]), &rows, true).duplicated,
            1
        );
        let rerun = judge(&posts(&[], &[]), &runs(&twice, &[]), &rows, false);
        assert_eq!((rerun.duplicated, rerun.interrupted), (0, 1));
        let twin = [
            row("a", "e", "INTERRUPTED", None),
            row("a", "e", "INTERRUPTED", None),
        ];
        assert_eq!(
            judge(&posts(&[], &[]), &runs(&[], &[]), &twin, true).twins,
            1
        );
    }
}
