//! What strangers put into every parameter, against both stores.

use super::clickhouse::start as start_with_clickhouse;
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use testkit::clickhouse::ClickHouse;

/// What no parameter may be. Those without a space, a dot or a slash are names that a venue could
/// give an instrument, and get as far as the query.
const PAYLOADS: &[&str] = &[
    "'; DROP TABLE marketprism.stored_trade; --",
    "BTC-USDT' OR '1'='1",
    "BTC-USDT'OR'1'='1",
    "BTC-USDT'OR(1=1)--",
    "BTC-USDT\\'OR(1=1)#",
    "BTC-USDT\"OR\"\"=\"",
    "BTC-USDT')UNION(SELECT(1",
    "BTC-USDT' UNION ALL SELECT * FROM system.users --",
    "BTC-USDT' AND sleep(3) = 0 --",
    "%' OR symbol LIKE '%",
    "{symbol:String}",
    "../../../../etc/passwd",
    "BTC-USDT\0",
    "BTC-USDT\r\n\r\nGET / HTTP/1.1",
    "*",
    ">",
    "${jndi:ldap://127.0.0.1/a}",
    "<script>alert(1)</script>",
    "\u{202e}TDSU-CTB",
];

/// Addresses of rows, with their parameters.
const ROWS: &[&str] = &[
    "trades",
    "books",
    "bbo",
    "tickers",
    "klines",
    "gaps",
    "marks",
    "funding",
    "open-interest",
    "liquidations",
    "ratios",
    "volatility",
];
const ROWS_PARAMETERS: &[&str] =
    &["venue", "market", "symbol", "kind", "start", "end", "order", "limit", "cursor"];

/// Addresses that look at whole streams, with their parameters.
const STREAMS: &[&str] = &["coverage", "condition"];
const STREAMS_PARAMETERS: &[&str] = &["venue", "market", "symbol", "kind"];

/// What is asked for beside the parameter that is attacked.
const STREAM: [(&str, &str); 3] =
    [("venue", "binance"), ("market", "spot"), ("symbol", "BTC-USDT")];

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A query for one stream in which `name` is `payload`.
fn query(path: &str, name: &str, payload: &str) -> String {
    let others = STREAM.iter().filter(|(other, _)| *other != name);
    let others: String = others.map(|(other, value)| format!("{other}={value}&")).collect();
    format!("{path}?{others}{name}={}", encoded(payload))
}

/// Either the parameter is refused by its name, or it is a name of which there is nothing.
fn assert_harmless(asked: &str, name: &str, (status, body): &(StatusCode, Value)) {
    if *status == StatusCode::BAD_REQUEST {
        assert!(body["detail"].as_str().unwrap().contains(name), "{asked}: {body}");
        return;
    }
    assert_eq!(name, "symbol", "{asked}: {status} {body}");
    match *status {
        StatusCode::OK => assert_eq!(body["data"], serde_json::json!([]), "{asked}: {body}"),
        other => assert_eq!(other, StatusCode::NOT_FOUND, "{asked}: {body}"),
    }
}

/// Sends every payload in every parameter of a query.
async fn attack_queries(storage: &Running) {
    let long = "A".repeat(10_000);
    let mut payloads: Vec<&str> = PAYLOADS.to_vec();
    payloads.push(&long);
    for (paths, names) in [(ROWS, ROWS_PARAMETERS), (STREAMS, STREAMS_PARAMETERS)] {
        for (path, name) in paths.iter().flat_map(|path| names.iter().map(move |name| (path, name)))
        {
            for payload in &payloads {
                let asked = format!("/api/v1/storage/{}", query(path, name, payload));
                assert_harmless(&asked, name, &storage.call("GET", &asked).await);
            }
        }
    }
    for payload in PAYLOADS {
        let payload = encoded(payload);
        let hot = [
            ("kind", format!("{payload}/binance/spot/BTC-USDT")),
            ("venue", format!("trade/{payload}/spot/BTC-USDT")),
            ("market", format!("trade/binance/{payload}/BTC-USDT")),
            ("symbol", format!("trade/binance/spot/{payload}")),
            ("limit", format!("trade/binance/spot/BTC-USDT?limit={payload}")),
            ("limit", format!("book/binance/spot/BTC-USDT?depth={payload}")),
        ];
        for (name, path) in hot {
            let asked = format!("/api/v1/storage/hot/{path}");
            assert_harmless(&asked, name, &storage.call("GET", &asked).await);
        }
    }
}

