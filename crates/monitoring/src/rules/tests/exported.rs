//! The names that services export, read from where they are registered.
//!
//! A registry without traffic shows no family of series, so an exposition cannot be asked.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

const SOURCES: [(&str, &str); 7] = [
    ("broker", include_str!("../../../../broker/src/metrics.rs")),
    ("collector", include_str!("../../../../collector/src/metrics.rs")),
    ("collector", include_str!("../../../../collector/src/silence.rs")),
    ("gateway", include_str!("../../../../gateway/src/metrics.rs")),
    ("monitoring", include_str!("../../metrics.rs")),
    ("scheduler", include_str!("../../../../scheduler/src/metrics.rs")),
    ("storage", include_str!("../../../../storage/src/metrics.rs")),
];

/// Every name as it is exposed.
pub(super) fn names() -> BTreeSet<String> {
    let mut names: BTreeSet<String> = SOURCES
        .into_iter()
        .flat_map(|(service, source)| registered(&format!("marketprism_{service}"), source))
        .collect();
    names.extend(common());
    names
}

/// What a source registers: its name, then its unit, then what its type adds.
fn registered(prefix: &str, source: &str) -> Vec<String> {
    let call = Regex::new(r#"(?s)\.register(?:_with_unit)?\(\s*"(\w+)"(.*?)\);"#).unwrap();
    let unit = Regex::new(r"Unit::(\w+)").unwrap();
    let handle = Regex::new(r"(?:metrics|self)\.(\w+)").unwrap();
    let types = types(source);
    let mut names = Vec::new();
    for found in call.captures_iter(source) {
        let (mut name, rest) = (format!("{prefix}_{}", &found[1]), &found[2]);
        if let Some(unit) = unit.captures(rest) {
            name = format!("{name}_{}", unit[1].to_lowercase());
        }
        let Some(handle) = handle.captures(rest) else { continue };
        let suffixes: &[&str] = match types.get(&handle[1]).map_or("", String::as_str) {
            counter if counter.contains("Counter") => &["_total"],
            histogram if histogram.contains("Histogram") => &["_sum", "_count", "_bucket"],
            _ => &[""],
        };
        names.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
    }
    names
}

/// The types of all fields by name; in place of an alias what it stands for.
fn types(source: &str) -> BTreeMap<String, String> {
    let alias = Regex::new(r"(?m)^type (\w+) = (.+);$").unwrap();
    let aliases: BTreeMap<&str, &str> =
        alias.captures_iter(source).map(|found| found.extract::<2>().1.into()).collect();
    let field = Regex::new(r"(?m)^    (\w+): (.+),$").unwrap();
    let typed = field.captures_iter(source).map(|found| {
        let (_, [name, written]) = found.extract();
        (name.to_owned(), (*aliases.get(written).unwrap_or(&written)).to_owned())
    });
    typed.collect()
}

/// What every service exports in the same way, as the harness writes it.
fn common() -> Vec<String> {
    let registry = telemetry::Registry::new("any");
    let health = daemon::Health::new();
    health.dependency("nats", daemon::Required::No).up();
    registry.collect(Box::new(health));
    let text = registry.encode().unwrap();
    let name = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
    text.lines().filter(|line| !line.starts_with('#')).map(name).collect()
}

#[test]
fn names_are_read_as_they_are_exposed() {
    let names = names();
    for name in [
        "marketprism_broker_stream_used_bytes",
        "marketprism_collector_gaps_total",
        "marketprism_collector_kind_silence_max_seconds",
        "marketprism_collector_kind_silence_ratio",
        "marketprism_collector_venue_lag_seconds_sum",
        "marketprism_dependency_up",
        "marketprism_gateway_latency_seconds_bucket",
        "marketprism_scheduler_task_duration_seconds",
    ] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    assert!(!names.contains("marketprism_collector_gaps"), "{names:?}");
}
