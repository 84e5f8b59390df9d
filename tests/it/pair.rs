//! A redundant pair of collectors as units: either may be restarted, and nothing is missed.

use serde_json::Value;
use testkit::machine::Release;

use crate::fixture::{KEY, Suite};

const PAIR: [(&str, u16); 2] = [("a", 8081), ("b", 8086)];

/// The configuration of one of the pair.
fn configuration(name: &str, port: u16) -> String {
    format!(
        "collector:\n  name: {name}\n  pair: main\n  listen: 127.0.0.1:{port}\n  venues:\n    \
         binance:\n      spot:\n        symbols: [BTC-USDT]\n        \
         rest_url: http://127.0.0.1:9001\n        stream_url: ws://127.0.0.1:9001\n"
    )
}

fn unit(name: &str) -> String {
    format!("marketprism-collector@{name}.service")
}

/// What one of the pair says of itself; nothing while it is away.
fn status(suite: &Suite, port: u16) -> Value {
    let token = "$(cat /etc/credstore/marketprism.internal-token)";
    let url = format!("http://127.0.0.1:{port}/api/v1/collector/status");
    let ask = format!("curl -sf --max-time 5 -H \"Authorization: Bearer {token}\" {url}");
    let text = suite.machine.shell(&format!("{ask} || echo null")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Waits until a collector has everything in step, and leads or not.
fn settles(suite: &Suite, port: u16, leads: Option<bool>) {
    suite.eventually("the collector is in step", 60, |_| {
        let status = status(suite, port);
        let is_synced = status["feeds"] == 1 && status["feeds_synced"] == 1;
        Ok(is_synced && leads.is_none_or(|leads| status["pair"]["leading"] == leads))
    });
}

#[test]
fn either_of_a_pair_may_be_restarted_and_nothing_is_missed() {
    let suite = Suite::install("pair", Release::Bookworm);
    for (name, port) in PAIR {
        suite.configure(&format!("../collector-{name}.yaml"), &configuration(name, port));
    }
    suite.configure(
        "50-pair.yaml",
        "gateway:\n  backends:\n    collectors: ['http://127.0.0.1:8086']\n",
    );
    suite.open_venue(&["--rate", "1000"]);
    suite.machine.succeed(&["systemctl", "disable", "marketprism-collector.service"]).unwrap();
    suite.machine.succeed(&["systemctl", "start", "marketprism.target"]).unwrap();
    let create = format!("umask 077; marketprism keys create --admin --label test >{KEY}");
    suite.machine.shell(&create).unwrap();
    suite.machine.succeed(&["systemctl", "start", &unit("a")]).unwrap();
    settles(&suite, 8081, Some(true));
    suite.machine.succeed(&["systemctl", "start", &unit("b")]).unwrap();
    settles(&suite, 8086, Some(false));
    // One after the other, as an upgrade does; and one that is killed.
    for (how, name) in [("restart", "a"), ("restart", "b"), ("kill", "a")] {
        match how {
            "kill" => suite.machine.succeed(&["systemctl", "kill", "-s", "KILL", &unit(name)]),
            _ => suite.machine.succeed(&["systemctl", how, &unit(name)]),
        }
        .unwrap();
        for (_, port) in PAIR {
            settles(&suite, port, None);
        }
        // Of two one leads.
        suite.eventually("one of the pair leads", 30, |_| {
            let leading = PAIR.map(|(_, port)| status(&suite, port)["pair"]["leading"] == true);
            Ok(leading[0] != leading[1])
        });
    }
    // A book is answered whoever is away.
    suite.machine.succeed(&["systemctl", "stop", &unit("a")]).unwrap();
    let (code, book) = suite.gateway("/api/v1/orderbook/binance/spot/BTC-USDT?depth=1");
    assert_eq!(code, 200, "{book}");
    suite.machine.succeed(&["systemctl", "start", &unit("a")]).unwrap();
    settles(&suite, 8081, None);
    testkit::market::end(&suite.machine).unwrap();
    suite.market_is_over(30);
    let report = suite.agrees();
    assert!(report.contains("ok   BTCUSDT trade"), "{report}");
    suite.eventually("every gap is closed", 60, |_| {
        Ok(PAIR.iter().all(|(_, port)| status(&suite, *port)["gaps_open"] == 0))
    });
    suite.machine.shutdown().unwrap();
}
