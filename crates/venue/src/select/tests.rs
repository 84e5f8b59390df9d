//! Ring 1: what is chosen from a list.

use super::*;
use model::{Market, QtyUnit, Symbol, Venue};
use proptest::prelude::*;

const DAY: i64 = 86_400_000_000_000;

fn instrument(symbol: &str) -> Instrument {
    let id = InstrumentId {
        venue: Venue::Okx,
        market: Market::Future,
        symbol: Symbol::new(symbol).unwrap(),
        name: Arc::from(symbol.replace('-', "")),
    };
    Instrument {
        id: Arc::new(id),
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

fn ending(symbol: &str, day: i64) -> Instrument {
    Instrument { expiry: Some(UnixNanos::new(day * DAY)), ..instrument(symbol) }
}

fn globs(patterns: &[&str]) -> Vec<Glob> {
    patterns.iter().map(|pattern| Glob::new(*pattern)).collect()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn volumes(of: &[(&str, i128)]) -> Volumes {
    of.iter().map(|(name, volume)| (Arc::from(*name), Notional::from_raw(*volume))).collect()
}

fn symbols(selected: &Selected) -> Vec<&str> {
    selected.instruments.iter().map(|id| id.symbol.as_str()).collect()
}

fn choose(list: &[Instrument], selection: &Selection) -> Selected {
    select(list, &Volumes::new(), &BTreeSet::new(), UnixNanos::new(0), selection)
}

#[test]
fn symbols_are_chosen_by_name_and_those_that_are_not_listed_are_told() {
    let list = [instrument("A-USDT"), instrument("B-USDT")];
    let wanted = Selection { symbols: owned(&["B-USDT", "C-USDT"]), ..Selection::default() };
    let selected = choose(&list, &wanted);
    assert_eq!(symbols(&selected), ["B-USDT"]);
    assert_eq!(selected.unknown, ["C-USDT"]);
}

#[test]
fn patterns_choose_beside_the_names_and_what_is_excluded_never_comes() {
    let list = ["A-USDT", "B-USDT", "A-BTC", "C-EUR"].map(instrument);
    let wanted = Selection {
        symbols: owned(&["C-EUR", "B-USDT"]),
        patterns: globs(&["A-*"]),
        exclude: globs(&["*-BTC", "B-????"]),
        ..Selection::default()
    };
    let selected = choose(&list, &wanted);
    assert_eq!((symbols(&selected), selected.unknown.len()), (vec!["A-USDT", "C-EUR"], 0));
    let all = Selection { patterns: globs(&["*"]), ..Selection::default() };
    assert_eq!(choose(&list, &all).instruments.len(), 4);
    assert_eq!(choose(&list, &Selection::default()), Selected::default());
}

#[test]
fn what_has_ended_is_not_chosen_and_what_ends_soon_is() {
    let closed = Instrument { listing: Listing::Closed, ..instrument("D") };
    let list = [ending("A", 1), ending("B", 9), ending("C", 40), closed, instrument("E")];
    let month = Duration::from_secs(30 * 86_400);
    let soon = Selection { expires_within: Some(month), ..Selection::default() };
    let at = |day: i64| {
        let now = UnixNanos::new(day * DAY);
        select(&list, &Volumes::new(), &BTreeSet::new(), now, &soon)
    };
    assert_eq!(symbols(&at(0)), ["A", "B"]);
    // At its end it is over.
    assert_eq!(symbols(&at(1)), ["B"]);
    assert_eq!(symbols(&at(10)), ["C"]);
    let named = Selection { symbols: owned(&["D", "E"]), ..Selection::default() };
    let selected = choose(&list, &named);
    assert_eq!(symbols(&selected), ["E"]);
    assert_eq!(selected.unknown, ["D"]);
}

#[test]
fn the_largest_are_chosen_and_one_that_is_held_gives_way_only_to_a_clearly_larger_one() {
    let list = ["A", "B", "C", "D"].map(instrument);
    let two = Selection { top: Some(2), ..Selection::default() };
    let mut held = BTreeSet::new();
    let mut next = |of: &[(&str, i128)]| {
        let selected = select(&list, &volumes(of), &held, UnixNanos::new(0), &two);
        held = selected.instruments.clone();
        symbols(&selected).join(" ")
    };
    assert_eq!(next(&[("A", 100), ("B", 90), ("C", 80)]), "A B");
    assert_eq!(next(&[("A", 100), ("B", 90), ("C", 110)]), "A B");
    assert_eq!(next(&[("A", 100), ("B", 90), ("C", 113)]), "A C");
    // And not back again at once.
    assert_eq!(next(&[("A", 100), ("B", 113), ("C", 95)]), "A C");
    // Without volumes it is the order of the names.
    assert_eq!(next(&[]), "A B");
}

#[test]
fn the_largest_of_a_pattern_are_chosen_beside_the_names() {
    let list = ["A-USDT", "B-USDT", "C-USDT", "D-BTC"].map(instrument);
    let wanted = Selection {
        symbols: owned(&["C-USDT"]),
        patterns: globs(&["*-USDT"]),
        top: Some(1),
        ..Selection::default()
    };
    let volumes = volumes(&[("AUSDT", 5), ("BUSDT", 7), ("CUSDT", 1), ("DBTC", 99)]);
    let selected = select(&list, &volumes, &BTreeSet::new(), UnixNanos::new(0), &wanted);
    assert_eq!(symbols(&selected), ["B-USDT", "C-USDT"]);
}

#[test]
fn patterns_are_matched_whole() {
    for (pattern, symbol, expected) in [
        ("*", "", true),
        ("", "", true),
        ("", "A", false),
        ("*-USDT", "BTC-USDT", true),
        ("*-USDT", "BTC-USDT-X", false),
        ("BTC-*", "BTC-", true),
        ("B?C-*T", "BTC-USDT", true),
        ("B?C", "BC", false),
        ("*A*B", "xAyAzB", true),
        ("*A*B", "xByA", false),
        ("**", "币安", true),
        ("?安", "币安", true),
    ] {
        assert_eq!(Glob::new(pattern).matches(symbol), expected, "{pattern} {symbol}");
    }
}

proptest! {
    #[test]
    fn a_text_is_of_every_pattern_made_from_it(text in "[AB-]{0,12}", cut in 0_usize..12, end in 0_usize..12) {
        let from = cut.min(text.len());
        let to = (from + end).min(text.len());
        let star = format!("{}*{}", &text[..from], &text[to..]);
        prop_assert!(Glob::new(star).matches(&text));
        let marks = format!("{}{}{}", &text[..from], "?".repeat(to - from), &text[to..]);
        prop_assert!(Glob::new(marks.clone()).matches(&text));
        let longer = format!("{text}A");
        prop_assert!(!Glob::new(marks).matches(&longer));
    }
}
