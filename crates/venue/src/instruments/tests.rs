//! Ring 1: the table beside a `BTreeMap`.

use super::*;
use model::{Listing, QtyUnit};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn table() -> Instruments {
    Instruments::new(Venue::Binance, Market::Spot)
}

fn listed(name: &str, symbol: &str) -> Instrument {
    Instrument {
        id: Arc::new(InstrumentId {
            venue: Venue::Binance,
            market: Market::Spot,
            symbol: Symbol::new(symbol).unwrap(),
            name: Arc::from(name),
        }),
        base: Arc::from("BASE"),
        quote: Arc::from("QUOTE"),
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

#[test]
fn without_a_list_the_symbol_is_the_venues_own_name() {
    let mut table = table();
    let slot = table.slot("BTCUSDT").unwrap();
    assert_eq!(table.get(slot).symbol.as_str(), "BTCUSDT");
    assert_eq!(table.slot("BTCUSDT"), Ok(slot));
    assert_eq!(table.slot("").unwrap_err().reason, Reject::BadSymbol);
}

#[test]
fn a_list_that_comes_later_renames_but_keeps_the_slot() {
    let mut table = table();
    let slot = table.slot("BTCUSDT").unwrap();
    let before = Arc::clone(table.get(slot));
    table.set(&[listed("ETHUSDT", "ETH-USDT"), listed("BTCUSDT", "BTC-USDT")]);
    assert_eq!(table.slot("BTCUSDT"), Ok(slot));
    assert_eq!(table.get(slot).symbol.as_str(), "BTC-USDT");
    assert_eq!(table.find(&before), None, "the old identity is gone");
    assert_eq!(table.iter().count(), 2);
}

proptest! {
    #[test]
    fn every_name_keeps_its_own_slot(names in proptest::collection::vec("[A-D]{1,10}", 1..400)) {
        let (mut table, mut reference) = (table(), BTreeMap::new());
        for name in &names {
            let next = reference.len();
            let expected = *reference.entry(name.clone()).or_insert(next);
            prop_assert_eq!(table.slot(name).unwrap().index(), expected);
        }
        for (name, index) in &reference {
            prop_assert_eq!(table.find_name(name.as_bytes()).map(Slot::index), Some(*index));
        }
        prop_assert_eq!(table.find_name(b"E"), None);
    }
}
