//! The default rules, as Prometheus wants them. `UPDATE_EXPECT=1` rewrites the file.

use expect_test::expect_file;
use settings::{Comparison, Monitoring, Rule, Severity};
use std::fmt::Write as _;

const HEAD: &str = "\
# Alert rules for Prometheus: the defaults of monitoring.rules in services.yaml, for those who have
# a Prometheus that scrapes the services and an Alertmanager that tells people. Copy the file, and
# name the copy under rule_files. A test keeps the two the same.
groups:
  - name: marketprism
    rules:
";

#[test]
fn prometheus_has_the_same_rules() {
    let mut text = HEAD.to_owned();
    for rule in Monitoring::default().rules {
        let (name, hold) = (&rule.name, rule.hold.as_secs());
        let (expression, severity) = (expression(&rule), severity(rule.severity));
        let summary = template(&rule.summary);
        write!(
            text,
            "      - alert: {name}\n        expr: {expression}\n        for: {hold}s\n        \
             labels:\n          severity: {severity}\n        annotations:\n          \
             summary: {summary:?}\n"
        )
        .unwrap();
    }
    expect_file!["../../../../config/prometheus-rules.yaml"].assert_eq(&text);
}

fn expression(rule: &Rule) -> String {
    let mut series = rule.metric.clone();
    if !rule.labels.is_empty() {
        let labels = rule.labels.iter().map(|(name, value)| format!("{name}={value:?}"));
        write!(series, "{{{}}}", labels.collect::<Vec<_>>().join(",")).unwrap();
    }
    let operator = match rule.comparison {
        Comparison::Above => ">",
        Comparison::AtLeast => ">=",
        Comparison::Below => "<",
        Comparison::AtMost => "<=",
    };
    let threshold = rule.threshold;
    if rule.within.is_zero() {
        format!("{series} {operator} {threshold}")
    } else {
        format!("increase({series}[{}s]) {operator} {threshold}", rule.within.as_secs())
    }
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// `{value}` and `{label}` as Prometheus writes them.
fn template(summary: &str) -> String {
    let mut text = String::new();
    let mut rest = summary;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').unwrap();
        text.push_str(before);
        if name == "value" {
            text.push_str("{{ $value }}");
        } else {
            write!(text, "{{{{ $labels.{name} }}}}").unwrap();
        }
        rest = behind;
    }
    text + rest
}
