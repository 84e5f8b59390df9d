use super::*;
use model::{Body, Event, InstrumentId, Market, Side, Symbol, Trade, Venue};
use std::sync::Arc;
use units::{Price, Qty, UnixNanos};

fn event(symbol: &str, seq: u64) -> Event {
    let instrument = Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new(symbol).unwrap(),
        name: Arc::from(symbol),
    });
    let trade = Trade {
        seq,
        trade_id: Arc::from(seq.to_string()),
        price: Price::from_raw(1),
        qty: Qty::from_raw(1),
        side: Side::Buy,
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    };
    let recv_time = UnixNanos::new(1);
    Event { instrument, venue_time: None, recv_time, origin: None, body: Body::Trade(trade) }
}

/// What a store with these rows answers, `limit` rows at a time.
fn page(rows: &[(&str, u64)], query: &Query, limit: usize) -> Page {
    let key = |(symbol, seq): &(&str, u64)| {
        let event = event(symbol, *seq);
        (StreamKey::from(&*event.instrument), event.identity())
    };
    let mut rows: Vec<_> = rows.iter().map(|row| (key(row), event(row.0, row.1))).collect();
    rows.sort_by(|(a, _), (b, _)| order(query, a, b));
    let behind = |key: &(StreamKey, Identity)| {
        let is = |after: &Cursor| {
            order(query, key, &(after.stream.clone(), after.identity)) == Ordering::Greater
        };
        query.after.as_ref().is_none_or(is)
    };
    rows.retain(|(key, _)| behind(key));
    let (mut page, mut last) = (Page::default(), None);
    for (key, event) in rows {
        if page.count == limit {
            page.next = last;
            break;
        }
        page.push(7, |out| wire::encode(&event, out)).unwrap();
        last = Some(Cursor { stream: key.0, identity: key.1 });
    }
    page
}

#[test]
fn pages_of_two_stores_are_all_rows_once_and_in_order() {
    let there = [("A", 5), ("A", 6), ("A", 7), ("A", 9), ("B", 2), ("C", 1), ("C", 3)];
    // Some rows are in both, some lie between the other's, one stream is only here.
    let here = [("A", 1), ("A", 2), ("A", 6), ("A", 8), ("B", 1), ("B", 2), ("BB", 4), ("C", 3)];
    let mut all: Vec<(&str, u64)> = there.iter().chain(&here).copied().collect();
    all.sort_unstable();
    all.dedup();
    for order in [Order::Ascending, Order::Descending] {
        // A store may end its page before the limit.
        for (limit, one, other) in
            [(1, 1, 1), (2, 2, 1), (3, 1, 3), (4, 4, 4), (5, 2, 2), (9, 1, 9), (50, 50, 50)]
        {
            let mut query = Query { order, limit, ..Query::default() };
            let mut found = Vec::new();
            loop {
                let both = (page(&there, &query, one), page(&here, &query, other));
                let page = merge(&query, both.0, both.1).unwrap();
                let rows = texts(&page).unwrap();
                assert_eq!(rows.len(), page.count);
                assert!(page.count <= limit);
                for row in rows {
                    let row: serde_json::Value = serde_json::from_str(row.get()).unwrap();
                    assert_eq!(row["stream_seq"], 7);
                    let symbol = row["symbol"].as_str().unwrap().to_owned();
                    found.push((symbol, row["seq"].as_u64().unwrap()));
                }
                assert!(page.count > 0 || page.next.is_none(), "it goes on");
                let Some(next) = page.next else { break };
                query.after = Some(next);
            }
            if order == Order::Descending {
                found.reverse();
            }
            let found: Vec<(&str, u64)> = found.iter().map(|(s, seq)| (&**s, *seq)).collect();
            assert_eq!(found, all, "{order:?} {limit} {one} {other}");
        }
    }
}

#[test]
fn a_store_that_has_nothing_changes_nothing() {
    let query = Query { limit: 2, ..Query::default() };
    let rows = [("A", 1), ("A", 2), ("A", 3)];
    let some = page(&rows, &query, 2);
    assert!(some.next.is_some());
    assert_eq!(merge(&query, some.clone(), Page::default()).unwrap(), some);
    assert_eq!(merge(&query, Page::default(), some.clone()).unwrap(), some);
}
