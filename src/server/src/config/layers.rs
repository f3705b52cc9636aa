//! File, environment and flags, laid over one another.
//!
//! The layers are joined as a TOML table, which is then read as a whole: so a layer may leave out
//! what another one gives. What type an override has is looked up in a complete configuration, so
//! that no list of fields can go stale.

use super::error::{ConfigError, FieldError};
use super::schema::{
    ClusterSection, Config, HttpSection, LimitsSection, LogSection, NodeSection, PeerSection, StorageSection,
    TimingSection,
};
use hapax_core::PolicyTable;
use std::path::PathBuf;
use toml::{Table, Value};

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file.
    pub file: Option<PathBuf>,
    /// The environment of the process.
    pub environment: Vec<(String, String)>,
    /// Flags: the flag as the user wrote it, the field's path, the value.
    pub flags: Vec<Flag>,
}

/// One flag that sets a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The flag as the user wrote it, for errors.
    pub name: String,
    /// The field's path.
    pub path: String,
    /// The value as text.
    pub value: String,
}

/// Reads and joins the layers, checks every field and fills in what follows from others.
///
/// # Errors
/// [`ConfigError`] names every field at fault.
pub fn load(layers: &Layers) -> Result<Config, ConfigError> {
    match &layers.file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError::Read { path: path.clone(), error })?;
            load_text(&text, layers)
        }
        None => load_text("", layers),
    }
}

/// As [`load`], where the text of the file is at hand.
///
/// # Errors
/// [`ConfigError`] names every field at fault.
pub fn load_text(text: &str, layers: &Layers) -> Result<Config, ConfigError> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: layers.file.clone().unwrap_or_default(),
        text: error.to_string().trim_end().to_owned(),
    })?;
    let template = template();
    for (path, kind) in leaves(&template) {
        let variable = variable_of(&path);
        if let Some((_, text)) = layers.environment.iter().find(|(name, _)| *name == variable) {
            set(&mut table, &path, typed(&kind, text, &variable, &path)?)?;
        }
    }
    for flag in &layers.flags {
        let kind = leaf(&template, &flag.path).ok_or_else(|| {
            ConfigError::Fields(vec![FieldError::new(
                &flag.path,
                format!("no such field (from {})", flag.name),
            )])
        })?;
        set(&mut table, &flag.path, typed(kind, &flag.value, &flag.name, &flag.path)?)?;
    }
    fill_shards(&mut table);
    let mut config: Config = table.try_into().map_err(|error: toml::de::Error| field_error(&error))?;
    config.fill();
    let errors = config.check();
    if errors.is_empty() { Ok(config) } else { Err(ConfigError::Fields(errors)) }
}

impl Config {
    /// The configuration as a file that says the same.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every field of a configuration has a TOML form")
    }

    /// The variable names that set a field, in the order of the fields.
    #[must_use]
    pub fn variables() -> Vec<String> {
        leaves(&template()).iter().map(|(path, _)| variable_of(path)).collect()
    }
}

/// Where the number of shards is not given there are as many as nodes: each leads one, and what arrives together is
/// spread over no more log entries than that takes. Measured: docs/performance.md.
fn fill_shards(table: &mut Table) {
    let Some(Value::Table(cluster)) = table.get_mut("cluster") else { return };
    if let Some(Value::Array(nodes)) = cluster.get("nodes")
        && let Ok(nodes) = i64::try_from(nodes.len())
    {
        cluster.entry("shards").or_insert(Value::Integer(nodes.max(1)));
    }
}

/// `node.data_dir` is set by `HAPAX_NODE_DATA_DIR`.
fn variable_of(path: &str) -> String {
    format!("HAPAX_{}", path.replace('.', "_").to_ascii_uppercase())
}

/// A configuration with a value in every field that an override may set.
fn template() -> Table {
    let config = Config {
        node: NodeSection {
            name: String::new(),
            data_dir: PathBuf::new(),
            client_listen: String::new(),
            peer_listen: String::new(),
            threads: Some(1),
        },
        cluster: ClusterSection {
            id: String::new(),
            shards: 1,
            replication: Some(1),
            nodes: Vec::<PeerSection>::new(),
        },
        storage: StorageSection::default(),
        timing: TimingSection::default(),
        limits: LimitsSection::default(),
        http: HttpSection::default(),
        log: LogSection::default(),
        anomaly: super::AnomalySection::default(),
        policies: PolicyTable::default(),
    };
    Table::try_from(&config).expect("every field of a configuration has a TOML form")
}

/// Every scalar of a table, by path.
fn leaves(table: &Table) -> Vec<(String, Value)> {
    fn walk(prefix: &str, table: &Table, found: &mut Vec<(String, Value)>) {
        for (name, value) in table {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Table(inner) => walk(&path, inner, found),
                Value::Array(_) => {}
                scalar => found.push((path, scalar.clone())),
            }
        }
    }
    let mut found = Vec::new();
    walk("", table, &mut found);
    found
}

fn leaf<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    match (table.get(first)?, rest) {
        (Value::Table(inner), Some(rest)) => leaf(inner, rest),
        (Value::Table(_) | Value::Array(_), None) | (_, Some(_)) => None,
        (scalar, None) => Some(scalar),
    }
}

/// Reads an override as the type of the field that it sets.
fn typed(kind: &Value, text: &str, from: &str, path: &str) -> Result<Value, ConfigError> {
    let wrong = |what: &str| {
        ConfigError::Fields(vec![FieldError::new(path, format!("{what} is needed, but {from} is none"))])
    };
    Ok(match kind {
        Value::Integer(_) => Value::Integer(text.trim().parse().map_err(|_| wrong("a whole number"))?),
        Value::Float(_) => Value::Float(text.trim().parse().map_err(|_| wrong("a number"))?),
        Value::Boolean(_) => Value::Boolean(text.trim().parse().map_err(|_| wrong("true or false"))?),
        _ => Value::String(text.to_owned()),
    })
}

fn set(table: &mut Table, path: &str, value: Value) -> Result<(), ConfigError> {
    let Some((section, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return Ok(());
    };
    match table.entry(section).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(inner) => set(inner, rest, value),
        _ => {
            Err(ConfigError::Fields(vec![FieldError::new(section, "a section is needed, but it is a value")]))
        }
    }
}

/// Turns a reader's error into one that begins with the field's path.
fn field_error(error: &toml::de::Error) -> ConfigError {
    let text = error.to_string();
    let place = text.lines().find_map(|line| line.strip_prefix("in `")?.strip_suffix('`'));
    let message = error.message();
    let quoted = message.split('`').nth(1).unwrap_or_default();
    let names_field = message.starts_with("unknown field") || message.starts_with("missing field");
    let field = match (place, names_field) {
        (Some(place), true) => format!("{place}.{quoted}"),
        (Some(place), false) => place.to_owned(),
        (None, true) => quoted.to_owned(),
        (None, false) => "configuration".to_owned(),
    };
    ConfigError::Fields(vec![FieldError::new(field, message)])
}
