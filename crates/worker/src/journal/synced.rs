//! For drills: how much of a journal a power cut would leave.
//!
//! A killed process leaves whatever it wrote; only a power cut takes away what was not synced. Builds
//! for drills keep the synced length beside the journal, so that a drill can cut the file to it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use tasker_core::fault;

/// The file `<journal>.synced`: one decimal number. Nothing at all in builds that are not for drills.
#[derive(Debug)]
pub(super) struct Synced(Option<File>);

impl Synced {
    /// That of a journal.
    pub(super) fn beside(journal: &Path) -> io::Result<Self> {
        if !fault::is_armed() {
            return Ok(Self(None));
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(journal.with_extension("journal.synced"))?;
        Ok(Self(Some(file)))
    }

    /// All of the journal's bytes up to `len` are synced. Of fixed width and in one write, so that
    /// whoever dies here leaves the old number or the new one.
    pub(super) fn note(&self, len: u64) -> io::Result<()> {
        match &self.0 {
            Some(file) => file.write_all_at(format!("{len:020}\n").as_bytes(), 0),
            None => Ok(()),
        }
    }
}
