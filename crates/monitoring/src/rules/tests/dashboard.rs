//! A dashboard for Grafana, and that it is about metrics that there are. `UPDATE_EXPECT=1` rewrites
//! the file.

use expect_test::expect_file;
use regex::Regex;
use serde_json::{Value, json};

use super::exported;

/// A panel: its title, its unit, and expressions with what the legend says of each series.
type Panel = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const ROWS: [(&str, &[Panel]); 5] = [
    (
        "Services",
        &[
            (
                "Alerts firing",
                "none",
                &[("sum by (rule) (marketprism_monitoring_alerts_firing) > 0", "{{rule}}")],
            ),
            ("Services up", "none", &[("marketprism_monitoring_service_up", "{{service}}")]),
            (
                "Starts within an hour",
                "none",
                &[("increase(marketprism_monitoring_service_restarts_total[1h])", "{{service}}")],
            ),
            (
                "Dependencies up",
                "none",
                &[("marketprism_dependency_up", "{{service}} {{dependency}}")],
            ),
        ],
    ),
    (
        "Feeds",
        &[
            (
                "Events per second",
                "none",
                &[("sum by (kind) (rate(marketprism_collector_events_total[1m]))", "{{kind}}")],
            ),
            (
                "Silence of connections",
                "s",
                &[("marketprism_collector_last_event_age_seconds", "{{connection}}")],
            ),
            (
                "From venue to here, median and 99 %",
                "s",
                &[
                    (
                        "histogram_quantile(0.5, sum by (le) (rate(marketprism_collector_venue_lag_seconds_bucket[5m])))",
                        "median",
                    ),
                    (
                        "histogram_quantile(0.99, sum by (le) (rate(marketprism_collector_venue_lag_seconds_bucket[5m])))",
                        "99 %",
                    ),
                ],
            ),
            (
                "Books out of step within 10 minutes",
                "none",
                &[("increase(marketprism_collector_book_resyncs_total[10m])", "{{connection}}")],
            ),
        ],
    ),
    (
        "What is missing",
        &[
            (
                "Completeness",
                "percentunit",
                &[(
                    "marketprism_monitoring_completeness_ratio",
                    "{{venue}} {{market}} {{symbol}} {{kind}}",
                )],
            ),
            (
                "Gaps within an hour",
                "none",
                &[(
                    "sum by (of, state) (increase(marketprism_collector_gaps_total[1h]))",
                    "{{of}} {{state}}",
                )],
            ),
            ("Gaps open", "none", &[("marketprism_collector_backfill_gaps_open", "open")]),
            ("Dead letters", "none", &[("marketprism_broker_dead_letters", "waiting")]),
        ],
    ),
    (
        "Between collector and store",
        &[
            (
                "Streams in use",
                "percentunit",
                &[(
                    "marketprism_broker_stream_used_bytes / marketprism_broker_stream_max_bytes",
                    "{{stream}}",
                )],
            ),
            (
                "Blocks not acknowledged",
                "none",
                &[("marketprism_broker_consumer_lag", "{{stream}} {{consumer}}")],
            ),
            ("Spool", "bytes", &[("marketprism_collector_spool_bytes", "{{service}}")]),
            (
                "Until stored, median and 99 %",
                "s",
                &[
                    (
                        "histogram_quantile(0.5, sum by (le) (rate(marketprism_storage_store_delay_seconds_bucket[5m])))",
                        "median",
                    ),
                    (
                        "histogram_quantile(0.99, sum by (le) (rate(marketprism_storage_store_delay_seconds_bucket[5m])))",
                        "99 %",
                    ),
                ],
            ),
        ],
    ),
    (
        "This host",
        &[
            (
                "Disks in use",
                "percentunit",
                &[("marketprism_monitoring_disk_used_ratio", "{{path}}")],
            ),
            (
                "Certificates are good for",
                "s",
                &[("marketprism_monitoring_certificate_left_seconds", "{{path}}")],
            ),
            (
                "Requests per second",
                "none",
                &[("sum(rate(marketprism_gateway_requests_total[1m]))", "requests")],
            ),
            (
                "Messages not taken within an hour",
                "none",
                &[(
                    "increase(marketprism_monitoring_notification_failures_total[1h])",
                    "{{channel}} {{reason}}",
                )],
            ),
        ],
    ),
];

const PANELS_PER_ROW: usize = 4;
const WIDTH: usize = 6;
const HEIGHT: usize = 8;

#[test]
fn the_dashboard_is_what_is_shipped() {
    let mut panels = Vec::new();
    let mut id = 0..;
    for (row, (title, contents)) in ROWS.into_iter().enumerate() {
        let top = row * (HEIGHT + 1);
        panels.push(json!({
            "id": id.next(),
            "type": "row",
            "title": title,
            "collapsed": false,
            "gridPos": {"x": 0, "y": top, "w": WIDTH * PANELS_PER_ROW, "h": 1},
            "panels": [],
        }));
        for (column, panel) in contents.iter().enumerate() {
            let place = json!({"x": column * WIDTH, "y": top + 1, "w": WIDTH, "h": HEIGHT});
            panels.push(graph(panel, &json!(id.next()), place));
        }
    }
    let dashboard = json!({
        "title": "MarketPrism",
        "uid": "marketprism",
        "tags": ["marketprism"],
        "timezone": "utc",
        "schemaVersion": 39,
        "version": 1,
        "refresh": "15s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [{
            "name": "source",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
        }]},
        "panels": panels,
    });
    let text = serde_json::to_string_pretty(&dashboard).unwrap() + "\n";
    expect_file!["../../../../../config/grafana-dashboard.json"].assert_eq(&text);
}

fn graph((title, unit, series): &Panel, id: &Value, place: Value) -> Value {
    let source = json!({"type": "prometheus", "uid": "${source}"});
    let targets: Vec<Value> = series
        .iter()
        .zip('A'..)
        .map(|((expression, legend), letter)| {
            json!({
                "refId": letter,
                "datasource": source,
                "expr": expression,
                "legendFormat": legend,
            })
        })
        .collect();
    json!({
        "id": id,
        "type": "timeseries",
        "title": title,
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "options": {"legend": {"showLegend": true, "displayMode": "list", "placement": "bottom"}},
        "targets": targets,
    })
}

#[test]
fn every_panel_is_about_metrics_that_services_export() {
    let exported = exported::names();
    let name = Regex::new(r"marketprism_\w+").unwrap();
    let mut named = 0;
    for (_, panels) in ROWS {
        for (title, _, series) in panels {
            for (expression, _) in *series {
                for found in name.find_iter(expression) {
                    let metric = found.as_str();
                    assert!(exported.contains(metric), "{title}: nobody exports {metric}");
                    named += 1;
                }
            }
        }
    }
    assert!(named >= 20);
}
