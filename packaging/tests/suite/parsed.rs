//! A unit read back from its text, so that tests look at what is installed and not at its source.

use std::collections::BTreeMap;

use packaging::Level;
use packaging::tree::{Folder, files};

/// The settings of a unit in their order.
pub(crate) struct Unit {
    settings: Vec<(String, String)>,
}

impl Unit {
    fn parse(text: &str) -> Unit {
        let setting = |line: &str| {
            let (key, value) = line.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        };
        let lines = text.lines().filter(|line| !line.starts_with(['#', '[']));
        Unit { settings: lines.filter_map(setting).collect() }
    }

    /// Every word of every setting of a key.
    pub(crate) fn words(&self, key: &str) -> Vec<&str> {
        self.values(key).into_iter().flat_map(str::split_whitespace).collect()
    }

    /// The values of a key, one per line that sets it.
    pub(crate) fn values(&self, key: &str) -> Vec<&str> {
        let set = self.settings.iter().filter(|(name, _)| name == key);
        set.map(|(_, value)| value.as_str()).collect()
    }

    /// The keys that are set.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.settings.iter().map(|(key, _)| key.as_str())
    }
}

/// What reports a failure: no member of the suite.
pub(crate) const ALERT: &str = "marketprism-alert@.service";

/// The units of a level by name.
pub(crate) fn units(level: Level) -> BTreeMap<String, Unit> {
    let units = files(level).into_iter().filter(|file| file.folder == Folder::Units);
    units.map(|file| (file.name, Unit::parse(&file.contents))).collect()
}

/// The units of the services of a level by name, templates included.
pub(crate) fn services(level: Level) -> BTreeMap<String, Unit> {
    let mut units = units(level);
    units.retain(|name, _| name.ends_with(".service") && name != ALERT);
    units
}
