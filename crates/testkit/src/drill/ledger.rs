//! Ledgers of lines, each on the disk when `write` returns.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that only grows. Any number of processes may write it, a line at a time; threads that write
/// at the same time share a sync.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    progress: Mutex<Progress>,
    synced: Condvar,
}

/// How far a ledger is.
#[derive(Debug, Default)]
struct Progress {
    /// Writes so far.
    written: u64,
    /// Those of them that are on the disk.
    synced: u64,
    is_syncing: bool,
}

impl Ledger {
    /// Opens or makes it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: OpenOptions::new().create(true).append(true).open(path)?,
            progress: Mutex::default(),
            synced: Condvar::new(),
        })
    }

    /// Writes lines in one piece and waits until they are on the disk.
    ///
    /// # Errors
    /// Those of the file system.
    ///
    /// # Panics
    /// If another thread did in here.
    pub fn write(&self, lines: &[String]) -> io::Result<()> {
        let mut text = lines.join("\n");
        text.push('\n');
        let mut progress = self.progress.lock().expect("the ledger");
        // One write with O_APPEND: lines of different processes never mix.
        (&self.file).write_all(text.as_bytes())?;
        progress.written += 1;
        let mine = progress.written;
        while progress.synced < mine {
            if progress.is_syncing {
                progress = self.synced.wait(progress).expect("the ledger");
                continue;
            }
            let all = progress.written;
            progress.is_syncing = true;
            drop(progress);
            let result = self.file.sync_data();
            progress = self.progress.lock().expect("the ledger");
            progress.is_syncing = false;
            self.synced.notify_all();
            result?;
            progress.synced = all;
        }
        Ok(())
    }
}

/// Milliseconds since 1970, by this machine's clock: everything in a drill is on one machine.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// What a client writes down: `try IDENTIFIER` before it sends a POST, `told IDENTIFIER STATUS` after
/// it has read the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Post {
    /// A POST is about to be sent.
    Try(String),
    /// It was answered with this status.
    Told(String, u16),
}

impl Post {
    /// Its line.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Try(identifier) => format!("try {identifier}"),
            Self::Told(identifier, status) => format!("told {identifier} {status}"),
        }
    }
}

/// What a client knows, by identifier.
#[derive(Debug, Default)]
pub struct Posts {
    /// Answered 201, 202 or (the same again) 200.
    pub accepted: BTreeSet<String>,
    /// Sent at least once without an answer, and never answered 201, 202 or 200.
    pub unknown: BTreeSet<String>,
    /// Never accepted, and every try was answered.
    pub refused: BTreeSet<String>,
    /// Accepted, and only ever told as 200: it had been stored by a POST that was not answered so.
    pub recovered: BTreeSet<String>,
    /// How often each status was answered.
    pub statuses: BTreeMap<u16, u64>,
}

