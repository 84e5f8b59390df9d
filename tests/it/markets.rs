//! A market is switched on and off by reload, while another is recorded.

use serde_json::Value;
use testkit::machine::Release;

use crate::fixture::Suite;

/// Where the market that goes and comes is.
const OTHER: &str = "127.0.0.1:9002";

/// Has the other market recorded, or not.
fn switch(suite: &Suite, enabled: bool) {
    suite.configure(
        "60-other.yaml",
        &format!(
            "collector:\n  venues:\n    okx:\n      perp:\n        enabled: {enabled}\n        \
             kinds: [trade, book]\n        rest_url: http://{OTHER}\n        \
             stream_url: ws://{OTHER}\n"
        ),
    );
    suite.machine.succeed(&["systemctl", "reload", "marketprism-collector.service"]).unwrap();
}

/// Waits until exactly these connections are there and in step.
fn settles(suite: &Suite, expected: &[&str]) -> Value {
    let mut known = Value::Null;
    suite.eventually("the connections are in step", 60, |_| {
        let (code, text) = suite.service(8081, "/api/v1/collector/status");
        let status: Value = if code == 200 { serde_json::from_str(&text)? } else { Value::Null };
        let connections = status["connections"].as_array();
        let names = connections.into_iter().flatten().filter_map(|it| it["name"].as_str());
        let is_as_expected = names.eq(expected.iter().copied());
        let is_synced = status["feeds"] == status["feeds_synced"];
        known = status;
        Ok(is_as_expected && is_synced)
    });
    known
}

#[test]
fn a_market_is_switched_on_and_off_by_reload_and_the_other_misses_nothing() {
    let suite = Suite::install("markets", Release::Bookworm);
    suite.open_venue(&["--rate", "1000"]);
    let unit = ["systemd-run", "--quiet", "--unit=other", "marketprism-sim", "serve"];
    let serve = ["--market", "okx/perp", "--listen", OTHER, "--rate", "100"];
    suite.machine.succeed(&[&unit[..], &serve].concat()).unwrap();
    suite.start();
    let pid = suite.property("collector", "MainPID");
    let before = settles(&suite, &["binance-spot-0"]);
    for enabled in [true, false, true] {
        switch(&suite, enabled);
        let both = ["binance-spot-0", "okx-perp-0"];
        settles(&suite, if enabled { &both } else { &both[..1] });
    }
    let after = settles(&suite, &["binance-spot-0", "okx-perp-0"]);
    let [before, after] = [&before, &after].map(|status| &status["connections"][0]);
    assert_eq!((&after["since"], &after["disconnects"]), (&before["since"], &Value::from(0)));
    testkit::market::end(&suite.machine).unwrap();
    suite.market_is_over(30);
    suite.agrees();
    assert_eq!(suite.property("collector", "MainPID"), pid);
    suite.machine.shutdown().unwrap();
}
