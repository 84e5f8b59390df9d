//! What goes in at one end comes out at the other, once and unchanged.

use testkit::machine::Release;

use crate::fixture::{Suite, recording};

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
    suite.machine.put_file(&path, "/root/recording.tsv.gz", 0o644).unwrap();
    suite.open_venue(&["--recording", "/root/recording.tsv.gz", "--speed", "40"]);
    suite.start();
    suite.market_is_over(120);
    let report = suite.agrees();
    assert!(report.contains("ok   BTCUSDT trade"), "{report}");
    suite.machine.shutdown().unwrap();
}
