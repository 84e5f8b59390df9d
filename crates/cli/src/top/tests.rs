//! Screens made of two looks; and one of services that are there and are not.

#![expect(clippy::large_futures, reason = "a test has its stack to itself")]

use super::*;
use crate::answers::{Connection, Writer};
use crate::status::{Line, Report};
use crate::testing::Site;
use expect_test::expect;

fn look(at: u64, events: u64, rows: u64) -> Sample {
    let connection = Connection {
        name: "binance-spot-0".to_owned(),
        state: "up".to_owned(),
        last_frame: Some(999_000_000_000),
        books: 2,
        books_synced: 2,
        frames: events * 2,
        events,
        rejects: 1,
        disconnects: 3,
        ..Connection::default()
    };
    let writer = Writer {
        kind: "trade".to_owned(),
        rows,
        lag_blocks: 4,
        last_cut_age_ms: Some(2_500),
        ..Writer::default()
    };
    let unit = Line {
        unit: "marketprism-storage.service".to_owned(),
        active: Some("active".to_owned()),
        ready: Some(true),
        memory_bytes: Some(7 << 20),
        uptime_seconds: Some(65),
        restarts: Some(0),
        ..Line::default()
    };
    let flow = Default::default();
    let units = vec![unit];
    Sample {
        now: 1_000_000_000_000,
        at: Duration::from_secs(at),
        report: Report { running: 1, of: 1, ok: true, no_systemd: None, flow, units },
        collector: Ok(Collector { connections: vec![connection], ..Collector::default() }),
        storage: Ok(Storage { damage: None, writers: vec![writer] }),
    }
}

#[test]
fn rates_are_those_between_two_looks() {
    let text = screen::render(&look(14, 1_400, 100), Some(&look(10, 1_000, 500)));
    // The rows fell: another process counts them.
    expect![[r#"
        1970-01-01 00:16:40 UTC, 1 of 1 running

        UNIT                 STATE   READY   MEMORY  UPTIME  RESTARTS
        marketprism-storage  active  yes    7.0 MiB   1m 5s         0

        CONNECTION      STATE  EVENTS/S  FRAMES/S  BOOKS  REJECTS  LOST  SILENT
        binance-spot-0  up          100       200    2/2        1     3      1s

        KIND   ROWS/S  ROWS  TWICE  REJECTED  BEHIND  STORED  PROBLEM
        trade       -   100      0         0       4  2s ago  -"#]]
    .assert_eq(&text);
    let first = screen::render(&look(10, 1_000, 500), None);
    assert!(first.contains("up            -         -"), "{first}");
}

#[test]
fn a_service_that_is_away_is_said_to_be_in_its_place() {
    let mut sample = look(10, 1, 1);
    sample.collector = Err("the collector is away".to_owned());
    let text = screen::render(&sample, Some(&look(8, 1, 1)));
    assert!(text.contains("\n\nthe collector is away\n\nKIND"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_after_so_many_screens() {
    let site = Site::start().await;
    let args = Args {
        interval: Duration::from_millis(100),
        count: Some(2),
        token_file: Some(site.token().into()),
    };
    let sample = sample(&args, &site.suite, Instant::now()).await.unwrap();
    assert!(sample.storage.is_ok_and(|storage| !storage.writers.is_empty()));
    assert_eq!(run(&args, &site.suite).await.unwrap(), ExitCode::SUCCESS);
    site.stop().await;
}
