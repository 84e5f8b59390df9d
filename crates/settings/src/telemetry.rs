//! Section `telemetry`: logging of all services.

use serde::{Deserialize, Serialize};

use crate::Faults;

/// Logging of all services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// What is logged: `error`, `warn`, `info`, `debug` or `trace`, and exceptions by module, such
    /// as `info,async_nats=warn`.
    pub level: String,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { level: "info".to_owned() }
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Telemetry {
    pub(crate) fn check(&self, faults: &mut Faults) {
        for directive in self.level.split(',') {
            let level = directive.rsplit('=').next().unwrap_or_default().trim();
            if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
                let message = format!("`{level}` is not one of {}", LEVELS.join(", "));
                faults.add("telemetry.level", message);
            }
        }
    }
}
