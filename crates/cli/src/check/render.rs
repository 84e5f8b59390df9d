//! The answer in the words of those who ask. Pure.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::verdict::{Finding, Item, Status, Subject, worst};

/// The first line says how it is, with the figures behind a bar; then a line for everything that is
/// not well.
///
/// Source: <https://nagios-plugins.org/doc/guidelines.html>, "Plugin Output for Nagios" and
/// "Performance data".
pub(super) fn nagios(findings: &[Finding]) -> String {
    let status = worst(findings);
    let is_told = |finding: &&Finding| status == Status::Ok || finding.status != Status::Ok;
    let told = findings.iter().filter(is_told);
    let sentences: Vec<String> =
        told.map(|finding| format!("{}: {}", finding.check.name(), finding.text)).collect();
    let mut text = format!("MARKETPRISM {} - {}", status.word(), plain(&sentences.join("; ")));
    let figures: Vec<String> = items(findings).filter_map(figure).collect();
    if !figures.is_empty() {
        text.push_str(" | ");
        text.push_str(&figures.join(" "));
    }
    for (subject, item) in items(findings).filter(|(_, item)| item.status != Status::Ok) {
        let word = item.status.word();
        text.push_str(&format!("\n{} {word} - {}", subject.name(), plain(&item.text)));
    }
    text
}

/// What must not stand in a line of output: a bar begins the figures.
fn plain(text: &str) -> String {
    text.replace('|', "/").replace(['\n', '\r'], " ")
}

fn figure((subject, item): (Subject, &Item)) -> Option<String> {
    let measure = item.measure?;
    let unit = match subject {
        Subject::Freshness => "s",
        Subject::Disk => "%",
        Subject::Units | Subject::Gaps | Subject::Lag => "",
    };
    let label = format!("{} {}", subject.name(), item.name).replace(['\'', '='], "_");
    let (warn, crit) = (number(measure.limits.warn), number(measure.limits.crit));
    Some(format!("'{}'={}{unit};{warn};{crit};0", plain(&label), number(measure.value)))
}

/// A number with at most three decimals.
fn number(value: f64) -> String {
    ((value * 1_000.0).round() / 1_000.0).to_string()
}

fn items(findings: &[Finding]) -> impl Iterator<Item = (Subject, &Item)> {
    findings.iter().flat_map(|finding| finding.items.iter().map(move |item| (finding.check, item)))
}

/// One document with stable names.
pub(super) fn document(findings: &[Finding]) -> Value {
    let status = worst(findings);
    json!({"status": status, "exit_code": status.code(), "checks": findings})
}

/// The text format that the textfile collector of `node_exporter` reads.
///
/// Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>, "Text-based format".
pub(super) fn prometheus(findings: &[Finding]) -> String {
    let mut text = String::new();
    let help = "How a check went: 0 ok, 1 warning, 2 critical, 3 unknown.";
    let status = |finding: &Finding| {
        let labels = vec![("check", finding.check.name())];
        sample("marketprism_check_status", &labels, f64::from(finding.status.code()))
    };
    family(&mut text, "marketprism_check_status", help, findings.iter().map(status));
    let help = "How one thing that was checked is: 0 ok, 1 warning, 2 critical, 3 unknown.";
    let status = |(subject, item): (Subject, &Item)| {
        let labels = vec![("check", subject.name()), ("item", item.name.as_str())];
        sample("marketprism_check_item_status", &labels, f64::from(item.status.code()))
    };
    family(&mut text, "marketprism_check_item_status", help, items(findings).map(status));
    for finding in findings {
        let Some(Figure { name, help, label, per }) = Figure::of(finding.check) else { continue };
        let value = |item: &Item| {
            let measure = item.measure?;
            Some(sample(name, &[(label, item.name.as_str())], measure.value / per))
        };
        family(&mut text, name, help, finding.items.iter().filter_map(value));
    }
    text
}

/// How the values of a subject are called.
struct Figure {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    /// How many of the subject's unit make the base unit.
    per: f64,
}

impl Figure {
    const fn of(subject: Subject) -> Option<Figure> {
        let (name, help, label, per) = match subject {
            Subject::Units => return None,
            Subject::Freshness => (
                "marketprism_check_silence_seconds",
                "How long nothing has come over a connection.",
                "connection",
                1.0,
            ),
            Subject::Gaps => (
                "marketprism_check_gaps",
                "Gaps of the last day that are not healed.",
                "state",
                1.0,
            ),
            Subject::Lag => (
                "marketprism_check_lag_blocks",
                "How many blocks a consumer is behind its stream.",
                "consumer",
                1.0,
            ),
            Subject::Disk => (
                "marketprism_check_disk_used_ratio",
                "The part of a disk that is in use.",
                "path",
                100.0,
            ),
        };
        Some(Figure { name, help, label, per })
    }
}

/// Appends one metric; nothing if it has no samples.
fn family(text: &mut String, name: &str, help: &str, samples: impl Iterator<Item = String>) {
    let samples: Vec<String> = samples.collect();
    if !samples.is_empty() {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{}", samples.join("\n"))
            .expect("a string takes every text");
    }
}

fn sample(name: &str, labels: &[(&str, &str)], value: f64) -> String {
    let escape =
        |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    format!("{name}{{{}}} {value}", labels.join(","))
}
