//! What goes in comes out again.

use super::*;

fn every_kind() -> Vec<Event> {
    let mut events = Vec::new();
    let mut add = |body| events.push(event("BTC-USDT", START, body));
    let mut plain = Trade {
        seq: u64::MAX,
        trade_id: Arc::from("12345678901234567890-x"),
        price: price("-0.000000000000000001"),
        qty: qty("99999999999999999999.999999999999999999"),
        side: Side::Sell,
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    };
    add(Body::Trade(plain.clone()));
    (plain.seq, plain.id_range, plain.count) = (7, Some((1, 3)), Some(u64::MAX));
    (plain.liquidation, plain.block) = (Some(Liquidated::Taker), true);
    add(Body::AggTrade(plain));
    let levels = vec![(price("64000.01"), qty("0")), (price("1e-18"), qty("3"))];
    let snapshot = Book {
        book_type: BookType::Snapshot,
        first_id: None,
        last_id: 9,
        prev_id: None,
        part: 0,
        bids: levels.clone(),
        asks: Vec::new(),
    };
    let diff = Book {
        book_type: BookType::Diff,
        first_id: Some(9),
        prev_id: Some(8),
        bids: Vec::new(),
        asks: levels,
        ..snapshot.clone()
    };
    add(Body::Book(Book { book_type: BookType::Diff, part: 2, ..snapshot.clone() }));
    add(Body::Book(Book { part: u32::MAX, ..diff.clone() }));
    add(Body::Book(snapshot));
    add(Body::Book(diff));
    let (bid_price, bid_qty) = (price("1"), qty("2"));
    add(Body::Bbo(Bbo { id: 5, bid_price, bid_qty, ask_price: price("3"), ask_qty: qty("4") }));
    let [bare, full] = tickers();
    add(Body::Ticker(bare));
    add(Body::Kline(kline(Some(qty("10")), Some(11))));
    add(Body::Gap(gap(1, None)));
    add(Body::Gap(gap(2, Some(40))));
    add(Body::Status(Status {
        connection: Arc::from("binance-spot-0"),
        state: Connection::Disconnected,
        reason: Some(Arc::from("reset by peer: \"x\"\n\t\\ 币")),
    }));
    let mut later = event("币安人生-USDT", START + DAY, Body::Ticker(full));
    (later.venue_time, later.origin) = (None, Some(Origin::Rest));
    events.push(later);
    let mut pruned = events.iter().rfind(|event| event.kind() == Kind::Book).unwrap().clone();
    pruned.origin = Some(Origin::Prune);
    events.push(pruned);
    events.append(&mut contracts::every_kind());
    events
}

fn tickers() -> [Ticker; 2] {
    let bare = Ticker {
        last_price: None,
        open_price: None,
        high_price: None,
        low_price: None,
        volume: None,
        quote_volume: None,
        bid_price: None,
        bid_qty: None,
        ask_price: None,
        ask_qty: None,
        greeks: None,
    };
    let full = Ticker {
        last_price: Some(price("5")),
        open_price: Some(price("1")),
        high_price: Some(price("2")),
        low_price: Some(price("3")),
        volume: Some(qty("4")),
        quote_volume: Some(qty("5")),
        bid_price: Some(price("6")),
        bid_qty: Some(qty("7")),
        ask_price: Some(price("8")),
        ask_qty: Some(qty("9")),
        greeks: contracts::greeks().given(),
    };
    [bare, full]
}

fn kline(quote_volume: Option<Qty>, trades: Option<u64>) -> Kline {
    Kline {
        interval: Arc::from("1m"),
        open_time: UnixNanos::new(START),
        close_time: UnixNanos::new(START + 59_999_000_000),
        open: price("1"),
        high: price("2"),
        low: price("3"),
        close: price("4"),
        volume: qty("5"),
        quote_volume,
        trades,
        closed: true,
    }
}

