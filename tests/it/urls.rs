//! The 25 addresses of the original suite, each answering the truth.

use serde_json::Value;
use testkit::machine::Release;

use crate::fixture::{SERVICES, Suite};

/// The original's paths beside `/health` and `/metrics`, by port.
const PATHS: [(u16, &str); 13] = [
    (8080, "/_gateway/status"),
    (8080, "/_gateway/services"),
    (8081, "/api/v1/collector/status"),
    (8081, "/api/v1/collector/exchanges"),
    (8082, "/api/v1/storage/status"),
    (8082, "/api/v1/storage/database/status"),
    (8083, "/api/v1/overview"),
    (8083, "/api/v1/services"),
    (8083, "/api/v1/alerts"),
    (8084, "/api/v1/scheduler/status"),
    (8084, "/api/v1/scheduler/tasks"),
    (8085, "/api/v1/broker/status"),
    (8085, "/api/v1/broker/streams"),
];

#[test]
fn the_originals_25_addresses_answer() {
    let suite = Suite::install("urls", Release::Bookworm);
    suite.open_venue(&["--rate", "500"]);
    suite.start();
    suite.eventually("data flows and every service is well", 30, |_| {
        let well = |port| suite.service(port, "/health").1.contains("\"status\":\"ok\"");
        let trades = "/api/v1/storage/trades?venue=binance&market=spot&symbol=BTC-USDT";
        let flows = suite.gateway(trades).1.contains("\"seq\"");
        Ok(flows && SERVICES.iter().all(|(_, port)| well(*port)))
    });
    for (service, port) in SERVICES {
        let (status, health) = suite.service(port, "/health");
        testkit::progress(format_args!("{port}/health {status} {health}"));
        let health: Value = serde_json::from_str(&health).unwrap();
        assert_eq!((status, &health["status"]), (200, &Value::from("ok")), "{service}: {health}");
        let (status, metrics) = suite.service(port, "/metrics");
        let first = metrics.lines().next().unwrap_or_default();
        testkit::progress(format_args!("{port}/metrics {status} {first}"));
        assert_eq!(status, 200, "{service}");
        assert!(metrics.trim_end().ends_with("# EOF"), "{service}: {first}");
    }
    for (port, path) in PATHS {
        for (how, (status, body)) in
            [("service", suite.service(port, path)), ("gateway", suite.gateway(path))]
        {
            let shown: String = body.chars().take(160).collect();
            testkit::progress(format_args!("{how} {port}{path} {status} {shown}"));
            assert_eq!(status, 200, "{how} {path}: {body}");
            assert!(serde_json::from_str::<Value>(&body).is_ok(), "{path}: {body}");
        }
    }
    describes_itself(&suite);
    refuses_strangers(&suite);
    suite.machine.shutdown().unwrap();
}

/// Each service its own paths, the gateway those of all, to whoever asks.
fn describes_itself(suite: &Suite) {
    for (service, port) in SERVICES {
        let (status, text) = suite.curl(&format!("'http://127.0.0.1:{port}/openapi.json'"));
        assert_eq!(status, 200, "{service}: {text}");
        let document: Value = serde_json::from_str(&text).unwrap();
        for (of, path) in PATHS.iter().filter(|(of, _)| *of == port || service == "gateway") {
            let described = document["paths"].get(path).is_some();
            assert!(described, "{service} does not describe {of}{path}");
        }
    }
}

fn refuses_strangers(suite: &Suite) {
    let trades = "/api/v1/storage/trades?venue=binance&market=spot&symbol=BTC-USDT";
    assert_eq!(suite.curl(&format!("'http://127.0.0.1:8080{trades}'")).0, 401);
    assert_eq!(suite.curl(&format!("'http://127.0.0.1:8082{trades}'")).0, 401);
    assert_eq!(suite.gateway("/api/v1/nothing").0, 404);
    let hostile = [
        "/api/v1/storage/trades?venue=binance&market=spot&symbol=BTC-USDT&limit=99999999",
        "/api/v1/storage/trades?venue=binance&market=spot&symbol=BTC-USDT&start=5&end=1",
        "/api/v1/storage/trades?venue=binance&market=spot&symbol=x%27%3BDROP%20TABLE",
        "/api/v1/storage/trades?venue=nope&market=spot&symbol=BTC-USDT",
        "/api/v1/storage/trades?venue=binance&market=spot&symbol=BTC-USDT&cursor=zzz",
        "/api/v1/orderbook/binance/spot/NOPE-NOPE",
    ];
    for path in hostile {
        let (status, body) = suite.gateway(path);
        testkit::progress(format_args!("hostile {path} {status} {body}"));
        assert!((400..500).contains(&status), "{path}: {status} {body}");
        assert!(body.contains("\"title\""), "{path}: {body}");
    }
}
