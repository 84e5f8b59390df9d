//! Ring 1: the cursor accepts nothing that a JSON parser would read differently.

use super::*;
use proptest::prelude::*;

fn decimal(text: &str) -> Option<i128> {
    let quoted = format!("\"{text}\"");
    let mut cursor = Cursor::new(quoted.as_bytes());
    cursor.decimal().filter(|_| cursor.is_done())
}

#[test]
fn integers_are_strict() {
    for (text, value) in [
        ("0,", Some(0)),
        ("12345678,", Some(12_345_678)),
        ("1234567,", Some(1_234_567)),
        ("50093239189,", Some(50_093_239_189)),
        ("9999999999999999999,", Some(9_999_999_999_999_999_999)),
        ("99999999999999999999,", None),
        ("01,", None),
        ("-1,", None),
        (",", None),
    ] {
        let mut cursor = Cursor::new(text.as_bytes());
        let digits = text.strip_suffix(',').unwrap_or_default().as_bytes();
        assert_eq!(cursor.integer(), value.map(|value| (value, digits)), "{text}");
    }
}

#[test]
fn text_with_escapes_or_beyond_ascii_is_left_to_the_general_parser() {
    assert_eq!(Cursor::new(b"BTCUSDT\"").text(), Some(&b"BTCUSDT"[..]));
    for text in ["BTC\\u0041\"", "币安\"", "a\tb\"", "open", "\u{7f}\""] {
        assert_eq!(Cursor::new(text.as_bytes()).text(), None, "{text}");
    }
}

#[test]
fn levels_are_pairs() {
    let mut levels = Vec::new();
    for text in ["[]", r#"[["1.5","2"]]"#, r#"[["1.50000000","0.00000000"],["1","2"]]"#] {
        let mut cursor = Cursor::new(text.as_bytes());
        assert_eq!(cursor.levels(&mut levels), Some(()), "{text}");
        assert!(cursor.is_done());
    }
    assert_eq!(levels[0], ("1.5".parse().unwrap(), Qty::ZERO));
    for text in ["[", "[[]]", r#"[["1"]]"#, r#"[["1","2","3"]]"#, r#"[["1","2"],]"#, "[[1,2]]"] {
        assert_eq!(Cursor::new(text.as_bytes()).levels(&mut levels), None, "{text}");
    }
}

proptest! {
    #[test]
    fn decimals_agree_with_the_general_parser(text in "[0-9]{0,14}(\\.[0-9]{0,10})?[-e]?[0-9]?") {
        let general = Price::parse(text.as_bytes()).ok().map(Price::raw);
        prop_assert_eq!(decimal(&text), general);
    }

    #[test]
    fn eight_places_agree_whatever_the_bytes(integer in 0_u64..99_999_999_999, places: [u8; 8]) {
        if let Ok(places) = std::str::from_utf8(&places)
            && !places.contains(['"', '\\'])
        {
            let text = format!("{integer}.{places}");
            prop_assert_eq!(decimal(&text), Price::parse(text.as_bytes()).ok().map(Price::raw));
        }
    }

    #[test]
    fn eight_digits_are_their_number(number in 0_u64..100_000_000) {
        let text = format!("{number:08}");
        prop_assert_eq!(eight_digits(text.as_bytes().try_into().unwrap()), Some(number));
    }
}
