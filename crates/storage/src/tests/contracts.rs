//! What only contracts have: each kind from the stream into the store and out of the interface.

use super::*;
use model::{Funding, Liquidation, LongShortRatio, Mark, OpenInterest, RatioType, VolatilityIndex};
use testkit::clickhouse::ClickHouse;
use units::{Notional, Rate};

/// Where each kind is asked for.
pub(super) const PATHS: [(Kind, &str); 6] = [
    (Kind::Mark, "marks"),
    (Kind::Funding, "funding"),
    (Kind::OpenInterest, "open-interest"),
    (Kind::Liquidation, "liquidations"),
    (Kind::LongShortRatio, "ratios"),
    (Kind::VolatilityIndex, "volatility"),
];

/// Two events of each kind, the second with less in it where a venue may give less.
pub(super) fn pair(kind: Kind) -> [Event; 2] {
    let rate = |text: &str| Rate::parse(text.as_bytes()).unwrap();
    let at = |second: i64, body| event(START + second * 1_000_000_000, body);
    let mark = |index_price| Content::Mark(Mark { mark_price: Some(price(5)), index_price });
    let funding = |next_funding_time, interval_hours| {
        let funding_rate = rate("-0.00000244");
        Content::Funding(Funding { funding_rate, next_funding_time, interval_hours })
    };
    let interest = |open_interest_value| {
        Content::OpenInterest(OpenInterest { open_interest: qty(7), open_interest_value })
    };
    let liquidation = |ordinal| {
        let (side, price, qty) = (Side::Sell, price(5), qty(6));
        Content::Liquidation(Liquidation { side, price, qty, average_price: None, ordinal })
    };
    let ratio = |ratio_type, long_ratio| {
        Content::LongShortRatio(LongShortRatio {
            ratio_type,
            period: Arc::from("5m"),
            long_ratio,
            short_ratio: long_ratio,
            long_short_ratio: rate("1"),
        })
    };
    let index = |value| Content::VolatilityIndex(VolatilityIndex { value: rate(value) });
    match kind {
        Kind::Mark => [at(0, mark(Some(price(6)))), at(1, mark(None))],
        Kind::Funding => {
            let next = UnixNanos::new(START + 8 * 3_600_000_000_000);
            [at(0, funding(Some(next), Some(8))), at(1, funding(None, None))]
        }
        Kind::OpenInterest => [at(0, interest(Some(Notional::from_raw(1)))), at(1, interest(None))],
        // All alike but for how many came before; and two figures of one moment.
        Kind::Liquidation => [at(0, liquidation(0)), at(0, liquidation(1))],
        Kind::LongShortRatio => [
            at(0, ratio(RatioType::AllAccount, Some(rate("0.5")))),
            at(0, ratio(RatioType::TopAccount, None)),
        ],
        Kind::VolatilityIndex => [at(0, index("129.36")), at(1, index("0"))],
        Kind::Trade
        | Kind::AggTrade
        | Kind::Book
        | Kind::Bbo
        | Kind::Ticker
        | Kind::Kline
        | Kind::Gap
        | Kind::Status => panic!("{kind} is not of contracts alone"),
    }
}

/// Publishes each kind twice, and asks for what is stored of it.
async fn publish_and_read(venue: &mut Rig, storage: &Running) {
    for (kind, path) in PATHS {
        let [first, second] = pair(kind).map(|event| json(&event));
        venue.publish(kind, &[first.clone(), second.clone()]).await;
        let last = venue.publish(kind, &[second.clone(), first.clone()]).await;
        storage.acknowledged(kind, last).await;
        assert_eq!(storage.duplicates(kind), 2, "{kind}");
        let mut expected = [first, second].map(|json| {
            let mut row: Value = serde_json::from_slice(&json).unwrap();
            row["stream_seq"] = Value::from(1);
            row.to_string()
        });
        let mut found = Vec::new();
        let mut asked = format!("{path}?{BTC}&limit=1");
        loop {
            let page = storage.get(&asked).await;
            found.extend(page["data"].as_array().unwrap().iter().map(ToString::to_string));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            asked = format!("{path}?{BTC}&limit=1&cursor={cursor}");
        }
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{kind}");
        let later = START + 500_000_000;
        let early = pair(kind).iter().filter(|event| event.time().as_i64() < later).count();
        let page = storage.get(&format!("{path}?{BTC}&end={later}&order=desc")).await;
        assert_eq!(page["data"].as_array().unwrap().len(), early, "{kind}");
        for (wrong, named) in [("limit=0", "limit"), ("kind=trade", "kind"), ("depth=1", "depth")] {
            let path = format!("/api/v1/storage/{path}?{BTC}&{wrong}");
            let (status, body) = storage.call("GET", &path).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
            assert!(body["detail"].as_str().unwrap().contains(named), "{path}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kinds_of_contracts_are_stored_once_and_served_from_the_archive() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    publish_and_read(&mut venue, &storage).await;
    // In files now, which know it too.
    let (_, rolled) = storage.call("POST", "/api/v1/storage/cold/archive").await;
    assert_eq!(rolled["rows"], 2 * PATHS.len());
    for (kind, path) in PATHS {
        let again = venue.publish(kind, &pair(kind).map(|event| json(&event))).await;
        storage.acknowledged(kind, again).await;
        assert_eq!(storage.duplicates(kind), 4, "{kind}");
        let page = storage.get(&format!("{path}?{BTC}")).await;
        assert_eq!(page["data"].as_array().unwrap().len(), 2, "{kind}");
    }
    storage.stop().await;
    let storage = Running::start(&venue, dir.path()).await;
    for (kind, _) in PATHS {
        let path = format!("hot/{kind}/binance/spot/BTC-USDT");
        let answer = storage.until(&path, |status, _| status == StatusCode::OK).await;
        assert_eq!(answer["data"]["kind"], kind.as_str(), "{answer}");
    }
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kinds_of_contracts_are_stored_once_and_served_from_clickhouse() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = ClickHouse::start().unwrap();
    let storage = clickhouse::start(&venue, dir.path(), &server).await;
    publish_and_read(&mut venue, &storage).await;
    let stats = storage.get("stats").await;
    assert_eq!(stats["rows"], 2 * PATHS.len(), "{stats}");
    storage.stop().await;
}
