//! Ring 2: hosts, and a checkpoint of two markets.

use super::*;
use crate::handover::Handover;

/// The suite's defaults, with another host for Binance's spot market.
fn settings(host: &str) -> Settings {
    let mut settings = Settings::default();
    let spot = &mut settings.venues.binance.spot;
    spot.enabled = true;
    spot.stream_url = format!("wss://{host}:9443").parse().unwrap();
    settings
}

/// What the run before handed over of Binance's and of OKX's spot market.
const CHECKPOINT: &str = r#"{"version":1,"keys":[
    {"kind":"trade","venue":"binance","market":"spot","symbol":"A-B","instrument":"AB","last":7},
    {"kind":"trade","venue":"okx","market":"spot","symbol":"A-B","instrument":"A-B","last":8}
    ],"positions":{}}"#;

fn last_ids(directory: &Path) -> Vec<u64> {
    checkpoint::load(directory).unwrap().last_ids().into_values().collect()
}

#[test]
fn a_market_that_moved_to_another_host_is_forgotten_and_the_others_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let take_over = |host| Endpoints::of(&settings(host)).take_over(directory.path()).unwrap();
    checkpoint::store(directory.path(), CHECKPOINT.as_bytes()).unwrap();
    let nothing = BTreeSet::new();
    // Of a run that left no such file nothing is known.
    assert_eq!(take_over("stream.binance.com"), nothing);
    assert_eq!(last_ids(directory.path()), [7, 8]);
    assert_eq!(take_over("stream.binance.com"), nothing);
    assert_eq!(last_ids(directory.path()), [7, 8]);
    let spot = (Venue::Binance, Market::Spot);
    assert_eq!(take_over("testnet.example"), BTreeSet::from([spot]));
    assert_eq!(last_ids(directory.path()), [8]);
    assert_eq!(take_over("testnet.example"), nothing);
}

#[test]
fn a_market_that_is_switched_off_for_a_while_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let mut off = settings("stream.binance.com");
    drop(Endpoints::of(&off).take_over(directory.path()).unwrap());
    off.venues.binance.spot.enabled = false;
    assert_eq!(Endpoints::of(&off).take_over(directory.path()).unwrap(), BTreeSet::new());
    let moved = Endpoints::of(&settings("testnet.example")).take_over(directory.path()).unwrap();
    assert_eq!(moved, BTreeSet::from([(Venue::Binance, Market::Spot)]));
    assert_eq!(checkpoint::load(directory.path()).unwrap(), Handover::default());
}

#[test]
fn a_list_that_cannot_be_used_is_as_none() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(NAME), b"{").unwrap();
    let endpoints = Endpoints::of(&settings("stream.binance.com"));
    assert_eq!(endpoints.clone().take_over(directory.path()).unwrap(), BTreeSet::new());
    assert!(load(directory.path()).unwrap().0.contains_key(&(Venue::Binance, Market::Spot)));
}

#[test]
fn a_market_that_is_begun_later_is_noted_and_may_have_no_other_host_than_before() {
    let directory = tempfile::tempdir().unwrap();
    let spot = (Venue::Binance, Market::Spot);
    let begin = |host| {
        let settings = settings(host);
        join(directory.path(), spot, &settings.venues.binance.spot)
    };
    begin("stream.binance.com").unwrap();
    begin("stream.binance.com").unwrap();
    let error = begin("testnet.example").unwrap_err().to_string();
    assert!(error.contains("from stream.binance.com before"), "{error}");
    // A restart is told of the first host.
    let moved = Endpoints::of(&settings("testnet.example")).take_over(directory.path()).unwrap();
    assert_eq!(moved, BTreeSet::from([spot]));
    begin("testnet.example").unwrap();
}
