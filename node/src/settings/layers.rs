//! Where settings come from: built-in < /etc < the user's file < `--config` < environment < `--set`.
//!
//! Each layer is checked as it is put on the ones below, so a mistake is blamed on the layer and
//! the key that made it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, ConfigError, FileFormat, Map, Source, Value, ValueKind};

use super::Settings;
use crate::suggest::nearest;

/// The lowest layer, and the reference of every key.
const BUILT_IN: &str = include_str!("../../../configs/default.toml");
const BUILT_IN_NAME: &str = "built-in";
/// Settings in the environment begin with it; `BITCHAT_LOG` and others do not.
const ENVIRONMENT_PREFIX: &str = "BITCHAT__";
const SECTIONS: [&str; 10] =
    ["network", "trackers", "dht", "lan", "mesh", "link", "contacts", "chat", "history", "log"];
/// Bytes of a settings file. Stops a wrong path from filling the memory.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why the settings cannot be used; already says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read or is not TOML.
    #[error("{file}: {why}")]
    File {
        /// The layer.
        file: String,
        /// The reason.
        why: String,
    },
    /// No such key.
    #[error("{layer}: there is no setting \"{key}\"{}", suggestion.as_ref().map_or_else(
        || "; `bitchat config show` lists all".to_owned(),
        |right| format!("; did you mean \"{right}\"?")
    ))]
    UnknownKey {
        /// Where it stands.
        layer: String,
        /// As it was written.
        key: String,
        /// The nearest right key.
        suggestion: Option<String>,
    },
    /// The value is of the wrong type or not among those allowed.
    #[error("{layer}: {why}")]
    Type {
        /// Where it stands.
        layer: String,
        /// Names the key.
        why: String,
    },
    /// The value makes no sense.
    #[error("{layer}: {key} {why}")]
    Value {
        /// Where it stands.
        layer: String,
        /// The key.
        key: String,
        /// What would make sense.
        why: String,
    },
    /// `--set` without `=`.
    #[error("--set {0}: write --set section.key=value")]
    Flag(String),
}

/// The layers above the built-in one, before they are read.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// Files that need not be there, the weakest first.
    pub optional_files: Vec<PathBuf>,
    /// The file named by `--config`, which must be there.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// `section.key=value` of each `--set`, the weakest first.
    pub flags: Vec<String>,
}

/// Checked settings, and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    origins: BTreeMap<String, String>,
}

impl Loaded {
    /// Every setting, sorted by key.
    #[must_use]
    pub fn listing(&self) -> Vec<Row> {
        let tree = serde_json::to_value(&self.settings).expect("settings are plain data");
        let mut rows = Vec::new();
        for (section, keys) in tree.as_object().into_iter().flatten() {
            for (key, value) in keys.as_object().into_iter().flatten() {
                let key = format!("{section}.{key}");
                let origin = self.origins.get(&key).map_or(BUILT_IN_NAME, String::as_str);
                rows.push(Row { key, value: value.clone(), origin: origin.to_owned() });
            }
        }
        rows
    }
}

/// One setting as it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `section.key`
    pub key: String,
    /// A string, number, boolean or list of strings, which JSON and TOML write alike.
    pub value: serde_json::Value,
    /// The layer it comes from.
    pub origin: String,
}

/// One layer: values by dotted key.
#[derive(Debug, Clone)]
struct Layer {
    name: String,
    values: BTreeMap<String, Value>,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.clone().into_iter().collect())
    }
}

impl Layers {
    /// The layers of a real run: the system's and the user's file, and the environment.
    #[must_use]
    pub fn of_this_machine(file: Option<PathBuf>, flags: Vec<String>) -> Self {
        let mut optional_files = vec![PathBuf::from("/etc/bitchat/config.toml")];
        optional_files.extend(crate::paths::config_dir().map(|dir| dir.join("config.toml")));
        let environment = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { optional_files, file, environment, flags }
    }