impl Posts {
    /// Reads a client's ledger.
    ///
    /// # Panics
    /// If it cannot be read, or a line in it is not one of [`Post`]'s.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let mut posts = Self::default();
        let mut open: BTreeMap<String, u64> = BTreeMap::new();
        let mut as_new = BTreeSet::new();
        for line in lines(path) {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["try", identifier] => *open.entry(identifier.to_owned()).or_default() += 1,
                ["told", identifier, status] => {
                    let status: u16 = status.parse().expect("a status");
                    *posts.statuses.entry(status).or_default() += 1;
                    *open.entry(identifier.to_owned()).or_default() -= 1;
                    if matches!(status, 200..=202) {
                        posts.accepted.insert(identifier.to_owned());
                    }
                    if matches!(status, 201 | 202) {
                        as_new.insert(identifier.to_owned());
                    }
                }
                _ => panic!("{}: {line:?}", path.display()),
            }
        }
        for (identifier, unanswered) in open {
            if posts.accepted.contains(&identifier) {
                continue;
            }
            let into = if unanswered > 0 {
                &mut posts.unknown
            } else {
                &mut posts.refused
            };
            into.insert(identifier);
        }
        posts.recovered = posts.accepted.difference(&as_new).cloned().collect();
        posts
    }

    /// How many answers had a status.
    #[must_use]
    pub fn answered(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStage {
    /// The handler begins.
    Start,
    /// It is about to answer.
    End,
}

/// What a handler writes down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLine {
    /// Begin or end.
    pub stage: RunStage,
    /// The client's name of the task.
    pub identifier: String,
    /// The endpoint.
    pub endpoint: String,
    /// The attempt.
    pub attempt: u32,
    /// The run.
    pub run: u32,
    /// What no other run has; the answer carries it.
    pub token: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

impl RunLine {
    /// Its line.
    #[must_use]
    pub fn line(&self) -> String {
        let stage = match self.stage {
            RunStage::Start => "start",
            RunStage::End => "end",
        };
        format!(
            "{stage} {} {} {} {} {} {}",
            self.identifier, self.endpoint, self.attempt, self.run, self.token, self.at_ms
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [stage, identifier, endpoint, attempt, run, token, at_ms] = words[..] else {
            return None;
        };
        Some(Self {
            stage: match stage {
                "start" => RunStage::Start,
                "end" => RunStage::End,
                _ => return None,
            },
            identifier: identifier.to_owned(),
            endpoint: endpoint.to_owned(),
            attempt: attempt.parse().ok()?,
            run: run.parse().ok()?,
            token: token.to_owned(),
            at_ms: at_ms.parse().ok()?,
        })
    }
}

/// What the handlers did.
#[derive(Debug, Default)]
pub struct Runs {
    /// Begun runs by (identifier, endpoint), each with its attempt and run.
    pub starts: BTreeMap<(String, String), Vec<(u32, u32)>>,
    /// Tokens of ended runs by (identifier, endpoint).
    pub ends: BTreeMap<(String, String), BTreeSet<String>>,
    /// When each end was written, ascending.
    pub end_times_ms: Vec<u64>,
}

impl Runs {
    /// Reads the handlers' ledger; one that nobody has written is empty.
    ///
    /// # Panics
    /// If a line in it is not one of [`RunLine`]'s.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let mut runs = Self::default();
        if !path.exists() {
            return runs;
        }
        for line in lines(path) {
            let read = RunLine::parse(&line);
            let read = read.unwrap_or_else(|| panic!("{}: {line:?}", path.display()));
            let key = (read.identifier, read.endpoint);
            match read.stage {
                RunStage::Start => {
                    let starts = runs.starts.entry(key).or_default();
                    starts.push((read.attempt, read.run));
                }
                RunStage::End => {
                    runs.ends.entry(key).or_default().insert(read.token);
                    runs.end_times_ms.push(read.at_ms);
                }
            }
        }
        runs.end_times_ms.sort_unstable();
        runs
    }

    /// Leaves out all tasks but those whose identifier fulfils a condition. The times of ends stay.
    pub fn retain(&mut self, is_meant: impl Fn(&str) -> bool) {
        self.starts
            .retain(|(identifier, _), _| is_meant(identifier));
        self.ends.retain(|(identifier, _), _| is_meant(identifier));
    }

    /// How many runs have ended.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.end_times_ms.len()
    }

    /// How long after a moment the next run ended.
    #[must_use]
    pub fn next_end_after(&self, moment_ms: u64) -> Option<Duration> {
        let at = self.end_times_ms.iter().find(|at| **at >= moment_ms)?;
        Some(Duration::from_millis(at - moment_ms))
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_a_ledger() {
        let path = std::env::temp_dir().join(format!("ledger-{}", uuid::Uuid::new_v4()));
        let ledger = Ledger::open(&path).expect("a ledger");
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (ledger, path) = (&ledger, &path);
                scope.spawn(move || {
                    for line in 0..20 {
                        let line = format!("{thread} {line}");
                        ledger.write(std::slice::from_ref(&line)).expect("a line");
                        let written = std::fs::read_to_string(path).expect("a file");
                        assert!(written.lines().any(|found| found == line));
                    }
                });
            }
        });
        assert_eq!(lines(&path).len(), 160);
        std::fs::remove_file(&path).expect("tidy");
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = std::env::temp_dir().join(format!("ledger-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&dir).expect("a folder");
        let posts = dir.join("posts");
        let ledger = Ledger::open(&posts).expect("a ledger");
        let told = [("a", 201), ("b", 503), ("b", 200), ("c", 503)];
        for (identifier, status) in told {
            let identifier = identifier.to_owned();
            let tried = Post::Try(identifier.clone()).line();
            ledger.write(&[tried]).expect("a line");
            let told = Post::Told(identifier, status).line();
            ledger.write(&[told]).expect("a line");
        }
        ledger
            .write(&[Post::Try("d".into()).line()])
            .expect("a line");
        let read = Posts::read(&posts);
        let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<String>();
        assert_eq!(names(&read.accepted), "ab");
        assert_eq!(names(&read.recovered), "b");
        assert_eq!(names(&read.refused), "c");
        assert_eq!(names(&read.unknown), "d");
        assert_eq!(read.answered(503), 2);

        let runs = dir.join("runs");
        let ledger = Ledger::open(&runs).expect("a ledger");
        let line = |stage, run| RunLine {
            stage,
            identifier: "a".into(),
            endpoint: "e1".into(),
            attempt: 1,
            run,
            token: format!("t{run}"),
            at_ms: 5,
        };
        let lines = [
            line(RunStage::Start, 1),
            line(RunStage::Start, 2),
            line(RunStage::End, 2),
        ];
        ledger.write(&lines.map(|line| line.line())).expect("lines");
        let read = Runs::read(&runs);
        let key = ("a".to_owned(), "e1".to_owned());
        assert_eq!(read.starts[&key], [(1, 1), (1, 2)]);
        assert!(read.ends[&key].contains("t2") && read.ended() == 1);
        std::fs::remove_dir_all(&dir).expect("tidy");
    }
}
