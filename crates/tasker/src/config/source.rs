//! Reads one configuration file: size, what is refused before YAML, YAML, positions of faults.

use std::path::Path;

use super::file::File;
use super::problem::{ConfigError, Problem};
use super::scan::{self, Places};

/// The default configuration, compiled in; it is also the documentation of every key.
pub const DEFAULT: &str = include_str!("../../../../config/default.config.yaml");
/// How the compiled-in default is called in messages.
pub(super) const DEFAULT_NAME: &str = "default.config.yaml (compiled in)";

/// A greater file is refused before it is read.
const MAX_BYTES: u64 = 1 << 20;

/// A file that was read.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) file: File,
    pub(super) places: Places,
}

impl Source {
    /// Reads a file of a disk.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::metadata(path)
            .and_then(|meta| {
                if meta.len() > MAX_BYTES {
                    return Err(std::io::Error::other(format!(
                        "is larger than {MAX_BYTES} bytes"
                    )));
                }
                std::fs::read_to_string(path)
            })
            .map_err(|e| ConfigError::of_file(&name, e.to_string()))?;
        Self::parse(name, &text)
    }

    /// Reads a text.
    pub(super) fn parse(name: String, text: &str) -> Result<Self, ConfigError> {
        let places = match scan::scan(text) {
            Ok(places) => places,
            Err(fault) => {
                return Err(ConfigError(vec![Problem {
                    file: name,
                    place: Some(fault.place),
                    key: String::new(),
                    message: fault.message.to_owned(),
                }]));
            }
        };
        if text
            .lines()
            .all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'))
        {
            return Ok(Self {
                name,
                file: File::default(),
                places,
            });
        }
        match serde_yaml::from_str(text) {
            Ok(file) => Ok(Self { name, file, places }),
            Err(error) => Err(ConfigError(vec![yaml_problem(name, &error)])),
        }
    }
}

fn yaml_problem(file: String, error: &serde_yaml::Error) -> Problem {
    let place = error.location().map(|at| (at.line(), at.column()));
    let mut message = error.to_string();
    if let Some((line, column)) = place {
        let suffix = format!(" at line {line} column {column}");
        if let Some(cut) = message.strip_suffix(&suffix) {
            message = cut.to_owned();
        }
    }
    Problem {
        file,
        place,
        // The library writes the key in front of the message by itself.
        key: String::new(),
        message,
    }
}
