//! Where exported tasks go: a new file, or stdout.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::exit::Failure;

/// Makes a file that only its owner can read, and makes its name durable.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(file)
}

/// An export that is being written, a JSON object a line.
#[derive(Debug)]
pub(super) struct Export {
    out: BufWriter<File>,
    /// `None`: stdout.
    path: Option<PathBuf>,
    is_empty: bool,
}

impl Export {
    /// Makes the file, which must not exist. `-` is stdout.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let is_stdout = path == Path::new("-");
        let opened = if is_stdout {
            io::stdout().as_fd().try_clone_to_owned().map(File::from)
        } else {
            create(path)
        };
        let file = opened.map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))?;
        Ok(Self {
            out: BufWriter::new(file),
            path: (!is_stdout).then(|| path.to_owned()),
            is_empty: true,
        })
    }

    pub(super) const fn is_stdout(&self) -> bool {
        self.path.is_none()
    }

    /// Writes a line.
    pub(super) fn write(&mut self, line: &impl Serialize) -> Result<(), Failure> {
        self.is_empty = false;
        serde_json::to_writer(&mut self.out, line)
            .map_err(io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|e| self.failed(&e))
    }

    /// Returns when everything written is on the disk, or, on stdout, in the hands of its reader.
    pub(super) fn make_durable(&mut self) -> Result<(), Failure> {
        self.sync().map_err(|e| self.failed(&e))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.out.flush()?;
        let file = self.out.get_ref();
        // A pipe or a terminal has nothing to sync.
        if file.metadata()?.is_file() {
            file.sync_all()?;
        }
        Ok(())
    }

    /// Removes a file that nothing was to be written to: it would stand in the way of the next one.
    pub(super) fn close(self) {
        if let Some(path) = self.path.filter(|_| self.is_empty) {
            // Best effort: an empty file says the truth too.
            let _ = std::fs::remove_file(path);
        }
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let name = match &self.path {
            Some(path) => path.display().to_string(),
            None => "stdout".to_owned(),
        };
        Failure::Failed(format!(
            "{name}: {error}; what could not be exported was not purged"
        ))
    }
}
