//! Recording rules for Prometheus, and that they are about metrics that there are.
//! `UPDATE_EXPECT=1` rewrites the file.

use std::fmt::Write as _;

use expect_test::expect_file;
use regex::Regex;

use super::exported;

const HEAD: &str = "\
# Recording rules for Prometheus: what dashboards ask for again and again, at the price of one series.
# Copy the file, and name the copy under rule_files. The names are level:metric:operations; a test
# holds the metrics equal to those that the services export.
groups:
  - name: marketprism-records
    rules:
";

/// What is recorded: its name, and the expression.
const RECORDS: [(&str, &str); 6] = [
    // A connection is named <venue>-<market>-….
    (
        "venue_market_kind:marketprism_collector_events:rate1m",
        r#"sum by (venue, market, kind) (label_replace(label_replace(rate(marketprism_collector_events_total[1m]), "venue", "$1", "connection", "([^-]+)-.*"), "market", "$1", "connection", "[^-]+-([^-]+)-.*"))"#,
    ),
    (
        "kind:marketprism_storage_events:rate1m",
        "sum by (kind) (rate(marketprism_storage_events_total[1m]))",
    ),
    (
        "route:marketprism_gateway_requests:rate1m",
        "sum by (route) (rate(marketprism_gateway_requests_total[1m]))",
    ),
    (
        "of_state:marketprism_collector_gaps:increase1h",
        "sum by (of, state) (increase(marketprism_collector_gaps_total[1h]))",
    ),
    (
        "venue_market_kind:marketprism_monitoring_completeness_ratio:min",
        "min by (venue, market, kind) (marketprism_monitoring_completeness_ratio)",
    ),
    (
        "stream:marketprism_broker_stream_used:ratio",
        "max by (stream) (marketprism_broker_stream_used_bytes / marketprism_broker_stream_max_bytes)",
    ),
];

/// Histograms of which quantiles are recorded: the level, the labels that stay, and the metric.
const HISTOGRAMS: [(&str, &str, &str); 4] = [
    ("suite", "le", "marketprism_collector_venue_lag_seconds"),
    ("kind", "kind, le", "marketprism_collector_durable_delay_seconds"),
    ("kind", "kind, le", "marketprism_storage_store_delay_seconds"),
    ("route", "le, route", "marketprism_gateway_latency_seconds"),
];

const QUANTILES: [&str; 3] = ["0.5", "0.9", "0.99"];

/// How many there are.
pub(super) const COUNT: usize = RECORDS.len() + HISTOGRAMS.len() * QUANTILES.len();

/// Each expression with the name under which it is kept, and its quantile if it is one.
fn records() -> Vec<(String, String, Option<&'static str>)> {
    let plain = RECORDS.map(|(name, expression)| (name.to_owned(), expression.to_owned(), None));
    let quantiles = HISTOGRAMS.into_iter().flat_map(|(level, labels, metric)| {
        QUANTILES.map(|quantile| {
            let rate = format!("sum by ({labels}) (rate({metric}_bucket[5m]))");
            let expression = format!("histogram_quantile({quantile}, {rate})");
            (format!("{level}:{metric}:quantile5m"), expression, Some(quantile))
        })
    });
    plain.into_iter().chain(quantiles).collect()
}

#[test]
fn the_records_are_what_is_shipped() {
    let mut text = HEAD.to_owned();
    for (name, expression, quantile) in records() {
        write!(text, "      - record: {name}\n        expr: {expression:?}\n").unwrap();
        if let Some(quantile) = quantile {
            write!(text, "        labels:\n          quantile: {quantile:?}\n").unwrap();
        }
    }
    expect_file!["../../../../../config/prometheus-recording-rules.yaml"].assert_eq(&text);
}

#[test]
fn every_record_is_about_metrics_that_services_export() {
    let exported = exported::names();
    let metric = Regex::new(r"marketprism_\w+").unwrap();
    let records = records();
    assert_eq!(records.len(), COUNT);
    for (name, expression, _) in records {
        let mut found = metric.find_iter(&expression).peekable();
        assert!(found.peek().is_some(), "{name} is about nothing");
        for metric in found.map(|found| found.as_str()) {
            assert!(exported.contains(metric), "{name}: nobody exports {metric}");
        }
    }
}
