//! Ring 1: what a report looks like; and the whole of it against services that are not there.

use expect_test::expect;

use super::*;

fn line(active: &str, ready: Option<bool>) -> Line {
    Line {
        unit: "marketprism-storage.service".to_owned(),
        active: Some(active.to_owned()),
        sub: Some("running".to_owned()),
        pid: Some(12),
        port: Some(8082),
        memory_bytes: Some(7_234_567),
        since: Some(Timestamp::UNIX_EPOCH),
        uptime_seconds: Some(65),
        restarts: Some(0),
        status_text: Some("3 streams, nothing behind".to_owned()),
        ready,
        not_ready_because: None,
        rate: Some(Rate {
            metric: "marketprism_storage_events_total",
            noun: "events",
            per_second: 1_234.4,
        }),
    }
}

#[test]
fn the_document_has_stable_names() {
    let units = vec![line("active", Some(true))];
    let flow = Flow { gaps_open: Some(1), ids_missing: Some(12), lag_blocks: None };
    let report = Report { running: 1, of: 1, ok: true, no_systemd: None, flow, units };
    expect![[r#"
        {
          "running": 1,
          "of": 1,
          "ok": true,
          "no_systemd": null,
          "gaps_open": 1,
          "ids_missing": 12,
          "lag_blocks": null,
          "units": [
            {
              "unit": "marketprism-storage.service",
              "active": "active",
              "sub": "running",
              "pid": 12,
              "port": 8082,
              "memory_bytes": 7234567,
              "since": "1970-01-01T00:00:00Z",
              "uptime_seconds": 65,
              "restarts": 0,
              "status_text": "3 streams, nothing behind",
              "ready": true,
              "not_ready_because": null,
              "rate": {
                "metric": "marketprism_storage_events_total",
                "noun": "events",
                "per_second": 1234.4
              }
            }
          ]
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&report).unwrap());
}

#[test]
fn a_line_of_the_table_says_the_same() {
    let mut table = output::new_table(&["UNIT", "STATE", "PID", "PORT"]);
    table.add_row(cells(&line("active", Some(true))));
    let mut failed = line("failed", None);
    (failed.pid, failed.rate, failed.uptime_seconds) = (None, None, None);
    table.add_row(cells(&failed));
    expect![[r#"
        UNIT                 STATE             PID  PORT
        marketprism-storage  active (running)  12   8082  6.8 MiB  1m 5s  yes  1234 events/s  3 streams, nothing behind
        marketprism-storage  failed (running)  -    8082  6.8 MiB  -      -    -              3 streams, nothing behind"#]].assert_eq(&output::render(table));
}

#[tokio::test]
async fn services_that_do_not_answer_are_not_ready() {
    let mut suite = Suite::default();
    // A port that was free a moment ago: nobody answers there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    suite.storage.listen = nobody;
    let mut unit = Unit::unknown("storage");
    unit.active = Some("active".to_owned());
    let line = observe(unit, &suite, true, Timestamp::UNIX_EPOCH).await;
    assert_eq!(line.ready, Some(false));
    assert!(line.not_ready_because.is_some());
    assert!(line.rate.is_none());
}
