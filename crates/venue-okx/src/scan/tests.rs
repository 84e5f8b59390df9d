//! Ring 1: the cursor accepts nothing that a JSON parser would read differently.

use super::*;
use proptest::prelude::*;

fn whole<'a, T>(text: &'a str, read: impl FnOnce(&mut Cursor<'a>) -> Option<T>) -> Option<T> {
    let mut cursor = Cursor::new(text.as_bytes());
    read(&mut cursor).filter(|_| cursor.is_done())
}

#[test]
fn integers_are_strict() {
    for (text, value) in [
        ("0\"", Some(0)),
        ("342177337711\"", Some(342_177_337_711)),
        ("9999999999999999999\"", Some(9_999_999_999_999_999_999)),
        ("99999999999999999999\"", None),
        ("01\"", None),
        ("-1\"", None),
        ("\"", None),
        ("1", None),
    ] {
        let digits = text.strip_suffix('"').unwrap_or_default().as_bytes();
        let read = whole(text, Cursor::quoted_integer);
        assert_eq!(read, value.map(|value| (value, digits)), "{text}");
    }
}

#[test]
fn levels_have_four_members() {
    let mut levels = Vec::new();
    let mut read = |text| whole(text, |cursor| cursor.levels(ContractSize::ONE, &mut levels));
    for text in ["[]", r#"[["1.5","2","0","1"]]"#, r#"[["1.5","2","","1"],["1","0","0","0"]]"#] {
        assert_eq!(read(text), Some(()), "{text}");
    }
    for text in [
        "[",
        "[[]]",
        r#"[["1"]]"#,
        r#"[["1","2"]]"#,
        r#"[["1","2","0","1","9"]]"#,
        r#"[["1","2","0","1"],]"#,
        r#"[["1","2","0","-1"]]"#,
        "[[1,2,0,1]]",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn decimals_agree_with_the_general_parser(
        text in "[0-9]{0,21}(\\.[0-9]{0,21})?[-e]?[0-9]?|[0-9]{1,7}\\.[0-9]{1,9}",
    ) {
        let read = whole(&format!("{text}\""), Cursor::price);
        let general = Price::parse(text.as_bytes()).ok();
        if let Some(price) = read {
            prop_assert_eq!(general, Some(price));
        }
        // The usual form is never left over.
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        if digits <= 19 && general.is_some() && !text.contains(['e', '-']) {
            prop_assert!(read.is_some(), "{}", text);
        }
    }
}
