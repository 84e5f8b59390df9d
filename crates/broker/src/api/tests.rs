//! The description of the interface.

use crate::Broker;
use expect_test::expect_file;

#[test]
fn the_description_is_in_order_and_as_it_is_checked_in() {
    let document = daemon::describe::<Broker>();
    assert_eq!(document.faults(), Vec::<String>::new());
    expect_file!["../../openapi.json"].assert_eq(&document.text());
}
