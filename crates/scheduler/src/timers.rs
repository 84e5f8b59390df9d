//! The timers of systemd that belong to the suite, over the system bus of this host.
//!
//! The suite has none of its own: what recurs is a task. An operator may have added some, for what
//! has to run as root.
//!
//! Source: org.freedesktop.systemd1(5), "The Manager Object" and "Timer Unit Objects".

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use openapi::Nanos;
use serde::Serialize;
use utoipa::ToSchema;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

/// How long the bus may take to answer everything.
const TIMEOUT: Duration = Duration::from_secs(5);

const SYSTEMD: &str = "org.freedesktop.systemd1";

/// A row of `ListUnits`: name, description, load, active and sub state, followed unit, object
/// path, job id, job type, job path.
type Row =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// A timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Timer {
    /// Its unit, such as `marketprism-mirror.timer`.
    pub name: String,
    /// `active`, `inactive` or `failed`.
    pub active: String,
    /// The unit that it starts.
    pub unit: String,
    /// When it elapses next, nanoseconds since the epoch; absent if it counts from another event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Nanos>)]
    pub next: Option<i64>,
    /// When it last did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Nanos>)]
    pub last: Option<i64>,
}

/// The loaded timers whose names begin with `marketprism-`.
///
/// # Errors
///
/// If there is no system bus or no systemd on it.
pub async fn timers() -> anyhow::Result<Vec<Timer>> {
    tokio::time::timeout(TIMEOUT, found()).await.context("the system bus does not answer")?
}

async fn found() -> anyhow::Result<Vec<Timer>> {
    let connection = Connection::system().await.context("no system bus")?;
    let states: [&str; 0] = [];
    let patterns = ["marketprism-*.timer"];
    let reply = connection
        .call_method(
            Some(SYSTEMD),
            "/org/freedesktop/systemd1",
            Some("org.freedesktop.systemd1.Manager"),
            "ListUnitsByPatterns",
            &(&states[..], &patterns[..]),
        )
        .await
        .context("systemd is not on the system bus")?;
    let rows: Vec<Row> = reply.body().deserialize()?;
    let mut timers = Vec::new();
    for (name, _, _, active, _, _, path, ..) in rows {
        let properties = Some("org.freedesktop.DBus.Properties");
        let interface = ("org.freedesktop.systemd1.Timer",);
        let reply = connection
            .call_method(Some(SYSTEMD), &path, properties, "GetAll", &interface)
            .await
            .with_context(|| format!("cannot read the properties of {name}"))?;
        let body = reply.body();
        let facts = body.deserialize::<BTreeMap<String, OwnedVariant>>()?;
        timers.push(timer(name, active, &facts));
    }
    timers.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(timers)
}

fn timer(name: String, active: String, facts: &BTreeMap<String, OwnedVariant>) -> Timer {
    // Microseconds; 0 stands for never, the largest number for not by the calendar.
    let time = |key: &str| {
        let micros = facts.get(key).and_then(|value| u64::try_from(value).ok())?;
        i64::try_from(micros).ok().filter(|&micros| micros > 0)?.checked_mul(1_000)
    };
    let unit = facts.get("Unit").and_then(|value| <&str>::try_from(value).ok());
    Timer {
        name,
        active,
        unit: unit.unwrap_or_default().to_owned(),
        next: time("NextElapseUSecRealtime"),
        last: time("LastTriggerUSec"),
    }
}

#[cfg(test)]
mod tests;
