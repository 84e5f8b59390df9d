//! Ring 1: parsing and printing against tables, properties and `rust_decimal` as the oracle.

use super::*;
use proptest::prelude::*;

fn text(raw: i128) -> String {
    Price::from_raw(raw).to_string()
}

#[test]
fn reads_what_venues_write() {
    for (input, raw) in [
        ("0", 0),
        ("0.00000000", 0),
        ("-0", 0),
        ("1", ONE),
        ("61737.63000000", 61_737_630_000_000_000_000_000),
        ("0.000000000000000001", 1),
        ("-2.5", -2 * ONE - ONE / 2),
        ("1.0002e6", 1_000_200 * ONE),
        ("2.8e-4", 28 * ONE / 100_000),
        ("8.55E+4", 85_500 * ONE),
        ("10000000000000", 10_000_000_000_000 * ONE),
        ("0.1000000000000000000000", ONE / 10),
        ("170141183460469231731", 170_141_183_460_469_231_731 * (ONE)),
    ] {
        let parsed = Price::parse(input.as_bytes());
        assert_eq!(parsed, Ok(Price::from_raw(raw)), "{input}");
    }
}

#[test]
fn refuses_what_is_no_decimal() {
    use ParseDecimalError::{Empty, OutOfRange, TooPrecise, Unexpected};
    for (input, error) in [
        ("", Empty),
        ("-", Empty),
        ("1.", Unexpected { byte: b'.', offset: 1 }),
        (".5", Unexpected { byte: b'.', offset: 0 }),
        ("1..2", Unexpected { byte: b'.', offset: 2 }),
        ("1e", Unexpected { byte: b'e', offset: 1 }),
        ("NaN", Unexpected { byte: b'N', offset: 0 }),
        ("1 ", Unexpected { byte: b' ', offset: 1 }),
        ("+1", Unexpected { byte: b'+', offset: 0 }),
        ("0.0000000000000000001", TooPrecise),
        ("1e-19", TooPrecise),
        ("1e-40", TooPrecise),
        ("1e309", OutOfRange),
        ("170141183460469231732", OutOfRange),
        ("99999999999999999999999999999999999999", OutOfRange),
    ] {
        assert_eq!(Price::parse(input.as_bytes()), Err(error), "{input}");
    }
}

#[test]
fn what_rounds_beyond_the_largest_value_is_out_of_range() {
    let rounded = |text: &str| Price::parse_rounded(text.as_bytes());
    let largest = "170141183460469231731.687303715884105727";
    assert_eq!(rounded(&format!("{largest}4")), Ok(Price::from_raw(i128::MAX)));
    assert_eq!(rounded(&format!("-{largest}4")), Ok(Price::from_raw(-i128::MAX)));
    for sign in ["", "-"] {
        let beyond = format!("{sign}{largest}9");
        assert_eq!(rounded(&beyond), Err(ParseDecimalError::OutOfRange), "{beyond}");
    }
}

#[test]
fn computed_values_are_rounded_half_even() {
    for (input, raw) in [
        ("0.0000000000000000005", 0),
        ("0.0000000000000000015", 2),
        ("0.00000000000000000051", 1),
        ("0.0000000000000000025", 2),
        ("1e-40", 0),
        ("-0.0000000000000000015", -2),
    ] {
        assert_eq!(Rate::parse_rounded(input.as_bytes()), Ok(Rate::from_raw(raw)), "{input}");
    }
}

#[test]
fn notional_is_exact_and_bounded() {
    let price = Price::parse(b"61837.64").unwrap();
    let qty = Qty::parse(b"0.02").unwrap();
    assert_eq!(price.notional(qty), Some(Notional::parse(b"1236.7528").unwrap()));
    let big = Price::parse(b"100000000000").unwrap();
    assert_eq!(big.notional(Qty::parse(b"100000000000").unwrap()), None);
    let minus = Qty::from_raw(-qty.raw());
    assert_eq!(price.notional(minus), Some(Notional::parse(b"-1236.7528").unwrap()));
}

proptest! {
    #[test]
    fn printing_then_parsing_is_the_identity(raw in any::<i128>()) {
        prop_assume!(raw != i128::MIN);
        prop_assert_eq!(Price::parse(text(raw).as_bytes()), Ok(Price::from_raw(raw)));
    }

    #[test]
    fn agrees_with_rust_decimal(input in "-?[0-9]{1,9}(\\.[0-9]{1,18})?") {
        let oracle: rust_decimal::Decimal = input.parse().unwrap();
        let parsed = Price::parse(input.as_bytes()).unwrap();
        let expected = oracle.mantissa() * POW10[(SCALE - oracle.scale()) as usize];
        prop_assert_eq!(parsed.raw(), expected);
    }

    #[test]
    fn the_short_form_and_the_general_one_agree(input in "[0-9.e-]{0,24}") {
        if let Some(raw) = parse_short(input.as_bytes()) {
            prop_assert_eq!(parse_any(input.as_bytes(), Excess::Refuse), Ok(raw));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(input in proptest::collection::vec(any::<u8>(), 0..80)) {
        let first = Price::parse(&input);
        prop_assert_eq!(first, Price::parse(&input));
        let rounded = Rate::parse_rounded(&input);
        prop_assert!(first.is_err() || rounded.is_ok());
    }
}
