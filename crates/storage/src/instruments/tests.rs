use super::*;
use model::{Listing, OptionSide, QtyUnit};
use serde_json::{Value, json};

/// The collector's word of an option, of which all is known.
fn option() -> Value {
    json!({
        "venue": "deribit", "market": "option", "symbol": "BTC-29MAY26-70000-C",
        "instrument": "BTC-29MAY26-70000-C", "base": "BTC", "quote": "USD",
        "tick_size": "0.0005", "lot_size": "0.1", "contract_size": "1", "qty_unit": "base",
        "expiry": 1_780_041_600_000_000_000_i64, "strike": "70000", "option_side": "call",
        "listing": "trading", "something_new": 7,
    })
}

/// The collector's word of a pair, of which the venue says little.
fn pair() -> Value {
    json!({
        "venue": "binance", "market": "spot", "symbol": "BTC-USDT", "instrument": "BTCUSDT",
        "base": "BTC", "quote": "USDT", "qty_unit": "base", "listing": "halted",
    })
}

fn listed(entries: &[Value]) -> anyhow::Result<Vec<Instrument>> {
    read(json!({ "instruments": entries }).to_string().as_bytes())
}

fn at(seconds: i64) -> UnixNanos {
    UnixNanos::new(seconds * 1_000_000_000)
}

#[test]
fn the_collector_s_answer_is_read_and_a_word_that_means_nothing_is_told() {
    let read = listed(&[option(), pair()]).unwrap();
    let [option, spot] = &*read else { panic!("{read:?}") };
    assert_eq!(option.id.to_string(), "deribit/option/BTC-29MAY26-70000-C");
    assert_eq!(option.tick_size, Some("0.0005".parse().unwrap()));
    assert_eq!(option.contract_size, Some("1".parse().unwrap()));
    assert_eq!(option.expiry, Some(UnixNanos::new(1_780_041_600_000_000_000)));
    assert_eq!(option.strike, Some("70000".parse().unwrap()));
    assert_eq!((option.option_side, option.qty_unit), (Some(OptionSide::Call), QtyUnit::Base));
    assert_eq!((&*spot.id.name, &*spot.base, &*spot.quote), ("BTCUSDT", "BTC", "USDT"));
    assert_eq!((spot.lot_size, spot.expiry, spot.option_side), (None, None, None));
    assert_eq!(spot.listing, Listing::Halted);
    let mut strange = pair();
    strange["listing"] = "sleeping".into();
    let error = listed(&[strange]).unwrap_err().to_string();
    assert!(error.contains("`sleeping`") && error.contains("trading"), "{error}");
}

#[test]
fn a_state_is_one_row_from_the_first_look_to_the_last() {
    let now = listed(&[option(), pair()]).unwrap();
    let first = advance(Vec::new(), now.clone(), at(10));
    assert_eq!(first.len(), 2);
    assert!(first.iter().all(|row| (row.first_seen, row.last_seen) == (at(10), at(10))));
    assert!(advance(first.clone(), now.clone(), at(3_609)).is_empty());
    let renewed = advance(first, now, at(3_610));
    assert_eq!(renewed.len(), 2);
    assert!(renewed.iter().all(|row| (row.first_seen, row.last_seen) == (at(10), at(3_610))));
    // One is open again, the other has gone.
    let mut open = pair();
    open["listing"] = "trading".into();
    let changed = advance(renewed, listed(&[open]).unwrap(), at(3_620));
    let [row] = &*changed else { panic!("{changed:?}") };
    assert_eq!(row.instrument.listing, Listing::Trading);
    assert_eq!((row.first_seen, row.last_seen), (at(3_620), at(3_620)));
}

#[test]
fn a_clock_that_is_set_back_puts_nothing_before_what_is_known() {
    let before = advance(Vec::new(), listed(&[pair()]).unwrap(), at(100));
    assert!(advance(before.clone(), listed(&[pair()]).unwrap(), at(50)).is_empty());
    let mut open = pair();
    open["listing"] = "trading".into();
    let changed = advance(before, listed(&[open]).unwrap(), at(50));
    assert_eq!(changed[0].first_seen, UnixNanos::new(at(100).as_i64() + 1));
}
