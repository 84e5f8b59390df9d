//! Ring 1.

use super::{Endpoint, Endpoints};

#[test]
fn an_address_has_no_slash_at_the_end() {
    let endpoint = "http://127.0.0.1:8081/".parse::<Endpoint>().unwrap();
    assert_eq!(format!("{endpoint}/health"), "http://127.0.0.1:8081/health");
    let endpoint = "nats://127.0.0.1:4230".parse::<Endpoint>().unwrap();
    assert_eq!(endpoint.as_str(), "nats://127.0.0.1:4230");
}

#[test]
fn what_is_no_address_of_a_service_is_refused() {
    for text in [
        "127.0.0.1:8081",
        "localhost:8081",
        "http://",
        "http://h/?q=1",
        "http://h/#f",
        "nats://user:secret@h",
        "",
    ] {
        assert!(text.parse::<Endpoint>().is_err(), "{text}");
    }
}

#[test]
fn several_addresses_are_shown_one_after_the_other() {
    let address = |text: &str| text.parse::<Endpoint>().unwrap();
    let both = Endpoints::new(vec![address("nats://a:4222"), address("nats://b:4222")]).unwrap();
    assert_eq!(both.to_string(), "nats://a:4222, nats://b:4222");
    assert_eq!(both.single(), None);
    let one = "nats://a:4222".parse::<Endpoints>().unwrap();
    assert_eq!(one.single(), Some(&address("nats://a:4222")));
    assert_eq!(Endpoints::new(vec![]), None);
}
