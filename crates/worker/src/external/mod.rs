//! Handlers that are programs: `handlers/<type>/handler.yaml` and what it names. `handlers/README.md`
//! specifies the protocol.
//!
//! With the first program that is started, the process becomes a *child subreaper*: it adopts what
//! programs leave behind, and ends what belongs to a run that was ended by force. Whatever else a
//! program of yours starts in the same process must stay in the process's own group, as it does
//! unless told otherwise, or it is taken for such an orphan.

mod handler;
mod manifest;
mod orphans;
mod output;
mod process;
mod progress;
mod reply;
mod strays;
mod trust;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tasker_core::TaskType;

use crate::registry::{Registered, Registry};
use handler::ExternalHandler;

/// Why a handler is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerFault {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it, for the administrator.
    pub reason: String,
}

impl fmt::Display for HandlerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

/// Handlers that cannot be used, all of them at once. Nothing is run from such a folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct HandlerLoadError {
    /// Every fault, at least one.
    pub faults: Vec<HandlerFault>,
}

impl fmt::Display for HandlerLoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

/// Loads every handler of a folder: each subfolder is one, named after its task type. Plain files
/// beside them are ignored. Blocks.
///
/// # Errors
/// [`HandlerLoadError`] with every handler that cannot be used: a manifest that makes no sense, a
/// program that is missing, cannot be executed, is a link, is setuid, or files that others than root
/// and the worker's user could change.
pub fn load_handlers(dir: &Path) -> Result<Registry, HandlerLoadError> {
    let mut registry = Registry::default();
    let mut faults = Vec::new();
    match folders(dir) {
        Ok(folders) => {
            for (name, folder) in folders {
                match load(&name, &folder) {
                    Ok((task_type, handler)) => {
                        // A folder has each name once.
                        registry.insert(task_type, handler);
                    }
                    Err(fault) => faults.push(fault),
                }
            }
        }
        Err(fault) => faults.push(fault),
    }
    if faults.is_empty() {
        Ok(registry)
    } else {
        Err(HandlerLoadError { faults })
    }
}

/// The subfolders by name, links included: they are refused later, not ignored.
fn folders(dir: &Path) -> Result<Vec<(String, PathBuf)>, HandlerFault> {
    let failed = |e: std::io::Error| HandlerFault {
        path: dir.to_owned(),
        reason: e.to_string(),
    };
    // The folder itself may be reached by a link; what it leads to counts.
    let dir = dir.canonicalize().map_err(failed)?;
    trust::check_one(&dir)?;
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_file = entry.file_type().map_err(failed)?.is_file();
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_file && !name.starts_with('.') {
            folders.push((name, entry.path()));
        }
    }
    folders.sort();
    Ok(folders)
}

fn load(name: &str, folder: &Path) -> Result<(TaskType, Registered), HandlerFault> {
    let fault = |path: &Path, reason: String| HandlerFault {
        path: path.to_owned(),
        reason,
    };
    let task_type = TaskType::parse(name).map_err(|e| {
        fault(
            folder,
            format!("the name of the folder is no task type: it {e}"),
        )
    })?;
    trust::check_folder(folder)?;
    let path = folder.join("handler.yaml");
    let text = std::fs::read_to_string(&path).map_err(|e| fault(&path, e.to_string()))?;
    let manifest = manifest::parse(&text).map_err(|reason| fault(&path, reason))?;
    let program = folder.join(&manifest.command[0]);
    trust::check_program(&program)?;
    let registered = Registered {
        description: manifest.description.clone(),
        version: manifest.version.clone(),
        handler: Arc::new(
            ExternalHandler::new(folder, program, manifest).map_err(|e| fault(&path, e))?,
        ),
    };
    Ok((task_type, registered))
}

impl From<trust::Distrust> for HandlerFault {
    fn from(distrust: trust::Distrust) -> Self {
        Self {
            path: distrust.path,
            reason: distrust.reason,
        }
    }
}
