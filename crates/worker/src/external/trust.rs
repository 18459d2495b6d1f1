//! Whether files can be trusted to be run: nobody but root and the worker's own user can change them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

/// How many files a handler's folder may hold.
const MOST_FILES: usize = 10_000;

/// A file that is not trusted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Distrust {
    pub(super) path: PathBuf,
    pub(super) reason: String,
}

impl Distrust {
    fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

/// Checks a file or folder by itself, without following links.
pub(super) fn check_one(path: &Path) -> Result<fs::Metadata, Distrust> {
    let meta = fs::symlink_metadata(path).map_err(|e| Distrust::new(path, e.to_string()))?;
    if meta.is_symlink() {
        return Err(Distrust::new(path, "is a symbolic link"));
    }
    if !meta.is_file() && !meta.is_dir() {
        return Err(Distrust::new(path, "is neither a file nor a folder"));
    }
    if meta.uid() != 0 && meta.uid() != Uid::effective().as_raw() {
        let reason = format!(
            "belongs to user {}; root or the worker's own user must own it",
            meta.uid()
        );
        return Err(Distrust::new(path, reason));
    }
    if meta.mode() & 0o022 != 0 {
        let mode = meta.mode() & 0o7777;
        let reason = format!("can be written by others (mode {mode:04o}); chmod go-w");
        return Err(Distrust::new(path, reason));
    }
    Ok(meta)
}

/// Checks a folder with all that is in it: a program also runs what it includes.
pub(super) fn check_folder(folder: &Path) -> Result<(), Distrust> {
    let mut folders = vec![folder.to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        check_one(&folder)?;
        let failed = |e: std::io::Error| Distrust::new(&folder, e.to_string());
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            files += 1;
            if files > MOST_FILES {
                return Err(Distrust::new(
                    &folder,
                    format!("holds more than {MOST_FILES} files"),
                ));
            }
            if check_one(&path)?.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

/// Checks the program of a handler, besides [`check_folder`].
pub(super) fn check_program(path: &Path) -> Result<(), Distrust> {
    let meta = check_one(path)?;
    if !meta.is_file() {
        return Err(Distrust::new(path, "is not a file"));
    }
    if meta.mode() & 0o6000 != 0 {
        return Err(Distrust::new(path, "is setuid or setgid"));
    }
    if meta.mode() & 0o111 == 0 {
        return Err(Distrust::new(path, "is not executable; chmod +x"));
    }
    Ok(())
}
