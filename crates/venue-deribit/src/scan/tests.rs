//! Ring 1: the cursor accepts nothing that a JSON parser would read differently.

use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;

/// What a number leads to when it stands in front of a comma.
fn decimal(text: &str) -> Option<i128> {
    let text = format!("{text},");
    let mut cursor = Cursor::new(text.as_bytes());
    let decimal = cursor.decimal()?;
    cursor.expect(b",")?;
    cursor.is_done().then_some(decimal)
}

/// The same by a JSON parser and the general decimal parser.
fn slowly(text: &str) -> Option<i128> {
    let number: &RawValue = serde_json::from_str(text).ok()?;
    let is_bare =
        number.get() == text && text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let price = is_bare.then(|| Price::parse(text.as_bytes()).ok()).flatten()?;
    Some(price.raw())
}

#[test]
fn integers_are_strict() {
    for (text, value) in [
        ("0,", Some(0)),
        ("12345678,", Some(12_345_678)),
        ("118850969743,", Some(118_850_969_743)),
        ("9999999999999999999,", Some(9_999_999_999_999_999_999)),
        ("99999999999999999999,", None),
        ("01,", None),
        ("-1,", None),
        (",", None),
    ] {
        assert_eq!(Cursor::new(text.as_bytes()).integer(), value, "{text}");
    }
}

#[test]
fn decimals_are_exact_in_every_form_that_the_venue_writes() {
    let one = 10_i128.pow(SCALE);
    for (text, value) in [
        ("76914.0", 76_914 * one),
        ("2700", 2_700 * one),
        ("1.0002e6", 1_000_200 * one),
        ("3.0e6", 3_000_000 * one),
        ("2.8e-4", 28 * one / 100_000),
        ("-3.1e-6", -31 * one / 10_000_000),
        ("8.55e4", 85_500 * one),
        ("0.00001", one / 100_000),
        ("0.000000000000000001", 1),
    ] {
        assert_eq!(decimal(text), Some(value), "{text}");
    }
    for text in ["", ".", "01", "1.", ".5", "-", "1e", "1e+", "+1", "0.0000000000000000001", "1e30"]
    {
        assert_eq!(decimal(text), None, "{text}");
    }
}

#[test]
fn text_with_escapes_or_beyond_ascii_is_left_to_the_general_parser() {
    assert_eq!(Cursor::new(b"BTC-PERPETUAL\"").text(), Some("BTC-PERPETUAL"));
    for text in ["BTC\\u0041\"", "币安\"", "a\tb\"", "open", "\u{7f}\""] {
        assert_eq!(Cursor::new(text.as_bytes()).text(), None, "{text}");
    }
}

#[test]
fn a_deleted_level_has_the_quantity_zero_whatever_is_written() {
    let text = br#"[["change",1.5,2],["new",1,1.0e3],["delete",2,7.0]]"#;
    let mut cursor = Cursor::new(text);
    let levels = cursor.levels(&mut Vec::new()).unwrap();
    assert!(cursor.is_done());
    let level = |price: &str, qty: &str| (price.parse().unwrap(), qty.parse().unwrap());
    assert_eq!(levels, [level("1.5", "2"), level("1", "1000"), level("2", "0")]);
    for text in [
        "[",
        "[[]]",
        r#"[["new",1]]"#,
        r#"[["new",1,2,3]]"#,
        r#"[["new",1,2],]"#,
        r#"[["old",1,2]]"#,
        r#"[["new","1","2"]]"#,
        r#"[["new",1,null]]"#,
        "[[1,2]]",
    ] {
        assert_eq!(Cursor::new(text.as_bytes()).levels(&mut Vec::new()), None, "{text}");
    }
}

#[test]
fn a_member_that_comes_twice_is_left_to_the_general_parser() {
    #[derive(Debug, Default, PartialEq)]
    struct Data {
        a: Option<u64>,
    }
    let read = |text: &str| {
        let mut data = Data::default();
        let mut cursor = Cursor::new(text.as_bytes());
        members!(cursor, data, { "a" => a: Cursor::integer, })?;
        cursor.is_done().then_some(data.a)
    };
    assert_eq!(read(r#"{"b":true,"a":1,"b":-1.5e3,"c":"","d":null}"#), Some(Some(1)));
    assert_eq!(read(r#"{"a":null}"#), Some(None));
    assert_eq!(read("{}"), Some(None));
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":null,"a":1}"#,
        r#"{"a":1,}"#,
        r#"{"a":1"#,
        r#"{"a":1.5}"#,
        r#"{"b":[]}"#,
        r#"{"b":nul}"#,
        r#"{"b":01}"#,
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn decimals_agree_with_the_general_parser(
        text in "-?[0-9]{0,20}(\\.[0-9]{0,20})?([eE][-+]?[0-9]{0,2})?",
    ) {
        prop_assert_eq!(decimal(&text), slowly(&text));
    }

    #[test]
    fn decimals_agree_whatever_the_bytes(text in "[-+.eE0-9 n]{0,8}") {
        prop_assert_eq!(decimal(&text), slowly(&text));
    }
}
