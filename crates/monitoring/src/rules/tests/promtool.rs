//! What is shipped for Prometheus, and what services expose, as Prometheus's own tool sees it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use alert::{Change, Labels, Sample};

use crate::metrics::Metrics;
use crate::monitor;
use crate::pressure;
use crate::restarts::Starts;
use crate::unit::Unit;

use super::recording;

/// What services expose before they have anything to show.
const EXPOSITIONS: [&str; 6] = [
    include_str!("../../../../broker/metrics.txt"),
    include_str!("../../../../collector/metrics.txt"),
    include_str!("../../../../gateway/metrics.txt"),
    include_str!("../../../metrics.txt"),
    include_str!("../../../../scheduler/metrics.txt"),
    include_str!("../../../../storage/metrics.txt"),
];

/// Runs the tool and returns whether it finds nothing wrong, and what it says.
fn promtool(words: &[&str], input: &str) -> (bool, String) {
    let program = testkit::debian::program("prometheus", "promtool").unwrap();
    let mut tool = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name)
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() {
    let rules = shipped("prometheus-rules.yaml");
    let (is_good, said) = promtool(&["check", "rules", rules.to_str().unwrap()], "");
    let all = format!("{} rules found", settings::Monitoring::default().rules.len());
    assert!(is_good && said.contains(&all), "{said}");
    let records = shipped("prometheus-recording-rules.yaml");
    let (is_good, said) = promtool(&["check", "rules", records.to_str().unwrap()], "");
    let all = format!("{} rules found", recording::COUNT);
    assert!(is_good && said.contains(&all), "{said}");
}

/// Two connections of a market, ten events a second each, and two symbols of which one lacks something.
const RECORDED: &str = r#"
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series:
      - series: 'marketprism_collector_events_total{connection="binance-spot-0",kind="trade"}'
        values: '0+150x40'
      - series: 'marketprism_collector_events_total{connection="binance-spot-1",kind="trade"}'
        values: '0+150x40'
      - series: 'marketprism_monitoring_completeness_ratio{venue="okx",market="perp",symbol="A",kind="trade"}'
        values: '1x40'
      - series: 'marketprism_monitoring_completeness_ratio{venue="okx",market="perp",symbol="B",kind="trade"}'
        values: '0.5x40'
    promql_expr_test:
      - expr: venue_market_kind:marketprism_collector_events:rate1m
        eval_time: 5m
        exp_samples:
          - labels: 'venue_market_kind:marketprism_collector_events:rate1m{venue="binance",market="spot",kind="trade"}'
            value: 20
      - expr: venue_market_kind:marketprism_monitoring_completeness_ratio:min
        eval_time: 5m
        exp_samples:
          - labels: 'venue_market_kind:marketprism_monitoring_completeness_ratio:min{venue="okx",market="perp",kind="trade"}'
            value: 0.5
"#;

#[test]
fn records_say_what_their_names_promise() {
    let directory = tempfile::tempdir().unwrap();
    let tests = directory.path().join("tests.yaml");
    let records = shipped("prometheus-recording-rules.yaml");
    std::fs::write(&tests, format!("rule_files: [{records:?}]\n{RECORDED}")).unwrap();
    let (is_good, said) = promtool(&["test", "rules", tests.to_str().unwrap()], "");
    assert!(is_good, "{said}");
}

#[test]
fn promtool_takes_the_configuration_together_with_the_rules() {
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("prometheus.yaml");
    let rules = ["prometheus-rules.yaml", "prometheus-recording-rules.yaml"].map(shipped);
    let scrapes = std::fs::read_to_string(shipped("prometheus.yaml")).unwrap();
    std::fs::write(&whole, format!("rule_files: {rules:?}\n{scrapes}")).unwrap();
    let (is_good, said) = promtool(&["check", "config", whole.to_str().unwrap()], "");
    assert!(is_good && said.contains("2 rule files found"), "{said}");
}

/// The older text format, which the tool reads: there the name of a family is that of its series.
fn classic(text: &str) -> String {
    let typed = |kind: &str| -> BTreeSet<&str> {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|family| family.strip_suffix(kind)).collect()
    };
    let (counters, infos) = (typed(" counter"), typed(" info"));
    let mut classic = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", what @ ("HELP" | "TYPE"), name, rest] if counters.contains(name) => {
                writeln!(classic, "# {what} {name}_total {rest}").unwrap();
            }
            ["#", "HELP", name, rest] if infos.contains(name) => {
                writeln!(classic, "# HELP {name}_info {rest}").unwrap();
            }
            ["#", "TYPE", name, _] if infos.contains(name) => {
                writeln!(classic, "# TYPE {name}_info gauge").unwrap();
            }
            _ => writeln!(classic, "{line}").unwrap(),
        }
    }
    classic
}

/// What this service exposes when it has something to show of everything.
fn monitoring() -> String {
    let registry = telemetry::Registry::new("monitoring");
    let metrics = registry.with(Metrics::register);
    registry.with_foreign(|registry| metrics.register_foreign(registry));
    registry.collect(Box::new(daemon::Health::new()));
    metrics.probed("storage", Some(true));
    metrics.restarted("storage", Starts { all: 2, automatic: 1 });
    metrics.killed("storage", 1);
    metrics.scrape_failed("storage");
    metrics.firing("service-down", 1);
    metrics.changed("service-down", Change::Fired);
    metrics.channel("hook");
    metrics.not_notified("hook", "setup");
    metrics.cycled(Duration::from_millis(7));
    let names = [
        monitor::UNIT_FAILED,
        monitor::CLOCK_OFFSET,
        monitor::DISK_USED,
        monitor::CERTIFICATE_LEFT,
        monitor::WATCHED_UNREADABLE,
    ];
    let sample = |name: &str| {
        let labels = Labels::from([("path".to_owned(), "/data".to_owned())]);
        Sample { metric: name.to_owned(), labels, value: 0.5 }
    };
    metrics.found(&names.map(sample));
    let pressure = pressure::parse("some avg10=0 avg60=0 avg300=0 total=1\n").unwrap();
    metrics.units(&[Unit {
        name: "marketprism-storage.service".into(),
        active_state: "active".into(),
        started_at: Some(1_700_000_000_000_000_000),
        memory_bytes: Some(1),
        memory_max_bytes: Some(2),
        cpu_ns: Some(3),
        tasks: Some(4),
        automatic_restarts: Some(5),
        pressure: Some(pressure::Pressures { cpu: Some(pressure), memory: None, io: None }),
        ..Unit::default()
    }]);
    registry.encode().unwrap()
}

#[test]
fn promtool_finds_nothing_wrong_with_what_services_expose() {
    let monitoring = monitoring();
    for name in ["marketprism_monitoring_unit_pressure_seconds_total{", "systemd_unit_state{"] {
        assert!(monitoring.contains(name), "{monitoring}");
    }
    for text in EXPOSITIONS.into_iter().chain([monitoring.as_str()]) {
        let (is_good, said) = promtool(&["check", "metrics"], &classic(text));
        assert!(is_good, "{said}");
    }
}

#[test]
fn promtool_finds_what_is_wrong() {
    let (is_good, said) = promtool(&["check", "metrics"], "# TYPE a counter\na 1\n");
    assert!(!is_good && said.contains("a counter metrics should have \"_total\" suffix"), "{said}");
    let (is_good, said) = promtool(&["check", "metrics"], "a{ 1\n");
    assert!(!is_good && said.contains("parsing error"), "{said}");
}
