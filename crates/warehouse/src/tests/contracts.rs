//! What only contracts have: each kind in, once, and out again.

use super::*;

/// The greeks of an option, one of them absent.
pub(super) fn greeks() -> Greeks {
    Greeks {
        mark_iv: Some(rate("31.2")),
        bid_iv: None,
        ask_iv: Some(rate("33.74")),
        delta: Some(rate("-0.47736")),
        gamma: Some(rate("0.000000000000000001")),
        vega: Some(rate("18.43602")),
        theta: Some(rate("-99999999999999999999.999999999999999999")),
        rho: Some(rate("1.31068")),
        underlying_price: Some(price("76904.4")),
    }
}

fn liquidation(ordinal: u32) -> Liquidation {
    let (side, price, qty) = (Side::Sell, price("82338.3"), qty("0.19"));
    Liquidation { side, price, qty, average_price: None, ordinal }
}

fn ratio(ratio_type: RatioType, period: &str) -> LongShortRatio {
    let (long_ratio, short_ratio) = (Some(rate("0.5556")), Some(rate("0.4444")));
    let long_short_ratio = rate("1.25022502250225");
    LongShortRatio {
        ratio_type,
        period: Arc::from(period),
        long_ratio,
        short_ratio,
        long_short_ratio,
    }
}

/// Bodies of one kind that are all of the same time, and yet different events.
fn of_one_time(kind: Kind) -> Vec<Body> {
    let mark = |mark_price, index_price| Body::Mark(Mark { mark_price, index_price });
    match kind {
        Kind::Mark => vec![
            mark(Some(price("83260.90826812")), Some(price("83301.32347826"))),
            mark(Some(price("0.009049")), None),
            mark(None, Some(price("83251.03"))),
        ],
        Kind::Liquidation => vec![
            Body::Liquidation(liquidation(0)),
            Body::Liquidation(liquidation(1)),
            Body::Liquidation(Liquidation { side: Side::Buy, ..liquidation(0) }),
            Body::Liquidation(Liquidation { qty: qty("0.2"), ..liquidation(0) }),
        ],
        Kind::LongShortRatio => RatioType::ALL
            .iter()
            .flat_map(|ratio_type| ["5m", "1h"].map(|period| ratio(*ratio_type, period)))
            .map(Body::LongShortRatio)
            .collect(),
        Kind::Funding => vec![Body::Funding(Funding {
            funding_rate: rate("-0.00000244"),
            next_funding_time: Some(UnixNanos::new(START + DAY)),
            interval_hours: Some(8),
        })],
        Kind::OpenInterest => vec![Body::OpenInterest(OpenInterest {
            open_interest: qty("797578130"),
            open_interest_value: Some(Notional::parse(b"609736.12133").unwrap()),
        })],
        Kind::VolatilityIndex => {
            vec![Body::VolatilityIndex(VolatilityIndex { value: rate("129.36") })]
        }
        Kind::Trade
        | Kind::AggTrade
        | Kind::Book
        | Kind::Bbo
        | Kind::Ticker
        | Kind::Kline
        | Kind::Gap
        | Kind::Status => Vec::new(),
    }
}

/// Every kind of contracts, also with what a venue may not give left out.
pub(super) fn every_kind() -> Vec<Event> {
    let all = Kind::ALL.iter().flat_map(|kind| of_one_time(*kind));
    let mut events: Vec<Event> = all.map(|body| event("BTC-USDT", START, body)).collect();
    let mut later = |body| events.push(event("BTC-27JUN26-77000-C", START + DAY, body));
    later(Body::Funding(Funding {
        funding_rate: rate("0"),
        next_funding_time: None,
        interval_hours: None,
    }));
    later(Body::OpenInterest(OpenInterest { open_interest: qty("0"), open_interest_value: None }));
    let average_price = Some(price("82651.9"));
    later(Body::Liquidation(Liquidation { average_price, ..liquidation(u32::MAX) }));
    let bare = ratio(RatioType::AllAccount, "1d");
    later(Body::LongShortRatio(LongShortRatio { long_ratio: None, short_ratio: None, ..bare }));
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_id_is_stored_once_whichever_way_it_comes_again() {
    let rig = Rig::start();
    for kind in Kind::ALL {
        let events = every_kind().into_iter().filter(|event| event.kind() == *kind);
        let events: Vec<Event> = events.collect();
        if events.is_empty() {
            continue;
        }
        rig.keep_duplicates(*kind).await;
        let (all, mut table) = (events.len(), rig.table(*kind));
        assert_eq!(
            table.append(cut(*kind, 1, events.clone())).await.unwrap().stored,
            all,
            "{kind}"
        );
        let mut again = events.clone();
        // From the other producer of a pair, in another order and received at another time.
        again.reverse();
        again.iter_mut().for_each(|event| event.recv_time = UnixNanos::new(START + DAY + 5));
        let mut further = again[0].clone();
        further.venue_time = Some(UnixNanos::new(START + 2 * DAY));
        again.push(further);
        let appended = table.append(cut(*kind, 2, again.clone())).await.unwrap();
        assert_eq!(appended, Appended { stored: 1, duplicates: all }, "{kind}");
        // A new process, which asks the server what is stored.
        let appended = rig.table(*kind).append(cut(*kind, 3, again)).await.unwrap();
        assert_eq!(appended, Appended { stored: 0, duplicates: all + 1 }, "{kind}");
        let rows = format!("SELECT count() FROM marketprism.stored_{kind}");
        assert_eq!(rig.numbers(&rows).await, [all as u64 + 1], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn candles_count_the_trades_that_a_venue_says_an_aggregate_stands_for() {
    let rig = Rig::start();
    let counted = |seq, count, id_range| {
        let mut event = trade("BTC-USDT", seq);
        let Body::Trade(trade) = &mut event.body else { panic!("a trade") };
        (trade.count, trade.id_range) = (count, id_range);
        event
    };
    let trades =
        [counted(1, None, None), counted(8, Some(7), None), counted(9, None, Some((10, 14)))];
    rig.table(Kind::Trade).append(cut(Kind::Trade, 1, trades)).await.unwrap();
    let counted = rig.numbers("SELECT toUInt64(sum(trades)) FROM marketprism.candle_1d").await;
    assert_eq!(counted, [1 + 7 + 5]);
}
