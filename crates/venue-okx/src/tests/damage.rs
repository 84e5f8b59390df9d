//! Ring 1: damaged and odd frames never panic, and the two parsers never differ.

use super::*;
use proptest::prelude::*;
use venue::conformance::{Damage, damaged};

fn damage() -> impl Strategy<Value = Damage> {
    let usual = proptest::sample::select(b"0123456789.,:\"{}[]-+eE\\ tfnu\n".as_slice());
    let byte = prop_oneof![any::<u8>(), usual];
    prop_oneof![
        (any::<usize>(), byte.clone()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (any::<usize>(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<usize>().prop_map(Damage::Remove),
        any::<usize>().prop_map(Damage::Truncate),
        (any::<usize>(), 1_usize..40).prop_map(|(at, length)| Damage::Duplicate(at, length)),
    ]
}

/// What both parsers make of a frame, each with an adapter that knows the contract sizes.
fn both(frame: &[u8]) -> (Parsed, Parsed) {
    let (mut quick, mut slow): (Perp, Perp) = (listed(), listed());
    let (mut quick_out, mut slow_out) = (Vec::new(), Vec::new());
    let read = quick.parse(frame, NOW, &mut quick_out);
    let read_slowly = slow.parse_slowly(frame, NOW, &mut slow_out);
    ((read, quick_out), (read_slowly, slow_out))
}

/// A frame in a form of the scanner's, with unusual values.
fn odd_frame() -> impl Strategy<Value = String> {
    let number = || "(0|[1-9][0-9]{0,20}|0[0-9]|-1|-0|1\\.5|1e3)";
    let text = || "(0|[1-9][0-9]{0,20}|0[0-9]|-1|)";
    let decimal = || "([0-9]{1,6}\\.[0-9]{1,9}|[0-9]{0,20}(\\.[0-9]{0,20})?(e-?[0-9]{1,2})?|-1)";
    let name = || "(ABC-XYZ-SWAP|ABC-USD-SWAP|[A-Z0-9]{1,12}|[^\"\\\\]{0,3}|a\\\\u0041)";
    let level = (decimal(), decimal(), text(), text())
        .prop_map(|(p, q, l, n)| format!(r#"["{p}","{q}","{l}","{n}"]"#));
    let levels = || proptest::collection::vec(level.clone(), 0..4).prop_map(|all| all.join(","));
    let trade = (name(), name(), (text(), text()), decimal(), decimal(), any::<(bool, bool)>())
        .prop_map(|(a, s, (t, n), p, q, (same, counted))| {
            let s = if same { &a } else { &s };
            let count = if counted { format!(r#","count":"{n}","source":"0""#) } else { String::new() };
            let side = if counted { "buy" } else { "sell" };
            format!(r#"{{"arg":{{"channel":"trades","instId":"{a}"}},"data":[{{"instId":"{s}","tradeId":"{t}","px":"{p}","sz":"{q}","side":"{side}","ts":"{n}"{count}}}]}}"#)
        });
    let book = (name(), levels(), levels(), (text(), number(), number(), number()), any::<bool>())
        .prop_map(|(s, asks, bids, (t, c, a, b), update)| {
            let action = if update { "update" } else { "snapshot" };
            format!(r#"{{"arg":{{"channel":"books","instId":"{s}"}},"action":"{action}","data":[{{"asks":[{asks}],"bids":[{bids}],"ts":"{t}","checksum":{c},"seqId":{a},"prevSeqId":{b}}}]}}"#)
        });
    let bbo = (name(), levels(), levels(), text(), number()).prop_map(|(s, asks, bids, t, u)| {
        format!(r#"{{"arg":{{"channel":"bbo-tbt","instId":"{s}"}},"data":[{{"asks":[{asks}],"bids":[{bids}],"ts":"{t}","seqId":{u}}}]}}"#)
    });
    prop_oneof![trade, book, bbo]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_frames_never_panic_and_the_parsers_never_differ(
        frame in proptest::sample::select(WS.lines().collect::<Vec<_>>()),
        damages in proptest::collection::vec(damage(), 1..4),
    ) {
        let (quick, slow) = both(&damaged(frame, &damages));
        prop_assert!(quick.0.is_ok() || quick.1.is_empty());
        prop_assert_eq!(quick, slow);
    }

    #[test]
    fn odd_values_never_make_the_parsers_differ(frame in odd_frame()) {
        let (quick, slow) = both(frame.as_bytes());
        prop_assert_eq!(quick, slow);
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes: Vec<u8>) {
        prop_assert!(parse(&bytes).0.is_err());
    }

    #[test]
    fn answers_of_any_kind_never_panic(
        damages in proptest::collection::vec(damage(), 1..4),
        path in proptest::sample::select(vec![
            "/api/v5/public/instruments",
            "/api/v5/market/books?instId=A-B",
            "/api/v5/market/history-trades?instId=A-B&after=9&limit=4",
        ]),
    ) {
        let body = damaged(std::str::from_utf8(INSTRUMENTS).unwrap(), &damages);
        let answer = Perp::new().parse_rest(path, &body);
        prop_assert!(path.contains("instruments") || answer.is_err());
    }
}

#[test]
fn a_frame_cut_anywhere_is_refused() {
    for frame in WS.lines().filter(|frame| frame.starts_with('{')) {
        for end in 0..frame.len() {
            let (result, messages) = parse(&frame.as_bytes()[..end]);
            assert!(result.is_err() && messages.is_empty(), "{result:?} after {end} of {frame}");
        }
    }
}

#[test]
fn frames_in_the_usual_form_are_read_by_the_scanner() {
    let usual = [
        r#"{"arg":{"channel":"trades","instId":"ABC-XYZ"},"data":[{"instId":"ABC-XYZ","tradeId":"1","px":"1.5","sz":"2","side":"buy","ts":"3","count":"1","source":"0","seqId":4}]}"#,
        r#"{"arg":{"channel":"books","instId":"ABC-XYZ"},"action":"update","data":[{"asks":[["1.5","2","0","1"]],"bids":[],"ts":"3","checksum":0,"seqId":2,"prevSeqId":1}]}"#,
        r#"{"arg":{"channel":"bbo-tbt","instId":"ABC-XYZ"},"data":[{"asks":[["1.5","2","0","1"]],"bids":[["1.4","2","0","1"]],"ts":"3","seqId":4}]}"#,
    ];
    for frame in usual {
        let kind = Perp::new().parse_quickly(frame.as_bytes(), NOW, &mut Vec::new());
        assert!(kind.is_some(), "{frame}");
        let (quick, slow) = both(frame.as_bytes());
        assert_eq!(quick, slow);
        assert_eq!(quick.1.len(), 1);
    }
}