    /// Reads all layers and checks what they say.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] names the layer and the key that are wrong and what would be right.
    pub fn load(&self) -> Result<Loaded, SettingsError> {
        let built_in = from_toml(BUILT_IN_NAME.to_owned(), BUILT_IN)?;
        let known: BTreeMap<_, _> = built_in.values.clone();
        let mut builder = Config::builder().add_source(built_in);
        let mut origins = BTreeMap::new();
        let mut settings = None;
        // The first wrong key, and the layer that made it wrong: not always that of the key itself.
        let mut culprit: Option<(&'static str, String)> = None;
        for mut layer in self.read_all()? {
            conform(&mut layer, &known)?;
            origins.extend(layer.values.keys().map(|key| (key.clone(), layer.name.clone())));
            builder = builder.add_source(layer.clone());
            let merged = deserialise(&builder, &layer.name)?;
            culprit = match (merged.check(), culprit) {
                // What one layer breaks, a higher one may repair.
                (Ok(()), _) => None,
                (Err((key, _)), Some((known, by))) if key == known => Some((known, by)),
                (Err((key, _)), _) => Some((key, layer.name)),
            };
            settings = Some(merged);
        }
        let settings = match settings {
            Some(settings) => settings,
            None => deserialise(&builder, BUILT_IN_NAME)?,
        };
        settings.check().map_err(|(key, why)| SettingsError::Value {
            layer: culprit.map_or_else(|| BUILT_IN_NAME.to_owned(), |(_, layer)| layer),
            key: key.to_owned(),
            why,
        })?;
        Ok(Loaded { settings, origins })
    }

    fn read_all(&self) -> Result<Vec<Layer>, SettingsError> {
        let mut layers = Vec::new();
        for file in &self.optional_files {
            layers.extend(from_file(file, false)?);
        }
        if let Some(file) = &self.file {
            layers.extend(from_file(file, true)?);
        }
        layers.extend(from_environment(&self.environment));
        layers.extend(from_flags(&self.flags)?);
        Ok(layers)
    }
}

/// Puts the layers together as far as they are there, and gives the types a chance to refuse.
fn deserialise(
    builder: &ConfigBuilder<DefaultState>,
    layer: &str,
) -> Result<Settings, SettingsError> {
    let merged = builder.build_cloned().and_then(Config::try_deserialize);
    merged.map_err(|error| SettingsError::Type { layer: layer.to_owned(), why: error.to_string() })
}

/// Refuses keys that do not exist, and makes lists of strings that stand for lists.
fn conform(layer: &mut Layer, known: &BTreeMap<String, Value>) -> Result<(), SettingsError> {
    for (key, value) in &mut layer.values {
        let Some(example) = known.get(key) else {
            let suggestion = nearest(key, known.keys().map(String::as_str)).map(str::to_owned);
            let layer = layer.name.clone();
            return Err(SettingsError::UnknownKey { layer, key: key.clone(), suggestion });
        };
        if let (ValueKind::Array(_), ValueKind::String(text)) = (&example.kind, &value.kind) {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            value.kind = ValueKind::Array(items.map(Value::from).collect());
        }
    }
    Ok(())
}

/// Reads a file; `None` when it is not there and need not be.
fn from_file(path: &Path, must_exist: bool) -> Result<Option<Layer>, SettingsError> {
    let name = path.display().to_string();
    let wrong = |why: String| SettingsError::File { file: name.clone(), why };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if !must_exist && error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("has more than {FILE_BYTES_MAX} bytes: not a settings file")));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8 text".to_owned()))?;
    from_toml(name, &text).map(Some)
}

fn from_toml(name: String, text: &str) -> Result<Layer, SettingsError> {
    match config::File::from_str(text, FileFormat::Toml).collect() {
        Ok(table) => {
            let mut values = BTreeMap::new();
            flatten(&mut values, "", table);
            Ok(Layer { name, values })
        }
        Err(error) => Err(SettingsError::File { file: name, why: error.to_string() }),
    }
}

/// Takes tables apart into dotted keys. A value deeper than `section.key` keeps its whole path, so
/// that it is refused by name.
fn flatten(values: &mut BTreeMap<String, Value>, prefix: &str, table: Map<String, Value>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        if let ValueKind::Table(inner) = &value.kind {
            // An empty section of a right name sets nothing.
            if inner.is_empty() && SECTIONS.contains(&path.as_str()) {
                continue;
            }
        }
        match value {
            Value { kind: ValueKind::Table(inner), .. } if !inner.is_empty() => {
                flatten(values, &path, inner);
            }
            value => drop(values.insert(path, value)),
        }
    }
}

fn from_environment(variables: &[(String, String)]) -> Vec<Layer> {
    let mut layers = Vec::new();
    for (name, value) in variables {
        if let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) {
            let key = key.replace("__", ".").to_ascii_lowercase();
            let values = BTreeMap::from([(key, Value::from(value.as_str()))]);
            layers.push(Layer { name: format!("environment variable {name}"), values });
        }
    }
    layers
}

fn from_flags(flags: &[String]) -> Result<Vec<Layer>, SettingsError> {
    let layer = |flag: &String| {
        let (key, value) = flag.split_once('=').ok_or_else(|| SettingsError::Flag(flag.clone()))?;
        let values = BTreeMap::from([(key.trim().to_owned(), Value::from(value))]);
        Ok(Layer { name: format!("--set {flag}"), values })
    };
    flags.iter().map(layer).collect()
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
