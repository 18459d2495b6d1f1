//! A session at the database that a row holds open, to lock what the programs under test need.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tasker_testkit::installation::host_and_port;
use tasker_testkit::private_server::PrivateServer;

/// A session of `root`. What it holds is free when it is dropped.
#[derive(Debug)]
pub struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    statements: u64,
}

impl Session {
    /// Opens a session; in which database, say its statements.
    ///
    /// # Panics
    /// If there is no program `mariadb`. A server that refuses the session shows with the first statement.
    #[must_use]
    pub fn open(server: &PrivateServer) -> Self {
        let mut child = client(server)
            .args(["--force", "--unbuffered"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program mariadb");
        Self {
            input: child.stdin.take().expect("its input"),
            output: BufReader::new(child.stdout.take().expect("its output")),
            child,
            statements: 0,
        }
    }

    /// Runs statements and waits for their end; what they printed. One that fails prints nothing, and
    /// the next one is run.
    ///
    /// # Panics
    /// If the session is over.
    pub fn run(&mut self, statements: &str) -> String {
        self.try_run(statements).expect("a session")
    }

    /// As [`Session::run`]; `None` if the session is over, or was never let in.
    pub fn try_run(&mut self, statements: &str) -> Option<String> {
        self.statements += 1;
        let end = format!("end of {}", self.statements);
        writeln!(self.input, "{statements};\nSELECT '{end}';").ok()?;
        let mut printed = String::new();
        loop {
            let before = printed.len();
            if self.output.read_line(&mut printed).ok()? == 0 {
                return None;
            }
            if printed[before..].trim_end() == end {
                printed.truncate(before);
                return Some(printed.trim_end().to_owned());
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The program `mariadb` as root of a server, printing plain lines.
#[must_use]
pub fn client(server: &PrivateServer) -> Command {
    let (host, port) = host_and_port(&server.url().replacen("root@", "root:@", 1));
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "-uroot", "-N", "-B"]);
    command.args(["-h", &host, "-P", &port]);
    command
}
