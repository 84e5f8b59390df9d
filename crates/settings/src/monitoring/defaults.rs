//! The rules that hold unless the configuration has others.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Severity::{self, Critical, Warning};
use super::{Comparison, Inhibit, Measure, Rule};

/// Every default rule, in the order of the file.
pub(super) fn rules() -> Vec<Rule> {
    let parts: [&[Rule]; 6] = [
        &of_services(),
        &of_feeds(),
        &of_completeness(),
        &of_the_bus(),
        &of_stores(),
        &of_the_host(),
    ];
    parts.concat()
}

/// What makes what superfluous by default.
pub(super) fn inhibitions() -> Vec<Inhibit> {
    vec![
        Inhibit::new(
            &["alertname=\"service-down\""],
            &["alertname!=\"service-down\"", "severity!=\"critical\""],
            &["service"],
        ),
        Inhibit::new(
            &["alertname=\"nats-down\""],
            &["alertname=~\"spool-growing|consumer-lag\""],
            &[],
        ),
        Inhibit::new(
            &["alertname=\"clickhouse-damaged\""],
            &["alertname=\"clickhouse-down\""],
            &["service"],
        ),
        Inhibit::new(
            &["alertname=\"stream-full\""],
            &["alertname=\"stream-filling\""],
            &["stream"],
        ),
        Inhibit::new(&["alertname=\"dead-letters-full\""], &["alertname=\"dead-letters\""], &[]),
        Inhibit::new(&["alertname=\"disk-full\""], &["alertname=\"disk-filling\""], &["path"]),
        Inhibit::new(
            &["alertname=\"certificate-expired\""],
            &["alertname=\"certificate-expiring\""],
            &["path"],
        ),
    ]
}

/// Services and their units.
fn of_services() -> [Rule; 5] {
    [
        Rule {
            hold: Duration::from_secs(15),
            ..below(
                "service-down",
                "marketprism_monitoring_service_up",
                1.0,
                Critical,
                "{service} does not answer",
            )
        },
        Rule {
            hold: Duration::from_mins(1),
            ..below(
                "service-not-ready",
                "marketprism_monitoring_service_ready",
                1.0,
                Warning,
                "{service} answers and is not ready: /ready and its log say why",
            )
        },
        at_least(
            "unit-failed",
            "marketprism_monitoring_unit_failed",
            1.0,
            Critical,
            "{unit} has failed and is not started again: journalctl -u {unit}",
        ),
        Rule {
            within: Duration::from_mins(10),
            ..at_least(
                "restart-loop",
                "marketprism_monitoring_service_automatic_restarts_total",
                3.0,
                Critical,
                "systemd had to start {service} again {value} times within ten minutes",
            )
        },
        Rule {
            within: Duration::from_mins(10),
            ..at_least(
                "watchdog-kill",
                "marketprism_monitoring_watchdog_kills_total",
                1.0,
                Critical,
                "{service} was stuck and systemd's watchdog killed it",
            )
        },
    ]
}

/// What comes from venues.
fn of_feeds() -> [Rule; 6] {
    [
        Rule {
            resolve: Some(0.5),
            hold: Duration::from_secs(30),
            ..above(
                "feed-stale",
                "marketprism_collector_kind_silence_ratio",
                1.0,
                Warning,
                "no {kind} of {venue} ({market}) came for {value} times as long as it may take",
            )
        },
        Rule {
            resolve: Some(30.0),
            hold: Duration::from_secs(30),
            ..above(
                "connection-silent",
                "marketprism_collector_last_event_age_seconds",
                60.0,
                Warning,
                "nothing came over {connection} for {value} s",
            )
        },
        Rule {
            hold: Duration::from_mins(2),
            ..at_least(
                "book-unsynchronised",
                "marketprism_storage_hot_books_unsynced",
                1.0,
                Warning,
                "{value} books of the hot store have been waiting for a snapshot",
            )
        },
        Rule {
            within: Duration::from_mins(10),
            ..at_least(
                "book-resyncs",
                "marketprism_collector_book_resyncs_total",
                5.0,
                Warning,
                "books of {connection} fell out of step {value} times within ten minutes",
            )
        },
        Rule {
            labels: only("state", "open"),
            within: Duration::from_mins(10),
            ..at_least(
                "gap-opened",
                "marketprism_collector_gaps_total",
                1.0,
                Warning,
                "{value} gaps of {of} were opened within ten minutes, by {cause}",
            )
        },
        Rule {
            labels: only("state", "lost"),
            within: Duration::from_hours(1),
            ..at_least(
                "gap-lost",
                "marketprism_collector_gaps_total",
                1.0,
                Critical,
                "{value} gaps of {of} can not be healed: marketprism audit says which",
            )
        },
    ]
}

