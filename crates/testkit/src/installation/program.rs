//! A program that runs as a process of its own.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::wait_for;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: PathBuf,
    /// Where its log began: several starts may share a file.
    from: u64,
}

impl Program {
    /// Starts a command with more environment; what it prints goes to the end of `log`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(mut command: Command, env: &[(&str, String)], log: &Path) -> Self {
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let file = open().expect("a log");
        let from = file.metadata().expect("a log").len();
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.stdin(std::process::Stdio::null());
        command.stdout(file).stderr(open().expect("a log"));
        Self {
            child: command.spawn().expect("a process"),
            log: log.to_owned(),
            from,
        }
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would; its children live on.
    pub fn kill(&mut self) {
        // Ended already is as well.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Sends it a signal, by name: `TERM`, `STOP`, `CONT`, …
    ///
    /// # Panics
    /// If it has ended.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.expect("kill").success(), "kill -s {name} {pid}");
    }

    /// Asks it to end, as its supervisor would, and waits.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn stop(&mut self, deadline: Duration) -> Option<i32> {
        self.signal("TERM");
        self.wait(deadline)
    }

    /// Waits for its end; the exit code, `None` if a signal ended it.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn wait(&mut self, deadline: Duration) -> Option<i32> {
        wait_for("the end of a program", deadline, || {
            self.child
                .try_wait()
                .expect("a child")
                .map(|status| status.code())
        })
    }

    /// Whether it runs.
    ///
    /// # Panics
    /// If the system does not know it.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let from = usize::try_from(self.from).unwrap_or(0).min(text.len());
        String::from_utf8_lossy(&text[from..]).into_owned()
    }

    /// Waits until it has printed a word; what follows it, up to the end of the line, a space, a quote
    /// or a comma.
    ///
    /// # Panics
    /// If it ends before or does not print it in time.
    pub fn wait_printed(&mut self, word: &str, deadline: Duration) -> String {
        let start = Instant::now();
        loop {
            let text = self.printed();
            if let Some(at) = text.find(word) {
                let rest = text[at + word.len()..].chars();
                return rest
                    .take_while(|c| !matches!(c, '"' | ' ' | '\n' | ','))
                    .collect();
            }
            assert!(self.is_running(), "a program ended: {text}");
            assert!(
                start.elapsed() < deadline,
                "waited in vain for {word:?}: {text}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The resident memory of its process, in KiB; 0 if it has ended.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|rest| rest.split_ascii_whitespace().next());
        number.and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// How long its threads have been computing; nothing if it has ended.
    #[must_use]
    pub fn computed(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let stat = stat.unwrap_or_default();
        // The name, in parentheses, may hold anything; the 12th and 13th fields after it are the ticks
        // in user and system mode, of which Linux shows 100 a second.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = rest.split_ascii_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|n| n.parse::<u64>().ok()).sum();
        Duration::from_millis(10 * ticks)
    }

    /// How many file descriptors it has open; 0 if it has ended.
    #[must_use]
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A paused one dies of it, too.
        self.kill();
    }
}
