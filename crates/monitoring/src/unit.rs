//! What systemd says about a unit: from D-Bus properties to facts. Pure.
//!
//! systemd writes `u64::MAX`, zero or an empty text where it knows nothing; here that is `None`.
//!
//! Source: <https://www.freedesktop.org/software/systemd/man/252/org.freedesktop.systemd1.html>.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use openapi::Nanos;
use serde::Serialize;
use utoipa::ToSchema;
use zbus::{OwnedObjectPath, OwnedVariant};

use crate::pressure::Pressures;

/// Properties by name, as `org.freedesktop.DBus.Properties.GetAll` returns them.
pub type Properties = BTreeMap<String, OwnedVariant>;

/// One entry of `ListUnitsByPatterns`: name, description, load state, active state, sub state,
/// followed unit, object path, job id, job type, job path.
pub type Listed =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// A unit as systemd last described it. What systemd did not say is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Unit {
    /// Its name, such as `marketprism-storage.service`.
    pub name: String,
    /// `loaded`, `not-found`, `masked`, …
    pub load_state: String,
    /// `active`, `activating`, `deactivating`, `inactive`, `failed`, `reloading`.
    pub active_state: String,
    /// `running`, `dead`, `auto-restart`, …
    pub sub_state: String,
    /// Why the last run ended, `success` if it did not fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// What the service says it is doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_text: Option<String>,
    /// The main process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_pid: Option<u32>,
    /// When the main process was started, nanoseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Nanos>)]
    pub started_at: Option<i64>,
    /// When the watchdog was last fed, nanoseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Nanos>)]
    pub watchdog_at: Option<i64>,
    /// How long the watchdog may be left unfed, absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog_ns: Option<u64>,
    /// Memory of the whole unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The limit of its memory, absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_max_bytes: Option<u64>,
    /// Processor time of the whole unit since it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ns: Option<u64>,
    /// Threads and processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u64>,
    /// Automatic restarts as systemd counts them; it sets the number back at will.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automatic_restarts: Option<u32>,
    /// Its control group, below the one of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_group: Option<String>,
    /// How long it waited for processor, memory and disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressures>,
    /// Why that is not known, though the kernel says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure_error: Option<String>,
    /// The identity of this run, 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
}

impl Unit {
    /// What the list alone says.
    #[must_use]
    pub fn listed(listed: Listed) -> Self {
        let (name, _, load_state, active_state, sub_state, ..) = listed;
        Self { name, load_state, active_state, sub_state, ..Self::default() }
    }

    /// Adds the properties of the interface `org.freedesktop.systemd1.Service`.
    #[must_use]
    pub fn with_service(self, properties: &Properties) -> Self {
        Self {
            result: text(properties, "Result"),
            status_text: text(properties, "StatusText"),
            main_pid: number32(properties, "MainPID").filter(|&pid| pid != 0),
            started_at: micros(properties, "ExecMainStartTimestamp"),
            watchdog_at: micros(properties, "WatchdogTimestamp"),
            watchdog_ns: number(properties, "WatchdogUSec")
                .filter(|&micros| micros != 0)
                .and_then(|micros| micros.checked_mul(1_000)),
            memory_bytes: number(properties, "MemoryCurrent"),
            memory_max_bytes: number(properties, "MemoryMax"),
            cpu_ns: number(properties, "CPUUsageNSec"),
            tasks: number(properties, "TasksCurrent"),
            automatic_restarts: number32(properties, "NRestarts"),
            control_group: text(properties, "ControlGroup"),
            ..self
        }
    }

    /// Adds the property `InvocationID` of the interface `org.freedesktop.systemd1.Unit`, 16 bytes;
    /// none or zeros while the unit does not run.
    #[must_use]
    pub fn with_invocation(mut self, id: &[u8]) -> Self {
        self.invocation_id = id.iter().any(|&byte| byte != 0).then(|| {
            id.iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").expect("writing to a string does not fail");
                text
            })
        });
        self
    }

    /// The service of the suite that the unit runs: `storage` for `marketprism-storage.service`.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.name.strip_prefix("marketprism-")?.strip_suffix(".service")
    }

    /// Whether the unit runs, or is being reloaded while it runs.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.active_state.as_str(), "active" | "reloading" | "refreshing")
    }
}

fn text(properties: &Properties, name: &str) -> Option<String> {
    let text: &str = properties.get(name)?.try_into().ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn number32(properties: &Properties, name: &str) -> Option<u32> {
    properties.get(name)?.try_into().ok()
}

/// A size or a count; `u64::MAX` means that there is none.
fn number(properties: &Properties, name: &str) -> Option<u64> {
    let number: u64 = properties.get(name)?.try_into().ok()?;
    (number != u64::MAX).then_some(number)
}

/// A wall clock time in microseconds as nanoseconds; zero means never.
fn micros(properties: &Properties, name: &str) -> Option<i64> {
    let micros: u64 = properties.get(name)?.try_into().ok()?;
    let nanos = i64::try_from(micros).ok()?.checked_mul(1_000)?;
    (nanos != 0).then_some(nanos)
}

#[cfg(test)]
mod tests;
