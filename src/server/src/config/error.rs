//! What is wrong with a configuration, by field.

use std::fmt;
use std::path::PathBuf;

/// One field that breaks its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field's path, e.g. `cluster.nodes[1].peer`.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

impl FieldError {
    /// A broken rule of `field`; one without a name is shown as TOML writes it.
    pub(super) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        let field = field.into();
        Self { field: if field.is_empty() { "\"\"".to_owned() } else { field }, why: why.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// Why there is no configuration to run with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("--config: cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("--config: {} is not valid TOML: {text}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        text: String,
    },
    /// Fields break their rules.
    #[error("{}", list(.0))]
    Fields(Vec<FieldError>),
}

fn list(errors: &[FieldError]) -> String {
    errors.iter().map(FieldError::to_string).collect::<Vec<_>>().join("\n")
}