fn gap(version: u32, before_id: Option<u64>) -> Gap {
    Gap {
        gap_id: Arc::from("collector/1/7"),
        version,
        of: Kind::Trade,
        after_id: Some(30),
        before_id,
        since: Some(UnixNanos::new(START)),
        until: before_id.map(|_| UnixNanos::new(START + 1)),
        cause: Cause::Disconnect,
        state: if before_id.is_some() { GapState::Healed } else { GapState::Open },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_comes_back_as_it_was_written() {
    let rig = Rig::start();
    for kind in Kind::ALL {
        let events: Vec<Event> =
            every_kind().into_iter().filter(|event| event.kind() == *kind).collect();
        assert!(!events.is_empty(), "{kind} is not tested");
        let mut table = rig.table(*kind);
        let appended = table.append(cut(*kind, 77, events.clone())).await.unwrap();
        assert_eq!(appended, Appended { stored: events.len(), duplicates: 0 }, "{kind}");
        let mut expected: Vec<Value> = events
            .iter()
            .map(|event| {
                let mut json = Vec::new();
                wire::encode(event, &mut json);
                let mut json: Value = serde_json::from_slice(&json).unwrap();
                json["stream_seq"] = Value::from(77);
                json
            })
            .collect();
        let query = Query { limit: 100, ..Query::default() };
        let page = rig.reader(*kind).query(&query).await.unwrap();
        let mut found = rows(&page);
        expected.sort_by_key(ToString::to_string);
        found.sort_by_key(ToString::to_string);
        assert_eq!(found, expected, "{kind}");
        let seen = rig.numbers(&format!("SELECT count() FROM marketprism.{kind}")).await;
        assert_eq!(seen, [events.len() as u64], "the view of {kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_larger_than_a_message_is_stored_with_every_level() {
    let rig = Rig::start();
    let levels: Vec<_> = (1..=40_000).map(|raw| (Price::from_raw(raw), qty("1"))).collect();
    let whole = Book {
        book_type: BookType::Snapshot,
        first_id: None,
        last_id: 9,
        prev_id: None,
        part: 0,
        bids: levels.clone(),
        asks: levels.clone(),
    };
    let ordinary = Book {
        book_type: BookType::Diff,
        first_id: Some(9),
        bids: levels[..1].to_vec(),
        asks: Vec::new(),
        ..whole.clone()
    };
    let mut events = vec![event("BTC-USDT", START, Body::Book(ordinary))];
    let whole = event("BTC-USDT", START, Body::Book(whole));
    wire::encode_parts(whole, &mut Vec::new(), &mut |part, _| events.push(part.clone()));
    let appended = rig.table(Kind::Book).append(cut(Kind::Book, 1, events.clone())).await.unwrap();
    assert_eq!(appended, Appended { stored: 11, duplicates: 0 });
    let again = rig.table(Kind::Book).append(cut(Kind::Book, 2, events)).await.unwrap();
    assert_eq!(again, Appended { stored: 0, duplicates: 11 }, "the other of a pair");
    let page = rig.reader(Kind::Book).query(&all_of("BTC-USDT")).await.unwrap();
    let found = rows(&page);
    let part = |row: &Value| row["part"].as_u64().unwrap_or(0);
    let parts: Vec<u64> = found.iter().map(part).collect();
    assert_eq!(parts, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let asks = |row: &Value| row["asks"].as_array().unwrap().len();
    assert_eq!(found.iter().map(asks).sum::<usize>(), 40_000);
    let sql = "SELECT toUInt64(part) FROM marketprism.book ORDER BY last_id, type DESC, part";
    assert_eq!(rig.numbers(sql).await, parts, "a reader of the view has the same order");
}

#[test]
fn rows_are_sent_alike_whether_they_are_picked_or_taken_as_they_came() {
    for kind in Kind::ALL {
        let events = every_kind().into_iter().filter(|event| event.kind() == *kind);
        let block = cut(*kind, 1, events).rows;
        let all: Vec<usize> = (0..block.rows()).collect();
        assert_eq!(block.select(&all).concat(), block.finish().concat(), "{kind}");
    }
}

#[test]
fn values_that_no_column_can_hold_are_refused_by_name() {
    let refused = |event: Event| {
        let mut cut = Cut::new(event.kind());
        cut.block(1, "a", b"");
        let error = cut.push(&event).unwrap_err();
        assert_eq!(cut.rows(), 0);
        error.to_string()
    };
    let mut large = trade("BTC-USDT", 1);
    let Body::Trade(body) = &mut large.body else { panic!("a trade") };
    body.price = Price::from_raw(10_i128.pow(38));
    assert_eq!(refused(large), "a number has more than 20 digits before the point");
    let value = Rate::from_raw(-(10_i128.pow(38)));
    let large = event("BTC-USD", START, Body::VolatilityIndex(VolatilityIndex { value }));
    assert_eq!(refused(large), "a number has more than 20 digits before the point");
    for time in [-1, i64::MAX] {
        let refused = refused(trade_at("BTC-USDT", 1, time));
        assert_eq!(refused, "the time is outside the days from 1970 to 2149");
    }
    let error = Cut::new(Kind::Bbo).push(&trade("BTC-USDT", 1)).unwrap_err();
    assert_eq!(error.to_string(), "a trade event does not belong into a cut of kind bbo");
}
