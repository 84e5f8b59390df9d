//! The description of the interface, and what is the same for several of its routes.

use crate::Storage;
use axum::body::Bytes;
use expect_test::expect_file;

#[test]
fn the_description_is_in_order_and_as_it_is_checked_in() {
    let document = daemon::describe::<Storage>();
    assert_eq!(document.faults(), Vec::<String>::new());
    expect_file!["../../openapi.json"].assert_eq(&document.text());
}

#[test]
fn a_body_that_may_be_left_out_is_an_object_or_nothing() {
    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Wish {
        day: Option<String>,
    }
    let read =
        |text: &'static str| super::optional::<Wish>(Ok(Bytes::from_static(text.as_bytes())));
    for nothing in ["", "null", "{}"] {
        assert_eq!(read(nothing).unwrap(), Wish::default(), "{nothing}");
    }
    for wrong in ["[null]", "[]", "3", "{\"day\":"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