/// Sends every payload in every text of a document, and in the one switch of a query.
async fn attack_documents(storage: &Running) {
    for payload in PAYLOADS {
        for name in ["venue", "market", "symbol", "start", "end"] {
            let (status, body) = storage.post("audit", &serde_json::json!({ name: payload })).await;
            let is_nothing = name == "symbol" && body["streams"] == 0;
            let is_refused = status == StatusCode::BAD_REQUEST;
            assert!(is_refused || is_nothing, "{name} {payload:?}: {status} {body}");
        }
        for (path, body) in [
            ("audit", serde_json::json!({"kinds": [payload]})),
            ("cold/archive", serde_json::json!({"kinds": [payload]})),
            ("cold/archive", serde_json::json!({"before": payload})),
        ] {
            let (status, answer) = storage.post(path, &body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body}: {answer}");
        }
        let path = format!("/api/v1/storage/lifecycle/cleanup?dry_run={}", encoded(payload));
        let (status, answer) = storage.call("POST", &path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {answer}");
    }
}

/// Changes the stream in a cursor that was handed out.
async fn attack_cursors(storage: &Running) {
    let page = storage.get(&format!("trades?{BTC}&limit=1")).await;
    let cursor = URL_SAFE_NO_PAD.decode(page["next_cursor"].as_str().unwrap()).unwrap();
    let cursor = String::from_utf8(cursor).unwrap();
    assert!(cursor.contains("BTC-USDT"), "{cursor}");
    for payload in PAYLOADS {
        let forged = URL_SAFE_NO_PAD.encode(cursor.replace("BTC-USDT", payload));
        let path = format!("/api/v1/storage/trades?{BTC}&limit=1&cursor={forged}");
        let (status, body) = storage.call("GET", &path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{payload:?}: {body}");
        // Of gaps a query is for all streams: there the cursor's stream is the query's.
        let (status, body) =
            storage.call("GET", &format!("/api/v1/storage/gaps?cursor={forged}")).await;
        let is_empty = status == StatusCode::OK && body["data"] == serde_json::json!([]);
        assert!(is_empty || status == StatusCode::BAD_REQUEST, "{payload:?}: {status} {body}");
    }
}

/// Attacks a store that holds something, which is there as before afterwards.
async fn attack(mut venue: Rig, storage: Running) {
    let trades = venue.trades(1..=20).await;
    let books = [book(BookType::Snapshot, 10, 60_000), book(BookType::Diff, 11, 60_001)];
    let books = venue.publish(Kind::Book, &books.map(|book| json(&book))).await;
    storage.acknowledged(Kind::Trade, trades).await;
    storage.acknowledged(Kind::Book, books).await;
    attack_queries(&storage).await;
    attack_documents(&storage).await;
    attack_cursors(&storage).await;
    assert_eq!(storage.seqs(7).await, (1..=20).collect::<Vec<_>>());
    assert_eq!(storage.get(&format!("books?{BTC}")).await["data"].as_array().unwrap().len(), 2);
    storage.healthy().await;
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_parameter_reaches_beyond_it_in_the_archive() {
    let (venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    attack(venue, storage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_parameter_reaches_beyond_it_in_clickhouse() {
    let (venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    let storage = start_with_clickhouse(&venue, dir.path(), &server).await;
    attack(venue, storage).await;
}
