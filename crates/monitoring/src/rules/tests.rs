//! The default rules: good, about metrics that there are, and as Prometheus wants them.
//! `UPDATE_EXPECT=1` rewrites the file.

mod dashboard;
mod exported;
mod promtool;
mod recording;

use expect_test::{expect, expect_file};
use settings::{Comparison, Measure, Monitoring, Rule, Severity};
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
        for (name, annotation) in crate::runbook::annotations(name) {
            writeln!(text, "          {name}: {annotation:?}").unwrap();
        }
        // Nothing in the file says these yet.
        assert!(rule.keep_firing_for.is_zero() && rule.alert_labels.is_empty(), "{name}");
        assert!(rule.annotations.is_empty(), "{name}");
    }
    expect_file!["../../../../config/prometheus-rules.yaml"].assert_eq(&text);
}

const SCRAPE_HEAD: &str = "\
# What a Prometheus on this host scrapes; copy what is below scrape_configs into its own file. From
# another host the metrics want the token of the services: authorization with a credentials_file.
# honor_labels keeps the label `service` of those metrics that are about another service.
scrape_configs:
  - job_name: marketprism
    scrape_interval: 15s
    honor_labels: true
    static_configs:
";

#[test]
fn prometheus_scrapes_every_service() {
    let mut text = SCRAPE_HEAD.to_owned();
    for (service, url) in Monitoring::default().services {
        let target = url.strip_prefix("http://").unwrap();
        let labels = format!("labels: {{service: {service}}}");
        write!(text, "      - targets: [{target:?}]\n        {labels}\n").unwrap();
    }
    expect_file!["../../../../config/prometheus.yaml"].assert_eq(&text);
}

/// Prometheus has no second threshold: there, a rule resolves at the one at which it fires.
fn expression(rule: &Rule) -> String {
    let mut labels = String::new();
    if !rule.labels.is_empty() {
        let pairs = rule.labels.iter().map(|(name, value)| format!("{name}={value:?}"));
        write!(labels, "{{{}}}", pairs.collect::<Vec<_>>().join(",")).unwrap();
    }
    let operator = match rule.comparison {
        Comparison::Above => ">",
        Comparison::AtLeast => ">=",
        Comparison::Below => "<",
        Comparison::AtMost => "<=",
    };
    let (metric, threshold, within) = (&rule.metric, rule.threshold, rule.within.as_secs());
    let quantity = match rule.measure {
        _ if within == 0 => format!("{metric}{labels}"),
        Measure::Increase => format!("increase({metric}{labels}[{within}s])"),
        Measure::Mean => {
            let rate = |part: &str| format!("rate({metric}_{part}{labels}[{within}s])");
            format!("{} / {}", rate("sum"), rate("count"))
        }
    };
    format!("{quantity} {operator} {threshold}")
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

#[test]
fn every_rule_is_about_a_metric_that_a_service_exports() {
    let exported = exported::names();
    let rules = super::rules(&Monitoring::default().rules).unwrap();
    assert_eq!(rules.len(), 33);
    for rule in rules {
        for name in rule.condition.series() {
            assert!(exported.contains(&name), "{}: nobody exports {name}", rule.name);
        }
    }
}

/// What the specification of this service demands of the rules that are shipped.
#[test]
fn what_can_go_wrong_is_covered() {
    let rules = Monitoring::default().rules;
    for name in [
        "service-down",
        "restart-loop",
        "watchdog-kill",
        "feed-stale",
        "connection-silent",
        "book-unsynchronised",
        "gap-opened",
        "backfill-failing",
        "completeness-low",
        "clock-skew",
        "consumer-lag",
        "spool-growing",
        "dead-letters",
        "clickhouse-down",
        "clickhouse-damaged",
        "redis-down",
        "nats-down",
        "disk-filling",
        "certificate-expiring",
        "watched-unreadable",
    ] {
        assert!(rules.iter().any(|rule| rule.name == name), "{name}");
    }
}

/// Loads a configuration and checks it as the service does.
fn refused(text: &str) -> String {
    let file = std::path::PathBuf::from("/etc/marketprism/services.yaml");
    match settings::parse(vec![(file, text.to_owned())]) {
        Err(error) => format!("{error}\n"),
        Ok(loaded) => {
            let configured = &loaded.suite.monitoring;
            let error = super::rules(&configured.rules).map(|_| ());
            let error = error.and_then(|()| crate::plan::plan(configured).map(|_| ()));
            format!("{}\n", loaded.refuse(&[error.unwrap_err()]))
        }
    }
}

#[test]
fn a_rule_says_what_it_is_given_and_what_the_page_has_of_its_name() {
    let mut configured = Monitoring::default().rules;
    let own = "https://wiki.example.org".to_owned();
    configured[0].annotations.insert("runbook_url".to_owned(), own.clone());
    configured[1].name = "mine".to_owned();
    let rules = super::rules(&configured).unwrap();
    assert_eq!(rules[0].annotations["runbook_url"], own);
    assert!(rules[0].annotations["description"].starts_with("A service does not answer"));
    assert_eq!(rules[1].annotations.len(), 0);
}

const RULE: &str = "monitoring:
  rules:
    - name: a
      metric: m
      comparison: above
      threshold: 5
      for: 0s
      severity: info
";

#[test]
fn a_bad_rule_is_refused_with_file_line_and_reason() {
    let unclosed = format!("{RULE}      summary: \"{{a\"\n");
    expect![[r#"
        /etc/marketprism/services.yaml:9:16: `monitoring.rules[0].summary` is no template: the brace at character 1 is never closed
           |
         9 |       summary: "{a"
           |                ^^^^
    "#]]
    .assert_eq(&refused(&unclosed));
    let backwards = format!("{RULE}      summary: x\n      resolve: 6\n");
    expect![[r#"
        /etc/marketprism/services.yaml:10:16: `monitoring.rules[0].resolve` must be a number on the good side of the threshold
            |
         10 |       resolve: 6
            |                ^
    "#]]
    .assert_eq(&refused(&backwards));
    let pattern = "monitoring:\n  inhibit:\n    - source: ['a=~\"(\"']\n      target: [b=c]\n";
    expect![[r#"
        /etc/marketprism/services.yaml:3:16: `monitoring.inhibit[0].source[0]` `(` is no pattern
           |
         3 |     - source: ['a=~"("']
           |                ^^^^^^^^
    "#]]
    .assert_eq(&refused(pattern));
    let channel = "monitoring:\n  notify:\n    routes:\n      - channels: [pager]\n";
    expect![[r#"
        /etc/marketprism/services.yaml:4:20: `monitoring.notify.routes[0].channels[0]` names `pager`, which is no channel
           |
         4 |       - channels: [pager]
           |                    ^^^^^
    "#]]
    .assert_eq(&refused(channel));
}
