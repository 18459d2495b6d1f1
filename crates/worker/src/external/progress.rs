//! The progress fifo: lines of `42 copying`, percent and an optional note.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tasker_core::handler::JobContext;
use tasker_core::harmless::harmless;
use tasker_core::task::Progress;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::{OpenOptions, Receiver};

/// How long a line may be; the rest of a longer one is skipped.
const LINE_BYTES: usize = 1024;

/// Makes the fifo and opens it for reading and writing, so that it does not end when a writer closes
/// it: each `echo` of a shell script opens and closes it.
pub(super) fn open(path: &Path) -> io::Result<Receiver> {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    OpenOptions::new().read_write(true).open_receiver(path)
}

/// Passes progress on, for ever.
pub(super) async fn pump(mut fifo: Receiver, context: &dyn JobContext) -> Infallible {
    let mut line = Vec::new();
    let mut chunk = [0; 1024];
    // An error would repeat itself; a run without progress is still a run.
    while let Ok(count) = fifo.read(&mut chunk).await {
        for &byte in &chunk[..count] {
            if byte != b'\n' {
                if line.len() < LINE_BYTES {
                    line.push(byte);
                }
                continue;
            }
            if let Some(progress) = parse(&line) {
                context.progress(progress);
            }
            line.clear();
        }
    }
    std::future::pending().await
}

/// Reads a line; `None` if it does not begin with a number from 0 to 100.
fn parse(line: &[u8]) -> Option<Progress> {
    let text = String::from_utf8_lossy(line);
    let (number, note) = match text.trim().split_once(char::is_whitespace) {
        Some((number, note)) => (number, note.trim()),
        None => (text.trim(), ""),
    };
    let percent = number
        .trim_end_matches('%')
        .parse()
        .ok()
        .filter(|p| *p <= 100)?;
    Some(Progress {
        percent,
        note: (!note.is_empty()).then(|| harmless(note)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_percent_and_note() {
        for (line, expected) in [
            (&b"42 copying files"[..], Some((42, Some("copying files")))),
            (b" 100% ", Some((100, None))),
            (b"0", Some((0, None))),
            (b"7 a\x1b[31mb", Some((7, Some("a\\u{1b}[31mb")))),
            (b"101", None),
            (b"-1", None),
            (b"", None),
            (b"half", None),
        ] {
            let progress = parse(line);
            let found = progress.as_ref().map(|p| (p.percent, p.note.as_deref()));
            assert_eq!(found, expected, "{line:?}");
        }
    }
}
