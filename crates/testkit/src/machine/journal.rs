//! Journal records as `journalctl --output=json` writes them.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;

/// One record of a machine's journal.
#[derive(Clone, Debug)]
pub struct Record(BTreeMap<String, Value>);

impl Record {
    /// The value of a field, such as `MESSAGE`, `PRIORITY` or `_SYSTEMD_UNIT`.
    ///
    /// `None` if the record has no such field, has it more than once, or its value is not UTF-8.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// The text of the record, empty if it has none.
    #[must_use]
    pub fn message(&self) -> &str {
        self.field("MESSAGE").unwrap_or_default()
    }
}

/// Reads records, one JSON object a line.
pub(super) fn parse(lines: &str) -> anyhow::Result<Vec<Record>> {
    let record = |line: &str| {
        serde_json::from_str(line).map(Record).with_context(|| format!("journal record: {line}"))
    };
    lines.lines().map(record).collect()
}