/// What is missing, and what is late.
fn of_completeness() -> [Rule; 5] {
    [
        Rule {
            hold: Duration::from_mins(15),
            ..at_least(
                "backfill-failing",
                "marketprism_collector_backfill_gaps_open",
                1.0,
                Warning,
                "{value} gaps have been open for a quarter of an hour: the venue does not \
                 give what is missing",
            )
        },
        Rule {
            within: Duration::from_hours(1),
            ..at_least(
                "blocks-lost",
                "marketprism_collector_blocks_lost_total",
                1.0,
                Critical,
                "{value} blocks were lost within an hour, since neither bus nor spool \
                 took them",
            )
        },
        Rule {
            hold: Duration::from_mins(10),
            ..below(
                "completeness-low",
                "marketprism_monitoring_completeness_ratio",
                0.9999,
                Warning,
                "of {kind} of {symbol} at {venue} ({market}) only {value} is there: \
                 marketprism audit",
            )
        },
        Rule {
            hold: Duration::from_mins(1),
            ..above(
                "clock-skew",
                "marketprism_monitoring_service_clock_offset_seconds",
                2.0,
                Warning,
                "the clocks of this host and that of {service} differ by {value} s",
            )
        },
        Rule {
            within: Duration::from_mins(5),
            measure: Measure::Mean,
            resolve: Some(1.0),
            hold: Duration::from_mins(5),
            ..above(
                "venue-lag",
                "marketprism_collector_venue_lag_seconds",
                2.0,
                Warning,
                "data is {value} s old when it arrives: the network is slow, or this \
                 host's clock is ahead",
            )
        },
    ]
}

/// What waits between collector and store.
fn of_the_bus() -> [Rule; 5] {
    [
        Rule {
            resolve: Some(5000.0),
            hold: Duration::from_mins(2),
            ..above(
                "consumer-lag",
                "marketprism_broker_consumer_lag",
                10_000.0,
                Warning,
                "{consumer} is {value} blocks behind {stream}",
            )
        },
        Rule {
            hold: Duration::from_mins(1),
            ..above(
                "spool-growing",
                "marketprism_collector_spool_bytes",
                67_108_864.0,
                Warning,
                "{value} bytes wait on the disk of {service} for the bus",
            )
        },
        Rule {
            hold: Duration::from_secs(30),
            ..at_least(
                "stream-filling",
                "marketprism_broker_stream_filling",
                1.0,
                Warning,
                "{stream} is at least 70 % full, since storage is behind: see \
                 marketprism-storage, or raise broker.streams",
            )
        },
        Rule {
            hold: Duration::from_secs(15),
            ..at_least(
                "stream-full",
                "marketprism_broker_stream_full",
                1.0,
                Critical,
                "{stream} is full and refuses data, which collectors spool: see \
                 marketprism-storage; it goes on by itself once storage has caught up",
            )
        },
        at_least(
            "dead-letters",
            "marketprism_broker_dead_letters",
            1.0,
            Warning,
            "{value} rows could not be stored and wait: marketprism dead-letter list, \
             then marketprism dead-letter redrive",
        ),
    ]
}

