use super::*;

#[test]
fn a_time_is_nanoseconds_or_rfc_3339() {
    let read = |text| time("start", Some(text)).unwrap().unwrap().as_i64();
    assert_eq!(read("1778284800000000001"), 1_778_284_800_000_000_001);
    assert_eq!(read("2026-05-09T00:00:00Z"), 1_778_284_800_000_000_000);
    assert_eq!(read("2026-05-09T02:00:00 02:00"), 1_778_284_800_000_000_000);
    for text in
        ["", "yesterday", "2026-05-09", "1e9", "99999999999999999999", "9999-01-01T00:00:00Z"]
    {
        let problem = time("start", Some(text)).unwrap_err();
        assert!(problem.detail.contains("`start`"), "{text}");
    }
}

#[test]
fn a_limit_is_between_one_and_its_maximum() {
    assert_eq!(limit(None, 1_000, 10_000).unwrap(), 1_000);
    assert_eq!(limit(Some("10000"), 1_000, 10_000).unwrap(), 10_000);
    for text in ["0", "10001", "-1", "many", "99999999999999999999999"] {
        assert!(limit(Some(text), 1_000, 10_000).is_err(), "{text}");
    }
}

#[test]
fn an_empty_or_reversed_range_is_refused() {
    let at = |nanos| Some(UnixNanos::new(nanos));
    assert!(range(at(1), at(2)).is_ok() && range(None, at(0)).is_ok());
    assert!(range(at(2), at(2)).is_err() && range(at(3), at(2)).is_err());
}

#[test]
fn a_kind_that_is_named_twice_is_meant_once() {
    let read =
        |names: &[&str]| kinds(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(read(&["trade", "agg_trade", "trade"]).unwrap(), [Kind::Trade, Kind::AggTrade]);
    assert!(read(&[]).unwrap().is_empty());
    assert!(read(&["trade", "nothing"]).unwrap_err().detail.contains("`kinds`"));
}
