//! Ring 1: contracts are multiplied out exactly, or not at all.

use super::*;
use proptest::prelude::*;

fn qty(text: &str) -> Qty {
    text.parse().unwrap()
}

#[test]
fn contracts_become_what_they_stand_for() {
    for (size, contracts, expected) in [
        ("0.01", "24.31", Some("0.2431")),
        ("100", "7", Some("700")),
        ("10000000", "19979", Some("199790000000")),
        ("0.1", "0", Some("0")),
        ("0.00001", "0.00000000000001", None),
        ("0.5", "0.000000000000000002", Some("0.000000000000000001")),
        ("0.5", "0.000000000000000001", None),
        ("100000000000", "100000000000", None),
    ] {
        let size = ContractSize::new(Some(qty(size)));
        assert_eq!(size.multiply(qty(contracts)), expected.map(qty), "{size:?} {contracts}");
    }
    assert_eq!(ContractSize::new(None), ContractSize::ONE);
    assert_eq!(ContractSize::new(Some(Qty::ZERO)), ContractSize::ONE);
    assert_eq!(ContractSize::new(Some(qty("-1"))), ContractSize::ONE);
}

proptest! {
    #[test]
    fn the_short_way_is_the_long_way(
        size in "[1-9][0-9]{0,6}|0\\.[0-9]{0,7}[1-9]", mantissa: u64, places in 0_u32..=18,
    ) {
        let size = ContractSize::new(Some(qty(&size)));
        let long = Qty::from_raw(i128::from(mantissa) * POW10[(SCALE - places) as usize]);
        if let Some(short) = size.of(mantissa, places) {
            prop_assert_eq!(size.multiply(long), Some(short));
        }
    }

    #[test]
    fn multiplying_is_repeated_addition(size in 1_i128..1_000_000, contracts in 0_i128..50) {
        let one = Qty::from_raw(size * 1_000);
        let size = ContractSize::new(Some(one));
        let contracts_qty = Qty::from_raw(contracts * POW10[SCALE as usize]);
        prop_assert_eq!(size.multiply(contracts_qty), Some(Qty::from_raw(one.raw() * contracts)));
    }
}