/// Servers, and what they do not take.
fn of_stores() -> [Rule; 6] {
    [
        at_least(
            "dead-letters-full",
            "marketprism_broker_dead_letters_full",
            1.0,
            Critical,
            "there is no room for rows that cannot be stored, so storage waits: \
             marketprism dead-letter redrive, or raise broker.streams.dead_letter",
        ),
        Rule {
            labels: only("dependency", "nats"),
            hold: Duration::from_secs(30),
            ..below(
                "nats-down",
                "marketprism_dependency_up",
                1.0,
                Critical,
                "{service} does not reach NATS",
            )
        },
        Rule {
            labels: only("dependency", "clickhouse"),
            hold: Duration::from_secs(30),
            ..below(
                "clickhouse-down",
                "marketprism_dependency_up",
                1.0,
                Critical,
                "{service} does not reach ClickHouse; what is stored waits in the stream",
            )
        },
        at_least(
            "clickhouse-damaged",
            "marketprism_storage_warehouse_damaged",
            1.0,
            Critical,
            "ClickHouse cannot read what it has on disk of {kind}, and what comes waits in \
             the stream: marketprism doctor says what helps",
        ),
        Rule {
            labels: only("dependency", "redis"),
            hold: Duration::from_secs(30),
            ..below(
                "redis-down",
                "marketprism_dependency_up",
                1.0,
                Warning,
                "{service} does not reach Redis, whose copy of the hot store grows old",
            )
        },
        Rule {
            resolve: Some(0.8),
            hold: Duration::from_mins(5),
            ..above(
                "disk-filling",
                "marketprism_monitoring_disk_used_ratio",
                0.85,
                Warning,
                "the disk of {path} is in use to a part of {value}",
            )
        },
    ]
}

/// Disks, certificates, jobs and this very service.
fn of_the_host() -> [Rule; 6] {
    [
        Rule {
            resolve: Some(0.9),
            hold: Duration::from_mins(1),
            ..above(
                "disk-full",
                "marketprism_monitoring_disk_used_ratio",
                0.95,
                Critical,
                "the disk of {path} is in use to a part of {value}, and nothing will be \
                 stored when it is full",
            )
        },
        Rule {
            hold: Duration::from_mins(1),
            ..below(
                "certificate-expiring",
                "marketprism_monitoring_certificate_left_seconds",
                1_209_600.0,
                Warning,
                "the certificate {path} is good for {value} s only",
            )
        },
        Rule {
            hold: Duration::from_mins(1),
            ..below(
                "certificate-expired",
                "marketprism_monitoring_certificate_left_seconds",
                172_800.0,
                Critical,
                "the certificate {path} is good for {value} s only",
            )
        },
        Rule {
            hold: Duration::from_mins(5),
            ..at_least(
                "watched-unreadable",
                "marketprism_monitoring_watched_unreadable",
                1.0,
                Warning,
                "{kind} {path} cannot be looked at, so nothing is known of it: /health of \
                 marketprism-monitoring says why",
            )
        },
        Rule {
            labels: only("result", "failed"),
            within: Duration::from_hours(1),
            ..at_least(
                "job-failed",
                "marketprism_scheduler_task_runs_total",
                1.0,
                Warning,
                "the job {task} failed {value} times within an hour",
            )
        },
        Rule {
            within: Duration::from_mins(15),
            ..at_least(
                "notifications-failing",
                "marketprism_monitoring_notification_failures_total",
                3.0,
                Warning,
                "{channel} did not take {value} notifications within a quarter of an hour",
            )
        },
    ]
}

fn only(label: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(label.to_owned(), value.to_owned())])
}

/// A rule that holds at once when a value is less than this.
fn below(name: &str, metric: &str, threshold: f64, severity: Severity, summary: &str) -> Rule {
    rule(name, metric, (Comparison::Below, threshold), severity, summary)
}

/// A rule that holds at once when a value is this or more.
fn at_least(name: &str, metric: &str, threshold: f64, severity: Severity, summary: &str) -> Rule {
    rule(name, metric, (Comparison::AtLeast, threshold), severity, summary)
}

/// A rule that holds at once when a value is more than this.
fn above(name: &str, metric: &str, threshold: f64, severity: Severity, summary: &str) -> Rule {
    rule(name, metric, (Comparison::Above, threshold), severity, summary)
}

fn rule(
    name: &str,
    metric: &str,
    (comparison, threshold): (Comparison, f64),
    severity: Severity,
    summary: &str,
) -> Rule {
    Rule {
        name: name.to_owned(),
        metric: metric.to_owned(),
        labels: BTreeMap::new(),
        comparison,
        threshold,
        resolve: None,
        within: Duration::ZERO,
        measure: Measure::Increase,
        hold: Duration::ZERO,
        keep_firing_for: Duration::ZERO,
        severity,
        alert_labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        summary: summary.to_owned(),
    }
}
