//! What goes in at one end comes out at the other, once and unchanged.

use testkit::machine::Release;

use crate::fixture::{Suite, recording};
use crate::tamper::{Change, tamper};

/// The generated market: the rate that the suite must carry on two cores.
const RATE: &str = "20000";

fn generated(name: &str, release: Release, seconds: u64) {
    let suite = Suite::install(name, release);
    suite.open_venue(&["--rate", RATE, "--seconds", &seconds.to_string()]);
    suite.start();
    suite.market_is_over(seconds + 30);
    let sent = suite.frames_sent();
    let report = suite.agrees();
    assert!(sent >= seconds * 20_000, "{sent}");
    assert!(report.contains("BTCUSDT trade") && report.contains("BTCUSDT book"), "{report}");
    assert!(!report.contains("in gap records 1"), "{report}");
    for service in ["collector", "storage", "broker"] {
        assert_eq!(suite.property(service, "NRestarts"), "0");
    }
    suite.machine.shutdown().unwrap();
}

#[test]
fn every_trade_of_a_generated_market_comes_back_on_debian_12() {
    generated("light-12", Release::Bookworm, 60);
}

#[test]
fn every_trade_of_a_generated_market_comes_back_on_debian_13() {
    generated("light-13", Release::Trixie, 15);
}

#[test]
fn every_trade_of_a_recording_comes_back() {
    let Some(path) = recording("binance-spot-btcusdt-20240808.tsv.gz") else {
        testkit::progress(format_args!("no recordings: MARKETPRISM_FRAMES is not set"));
        return;
    };
    let suite = Suite::install("recording", Release::Bookworm);
    suite.machine.put_file(&path, "/srv/recording.tsv.gz", 0o644).unwrap();
    suite.open_venue(&["--recording", "/srv/recording.tsv.gz", "--speed", "40"]);
    suite.start();
    suite.market_is_over(120);
    let report = suite.agrees();
    assert!(report.contains("ok   BTCUSDT trade"), "{report}");
    // The diffs before the recording's only snapshot, and no other.
    assert!(report.contains("BTCUSDT book: sent 6495, returned 649"), "{report}");
    suite.machine.shutdown().unwrap();
}

/// The comparison that all these tests rest on must itself be able to fail.
#[test]
fn a_row_deleted_doubled_or_changed_by_hand_is_found() {
    let suite = Suite::install("control", Release::Bookworm);
    suite.open_venue(&["--rate", "2000", "--seconds", "5"]);
    suite.start();
    suite.market_is_over(60);
    suite.agrees();
    let found =
        suite.machine.shell("find /var/lib/marketprism/storage -path '*trade*' -name '*.seg'");
    let path = found.unwrap().lines().next().unwrap().to_owned();
    assert!(!path.contains("agg_trade"), "{path}");
    let original = suite.machine.get(&path).unwrap();
    for (change, word) in
        [(Change::Delete, "missing 1"), (Change::Double, "doubled 1"), (Change::Price, "changed 1")]
    {
        let (agrees, report) = with_segment(&suite, &path, &tamper(&original, change));
        assert!(!agrees, "{change:?}: {report}");
        assert!(report.contains(word), "{change:?}: {report}");
    }
    let (agrees, report) = with_segment(&suite, &path, &original);
    assert!(agrees, "{report}");
    suite.machine.shutdown().unwrap();
}

/// Replaces a segment while storage is down, and compares again.
fn with_segment(suite: &Suite, path: &str, segment: &[u8]) -> (bool, String) {
    let storage = "marketprism-storage.service";
    suite.machine.succeed(&["systemctl", "stop", storage]).unwrap();
    suite.machine.put(segment, "/srv/segment", 0o600).unwrap();
    // Over the old contents, so that owner and mode stay.
    suite.machine.shell(&format!("cat /srv/segment >'{path}'")).unwrap();
    suite.machine.succeed(&["systemctl", "start", storage]).unwrap();
    suite.eventually("storage answers through the gateway", 20, |_| {
        Ok(suite.gateway("/api/v1/storage/status").0 == 200)
    });
    suite.compare("0s")
}
