//! Where the values of settings come from, before anything is made of them.

use std::collections::BTreeMap;
use std::path::Path;

use super::{ConfigErrors, SETTINGS};

/// The raw values, before any check, with where each came from.
pub struct Settings {
    values: BTreeMap<&'static str, (String, String)>,
    pub(super) problems: Vec<String>,
}

impl Settings {
    /// Collects the raw values from the environment and, if there is one, the TOML file.
    ///
    /// # Errors
    /// The file does not exist, or is not TOML. Everything else is reported by the `Config::for_…` functions.
    pub fn read(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let mut problems = Vec::new();
        let mut values = BTreeMap::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigErrors(vec![format!("cannot read {}: {error}", path.display())]))?;
            let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
                ConfigErrors(vec![format!("{} is not TOML: {}", path.display(), error.message())])
            })?;
            for (key, value) in table {
                match (known(&key), value) {
                    (None, _) => {
                        problems.push(format!("{}: there is no setting {key:?}{}", path.display(), suggestion(&key)))
                    }
                    (Some(name), toml::Value::String(text)) => {
                        drop(values.insert(name, (text, path.display().to_string())))
                    }
                    (Some(name), toml::Value::Integer(number)) => {
                        drop(values.insert(name, (number.to_string(), path.display().to_string())))
                    }
                    (Some(name), _) => {
                        problems.push(format!("{}: {name} must be a string or a whole number", path.display()))
                    }
                }
            }
        }
        // Sorted, so that of `X` and `X_FILE` the direct value comes first and the clash is seen.
        let environment: BTreeMap<String, String> =
            environment.filter(|(name, _)| name.starts_with("WAFLEET_")).collect();
        for (variable, value) in &environment {
            let key = variable["WAFLEET_".len()..].to_ascii_lowercase();
            if key == "config" || key.starts_with("test_") || value.is_empty() {
                continue; // `config` names the file itself; `WAFLEET_TEST_…` belongs to the test harness
            }
            if let Some(name) = known(&key) {
                values.insert(name, (value.clone(), variable.clone()));
            } else if let Some(name) = key.strip_suffix("_file").and_then(known) {
                if environment.get(variable.trim_end_matches("_FILE")).is_some_and(|direct| !direct.is_empty()) {
                    problems
                        .push(format!("{variable} and {} are both set: set one", variable.trim_end_matches("_FILE")));
                }
                match std::fs::read_to_string(value) {
                    Ok(text) => drop(values.insert(name, (text.trim_end().to_owned(), format!("{variable}={value}")))),
                    Err(error) => problems.push(format!("{variable}: cannot read {value}: {error}")),
                }
            } else {
                problems.push(format!("there is no setting {variable}{}", suggestion(&key)));
            }
        }
        Ok(Self { values, problems })
    }

    /// The raw value of a setting, or its default.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let setting = SETTINGS.iter().find(|setting| setting.name == name)?;
        self.values.get(setting.name).map(|(value, _)| value.as_str()).or(setting.default)
    }

    /// Each setting with its value (secrets hidden) and where it came from, for `wafleet config check`.
    pub fn describe(&self) -> impl Iterator<Item = (&'static str, String, String)> + '_ {
        SETTINGS.iter().map(|setting| match self.values.get(setting.name) {
            Some(_) if setting.secret => (setting.name, "(hidden)".to_owned(), self.values[setting.name].1.clone()),
            Some((value, source)) => (setting.name, value.clone(), source.clone()),
            None => (setting.name, setting.default.unwrap_or("(not set)").to_owned(), "default".to_owned()),
        })
    }
}

fn known(key: &str) -> Option<&'static str> {
    SETTINGS.iter().map(|setting| setting.name).find(|name| *name == key)
}

/// " (did you mean …?)" for a name that is two or fewer edits away.
fn suggestion(key: &str) -> String {
    let nearest = SETTINGS.iter().map(|setting| (edits(key, setting.name), setting.name)).min();
    nearest
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, name)| format!(" (did you mean {name}?)"))
        .unwrap_or_default()
}

fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_over_the_file() {
        let path = std::env::temp_dir().join(format!("wafleet-config-test-{}.toml", std::process::id()));
        std::fs::write(&path, "capacity = 3\nlog = \"debug\"\nnonsense = 1\n").expect("temporary file");
        let settings =
            Settings::read(Some(&path), [("WAFLEET_CAPACITY".to_owned(), "4".to_owned())].into_iter()).expect("TOML");
        assert_eq!((settings.get("capacity"), settings.get("log")), (Some("4"), Some("debug")));
        assert!(settings.problems.iter().any(|problem| problem.contains("nonsense")));
        std::fs::remove_file(path).expect("temporary file");
    }
}
