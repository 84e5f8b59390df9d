//! Ring 1.

use super::Network;

fn contains(network: &str, address: &str) -> bool {
    network.parse::<Network>().unwrap().contains(address.parse().unwrap())
}

#[test]
fn a_network_contains_what_shares_its_leading_bits() {
    assert!(contains("10.0.0.0/8", "10.255.0.1"));
    assert!(!contains("10.0.0.0/8", "11.0.0.1"));
    assert!(contains("0.0.0.0/0", "1.2.3.4"));
    assert!(contains("192.168.1.7", "192.168.1.7"));
    assert!(!contains("192.168.1.7", "192.168.1.8"));
    assert!(contains("fd00::/8", "fd12::1"));
    assert!(contains("::/0", "fd12::1"));
    assert!(!contains("::/0", "1.2.3.4"));
}

#[test]
fn a_mapped_address_counts_as_what_it_maps() {
    assert!(contains("10.0.0.0/8", "::ffff:10.0.0.1"));
}

#[test]
fn what_is_no_network_is_refused() {
    for text in ["10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/-1", "10.0.0.0/", "host", ""] {
        assert!(text.parse::<Network>().is_err(), "{text}");
    }
}
