//! Ring 1: the cursor accepts nothing that a JSON parser would read differently.

use super::*;
use proptest::prelude::*;

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

proptest! {
    #[test]
    fn eight_digits_are_their_number(number in 0_u64..100_000_000) {
        let text = format!("{number:08}");
        prop_assert_eq!(eight_digits(text.as_bytes().try_into().unwrap()), Some(number));
    }

    #[test]
    fn integers_are_those_of_the_general_parser(text in "(0|[1-9][0-9]{0,20}|0[0-9]{1,9}|-1|)[,x]") {
        let (digits, end) = text.split_at(text.len() - 1);
        let general = (digits == "0" || !digits.starts_with(['0', '-']))
            .then(|| digits.parse::<u64>().ok())
            .flatten()
            .filter(|_| digits.len() < 20);
        let mut cursor = Cursor::new(text.as_bytes());
        let read = cursor.integer();
        prop_assert_eq!(read, general.map(|value| (value, digits.as_bytes())));
        prop_assert_eq!(cursor.rest, if read.is_some() { end } else { &text }.as_bytes());
    }
}
