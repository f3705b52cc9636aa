//! The node's configuration.
//!
//! Contract: three layers, the later one wins: the TOML file, the environment (`HAPAX_` and the
//! field's path in capitals, e.g. `HAPAX_NODE_DATA_DIR` for `node.data_dir`), the flags. An unknown
//! field is an error, every error names its field by its path, all of them are told at once, and
//! what is used can be printed as a file that says the same.

mod check;
mod error;
mod layers;
mod schema;
#[cfg(test)]
mod tests;

pub use error::{ConfigError, FieldError};
pub use layers::{Flag, Layers, load, load_text};
pub use schema::{
    AnomalySection, ClusterSection, Config, Engine, HttpSection, LimitsSection, LogFormat, LogSection,
    NodeSection, PeerSection, StorageSection, TimingSection,
};
