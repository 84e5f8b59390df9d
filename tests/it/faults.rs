//! Killed, stopped and starved: what is missing afterwards lies in gap records.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use testkit::machine::Release;

use crate::fixture::Suite;

/// Kills of each unit in one run.
const KILLS: usize = 10;

/// Frames that the venue sends after the last, some ten seconds of them.
const TAIL: u64 = 50_000;

/// Kills one unit again and again under load, then compares.
fn killed(unit: &str, seed: u64) -> String {
    let suite = Suite::install(&format!("kill-{unit}"), Release::Bookworm);
    let mut rng = SmallRng::seed_from_u64(seed);
    suite.open_venue(&["--rate", "5000"]);
    suite.start();
    testkit::progress(format_args!("killing {unit} {KILLS} times, seed {seed}"));
    let service = format!("marketprism-{unit}.service");
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(rng.random_range(1_000..3_500)));
        suite.machine.succeed(&["systemctl", "kill", "-s", "KILL", &service]).unwrap();
        suite.eventually("the unit is back", 30, |machine| {
            let pid = machine.property(&service, "MainPID")?;
            let state = machine.property(&service, "ActiveState")?;
            Ok(pid.trim() != "0" && state.trim() == "active")
        });
    }
    // What comes after the last kill shows what it cost.
    let tail = suite.frames_sent() + TAIL;
    suite.eventually("the market has gone on", 60, |machine| {
        Ok(testkit::market::progress(machine)?.frames >= tail)
    });
    testkit::market::end(&suite.machine).unwrap();
    suite.market_is_over(30);
    let report = suite.agrees();
    suite.machine.shutdown().unwrap();
    report
}

#[test]
fn a_killed_storage_loses_and_doubles_nothing() {
    let report = killed("storage", 11);
    assert!(report.contains("ok   BTCUSDT trade"), "{report}");
}

#[test]
fn a_killed_message_server_loses_and_doubles_nothing() {
    let report = killed("nats", 12);
    assert!(report.contains("ok   BTCUSDT trade"), "{report}");
}

#[test]
fn a_killed_collector_records_what_it_missed() {
    let report = killed("collector", 13);
    assert!(report.contains("ok   BTCUSDT trade"), "{report}");
}
