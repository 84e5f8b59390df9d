//! The history of what the venues list.

use super::*;
use crate::Listed;
use model::{Instrument, Listing, OptionSide, QtyUnit};

fn at(seconds: i64) -> UnixNanos {
    UnixNanos::new(START + seconds * 1_000_000_000 + 7)
}

/// A spot pair of which the venue says nothing that it need not.
fn pair(symbol: &str) -> Instrument {
    Instrument {
        id: instrument(symbol),
        base: Arc::from("BTC"),
        quote: Arc::from("USDT"),
        tick_size: None,
        lot_size: None,
        contract_size: None,
        qty_unit: QtyUnit::Base,
        expiry: None,
        strike: None,
        option_side: None,
        listing: Listing::Trading,
        funding_hours: None,
    }
}

/// An option of which everything is known, with a name longer than one byte can tell.
fn option() -> Instrument {
    let id = InstrumentId {
        venue: Venue::Deribit,
        market: Market::Option,
        symbol: Symbol::new("BTC-29MAY26-70000-C").unwrap(),
        name: Arc::from("x".repeat(300)),
    };
    Instrument {
        id: Arc::new(id),
        tick_size: Some(price("0.0005")),
        lot_size: Some(qty("0.1")),
        contract_size: Some(qty("0.000000000000000001")),
        qty_unit: QtyUnit::Quote,
        expiry: Some(at(1_000)),
        strike: Some(price("70000")),
        option_side: Some(OptionSide::Call),
        listing: Listing::Pending,
        funding_hours: None,
        ..pair("BTC-USDT")
    }
}

fn listed(instrument: Instrument, first_seen: UnixNanos, last_seen: UnixNanos) -> Listed {
    Listed { instrument, first_seen, last_seen }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_of_an_instrument_is_a_row_and_the_newest_is_told() {
    let rig = Rig::start();
    assert!(rig.warehouse.instruments().await.unwrap().is_empty());
    rig.warehouse.store_instruments(&[]).await.unwrap();
    let first = [listed(pair("BTC-USDT"), at(0), at(0)), listed(pair("ETH-USDT"), at(0), at(0))];
    rig.warehouse.store_instruments(&first).await.unwrap();
    // Seen again, halted meanwhile, and one more.
    let halted = Instrument { listing: Listing::Halted, ..pair("ETH-USDT") };
    let then = [
        listed(pair("BTC-USDT"), at(0), at(60)),
        listed(halted, at(60), at(60)),
        listed(option(), at(60), at(60)),
    ];
    for _ in 0..2 {
        rig.warehouse.store_instruments(&then).await.unwrap();
    }
    assert_eq!(rig.warehouse.instruments().await.unwrap(), then);
    let history = "SELECT toUInt64(count()), toUInt64(countIf(listing = 'halted')), \
                   toUInt64(countIf(strike = 70000 AND option_side = 'call')), \
                   toUInt64(countIf(symbol = 'BTC-USDT' \
                   AND dateDiff('second', first_seen, last_seen) = 60)) \
                   FROM marketprism.instruments";
    assert_eq!(rig.numbers(history).await, [4, 1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn instruments_outlive_the_server() {
    let mut rig = Rig::start();
    let rows = [listed(option(), at(0), at(0))];
    rig.warehouse.store_instruments(&rows).await.unwrap();
    rig.server.kill();
    assert!(rig.warehouse.store_instruments(&rows).await.unwrap_err().is_remote());
    rig.server.restart().unwrap();
    let read = async {
        loop {
            match rig.warehouse.instruments().await {
                Ok(rows) => return rows,
                Err(error) => assert!(error.is_remote(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(60), read).await.unwrap();
    assert_eq!(read, rows);
}
