//! Whatever arrives, nothing panics and the two parsers agree.

use super::*;
use proptest::prelude::*;
use venue::conformance::{Damage, damaged};

fn damage() -> impl Strategy<Value = Damage> {
    let byte = || {
        prop_oneof![
            any::<u8>(),
            proptest::sample::select(b"0123456789.,:\"{}[]-+eE\\ tfnu\n".as_slice()),
        ]
    };
    prop_oneof![
        (any::<usize>(), byte()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (any::<usize>(), byte()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<usize>().prop_map(Damage::Remove),
        any::<usize>().prop_map(Damage::Truncate),
        (any::<usize>(), 1_usize..60).prop_map(|(at, length)| Damage::Duplicate(at, length)),
    ]
}

/// A value that might stand where a number is expected.
const NUMBER: &str = "(0|[1-9][0-9]{0,20}|0[0-9]|-1|1\\.5|1e3|null|\"1\"|\\[\\]|\\{\\})";
const DECIMAL: &str = "(-?[0-9]{1,20}(\\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?|null|\"1\"|true)";
const NAME: &str = "([A-Z0-9-]{1,12}|[^\"\\\\]{0,3}|a\\\\u0041)";

/// A frame in the scanner's form with unusual values, its members in any order and some of them
/// twice.
fn odd_frame() -> impl Strategy<Value = String> {
    let shape = proptest::sample::select(vec![
        ("book.A.raw", vec!["timestamp", "change_id", "prev_change_id"], vec![]),
        ("quote.A", vec!["timestamp"], vec!["best_bid_price", "best_bid_amount"]),
        ("ticker.A.raw", vec!["timestamp"], vec!["mark_price", "current_funding", "bid_iv"]),
        ("trades.A.raw", vec!["timestamp", "trade_seq"], vec!["price", "amount", "new"]),
    ]);
    let members = proptest::collection::vec((0_usize..24, NUMBER, DECIMAL), 0..9);
    (shape, NAME, members).prop_map(|((channel, integers, decimals), name, members)| {
        let mut parts = vec![format!(r#""instrument_name":"{name}""#)];
        match channel {
            "book.A.raw" => parts.extend(
                [r#""type":"change""#, r#""bids":[]"#, r#""asks":[["new",1.0,2]]"#]
                    .map(str::to_owned),
            ),
            "quote.A" => {
                parts.push(r#""best_ask_price":2.0,"best_ask_amount":1e0"#.to_owned());
            }
            "ticker.A.raw" => parts.push(r#""greeks":{},"stats":{"low":null}"#.to_owned()),
            _ => parts.push(r#""direction":"buy","trade_id":"1""#.to_owned()),
        }
        for (at, integer, decimal) in members {
            let known = integers.len() + decimals.len();
            let part = match integers.get(at % known) {
                Some(key) => format!(r#""{key}":{integer}"#),
                None => format!(r#""{}":{decimal}"#, decimals[at % known - integers.len()]),
            };
            parts.insert(at % (parts.len() + 1), part);
        }
        let data = format!("{{{}}}", parts.join(","));
        let data = if channel.starts_with("trades") { format!("[{data}]") } else { data };
        format!(
            r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":{data}}}}}"#
        )
    })
}

/// Levels with unusual values.
fn odd_book() -> impl Strategy<Value = String> {
    let action = proptest::sample::select(vec!["new", "change", "delete", "old", ""]);
    proptest::collection::vec((action, DECIMAL, DECIMAL), 0..4).prop_map(|levels| {
        let levels: Vec<_> =
            levels.iter().map(|(action, p, q)| format!(r#"["{action}",{p},{q}]"#)).collect();
        let levels = levels.join(",");
        format!(
            r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"book.A.raw","data":{{"timestamp":1,"type":"snapshot","change_id":1,"instrument_name":"A","bids":[{levels}],"asks":[{levels}]}}}}}}"#
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_frames_never_panic_and_the_parsers_never_differ(
        (market, frame) in proptest::sample::select(fixtures().collect::<Vec<_>>()),
        damages in proptest::collection::vec(damage(), 1..4),
    ) {
        let bytes = damaged(frame, &damages);
        prop_assert_eq!(parse(market, Way::Usual, &bytes), parse(market, Way::Slow, &bytes));
    }

    #[test]
    fn odd_values_never_make_the_parsers_differ(
        frame in prop_oneof![odd_frame(), odd_book()],
    ) {
        let frame = frame.as_bytes();
        let usual = parse(Market::Perp, Way::Usual, frame);
        prop_assert_eq!(usual, parse(Market::Perp, Way::Slow, frame));
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes: Vec<u8>) {
        prop_assert!(parse(Market::Perp, Way::Usual, &bytes).0.is_err());
    }
}

#[test]
fn a_frame_cut_anywhere_is_refused() {
    for (market, frame) in fixtures() {
        for end in 0..frame.len() {
            let (result, messages) = parse(market, Way::Usual, &frame.as_bytes()[..end]);
            // One of the fixtures ends in blanks.
            let is_whole = frame.as_bytes()[end..].iter().all(u8::is_ascii_whitespace);
            assert!(
                is_whole || (result.is_err() && messages.is_empty()),
                "{result:?} after {end} of {frame}"
            );
        }
    }
}
