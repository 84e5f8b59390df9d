//! Ring 1: what passes and what does not.

use std::net::SocketAddr;

use super::*;

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

fn sent(incoming: &[(&'static str, &'static str)], token: Option<&str>) -> Vec<String> {
    let incoming = headers(incoming);
    let caller = Caller::of(SocketAddr::from(([192, 0, 2, 7], 4)), &incoming, &[]);
    let id = RequestId::of(&headers(&[("x-request-id", "r1")]), 0);
    let token = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    lines(&to_backend(incoming, &caller, &id, token.as_ref()))
}

#[test]
fn a_backend_sees_the_gateways_claims_and_nobody_elses() {
    let incoming = [
        ("accept", "*/*"),
        ("authorization", "Bearer mpk_x"),
        ("content-length", "7"),
        ("expect", "100-continue"),
        ("forwarded", "for=127.0.0.1"),
        ("host", "public.example"),
        ("via", "1.0 cache"),
        ("x-api-key", "mpk_x"),
        ("x-auth-user", "root"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "127.0.0.1"),
        ("x-request-id", "other"),
    ];
    assert_eq!(
        sent(&incoming, Some("internal")),
        [
            "accept: */*",
            "authorization: Bearer internal",
            "via: 1.0 cache",
            "via: 1.1 marketprism-gateway",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: public.example",
            "x-forwarded-proto: http",
            "x-request-id: r1",
        ]
    );
}

#[test]
fn what_concerns_one_connection_stays_on_it() {
    let incoming = [
        ("connection", "close, X-One"),
        ("connection", "x-two,x-request-id"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic x"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers"),
        ("trailer", "x-sum"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("x-one", "1"),
        ("x-three", "3"),
        ("x-two", "2"),
    ];
    assert_eq!(
        sent(&incoming, None),
        [
            "via: 1.1 marketprism-gateway",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-proto: http",
            "x-request-id: r1",
            "x-three: 3",
        ]
    );
}

#[test]
fn the_length_of_an_answer_passes_only_where_no_body_follows() {
    let backend = [
        ("connection", "x-hop"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("x-hop", "1"),
        ("x-kept", "2"),
    ];
    for (method, status, expected) in [
        (Method::GET, StatusCode::OK, vec!["x-kept: 2"]),
        (Method::HEAD, StatusCode::OK, vec!["content-length: 5", "x-kept: 2"]),
        (Method::GET, StatusCode::NOT_MODIFIED, vec!["content-length: 5", "x-kept: 2"]),
    ] {
        let mut answer = headers(&backend);
        to_client(&mut answer, &method, status);
        assert_eq!(lines(&answer), expected);
    }
}

#[test]
fn the_word_of_a_websocket_passes_where_one_is_opened_or_has_to_be_asked_for() {
    let backend = [("connection", "x-hop, upgrade"), ("upgrade", "WebSocket"), ("x-hop", "1")];
    let named = vec!["connection: Upgrade", "upgrade: websocket"];
    for (status, expected) in [
        (StatusCode::SWITCHING_PROTOCOLS, named.clone()),
        (StatusCode::UPGRADE_REQUIRED, named),
        (StatusCode::OK, Vec::new()),
    ] {
        let mut answer = headers(&backend);
        to_client(&mut answer, &Method::GET, status);
        assert_eq!(lines(&answer), expected, "{status}");
    }
    assert!(!names_websocket(&headers(&[("upgrade", "websocket")])));
    assert!(!names_websocket(&headers(&[("connection", "upgrade"), ("upgrade", "h2c")])));
}

#[test]
fn an_address_reads_as_it_does_elsewhere() {
    for text in ["0.0.0.0", "9.10.99.100", "255.255.255.255", "::1", "2001:db8::7"] {
        let written = address(text.parse().unwrap()).unwrap();
        assert_eq!(written, text);
    }
}
