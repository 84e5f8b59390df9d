//! Ring 1: the cursor accepts nothing that a JSON parser would read differently.

use super::*;
use proptest::prelude::*;

fn decimal(text: &str) -> Option<i128> {
    let quoted = format!("\"{text}\"");
    let mut cursor = Cursor::new(quoted.as_bytes());
    cursor.decimal().filter(|_| cursor.is_done())
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
}
