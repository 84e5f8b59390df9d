//! Which headers pass the gateway, in each direction.
//!
//! Framing is never handed on: hyper writes new framing headers from the body it really sends, so
//! a backend can not be made to see another end of message than the gateway saw.

use std::net::IpAddr;

use bytes::BytesMut;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, HeaderName,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::caller::Caller;
use crate::request_id::{RequestId, X_REQUEST_ID};

/// Where a client may put its key instead of `Authorization`.
pub(crate) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Says on every answer who worded it: `gateway` or `backend`.
pub(crate) const X_SPOKEN_BY: HeaderName = HeaderName::from_static("x-spoken-by");

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How the gateway names itself in `Via` (RFC 9110 §7.6.3 demands it of a gateway).
const VIA_GATEWAY: &str = "1.1 marketprism-gateway";

/// Fields that concern one connection only (RFC 9110 §7.6.1), beside those `Connection` names.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
];

/// Fields that only the gateway may set on a request to a backend.
static OURS: [HeaderName; 8] =
    [HOST, CONTENT_LENGTH, EXPECT, AUTHORIZATION, X_API_KEY, FORWARDED, X_REQUEST_ID, X_SPOKEN_BY];

/// Beginnings of names that only the gateway may set: they claim who the client is.
const CLAIMS: [&str; 3] = ["x-forwarded-", "x-auth-", "x-real-"];

/// Turns a client's headers into those of the request to a backend.
pub(crate) fn to_backend(
    mut headers: HeaderMap,
    caller: &Caller,
    id: &RequestId,
    token: Option<&HeaderValue>,
) -> HeaderMap {
    let host = headers.remove(HOST);
    let protocol = caller.protocol(&headers);
    strip(&mut headers, |name| OURS.contains(name) || is_claim(name));
    headers.append(VIA, HeaderValue::from_static(VIA_GATEWAY));
    headers.insert(X_REQUEST_ID, id.value());
    headers.insert(X_FORWARDED_PROTO, protocol);
    if let Some(address) = address(caller.address) {
        headers.insert(X_FORWARDED_FOR, address);
    }
    if let Some(host) = host {
        headers.insert(X_FORWARDED_HOST, host);
    }
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, token.clone());
    }
    headers
}

/// Removes from a backend's answer what concerned the connection to the backend, but for the word
/// of a WebSocket where one is opened, or has to be asked for.
pub(crate) fn to_client(headers: &mut HeaderMap, method: &Method, status: StatusCode) {
    const SPEAK_OF_IT: [StatusCode; 2] =
        [StatusCode::SWITCHING_PROTOCOLS, StatusCode::UPGRADE_REQUIRED];
    let is_websocket = SPEAK_OF_IT.contains(&status) && names_websocket(headers);
    // Where no body follows, the length is information, not framing.
    let is_information = method == Method::HEAD || status == StatusCode::NOT_MODIFIED;
    strip(headers, |name| *name == CONTENT_LENGTH && !is_information);
    if is_websocket {
        name_websocket(headers);
    }
}

/// Whether a message speaks of the connection's becoming a WebSocket (RFC 6455 §4.1 and §4.2.2).
pub(crate) fn names_websocket(headers: &HeaderMap) -> bool {
    lists(headers, &CONNECTION, "upgrade") && lists(headers, &UPGRADE, "websocket")
}

/// Has a message speak of it.
pub(crate) fn name_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|item| item.trim().eq_ignore_ascii_case(wanted))
}

/// Removes what concerns one connection only, and what else is condemned.
///
/// The names that are there are looked at: they are few, and finding out that one is not there
/// takes as long as removing it.
fn strip(headers: &mut HeaderMap, condemned: impl Fn(&HeaderName) -> bool) {
    let named = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok());
    let found = headers.keys().filter(|name| HOP_BY_HOP.contains(name) || condemned(name));
    let names: Vec<HeaderName> = found.cloned().chain(named).collect();
    for name in names {
        headers.remove(name);
    }
}

fn is_claim(name: &HeaderName) -> bool {
    CLAIMS.iter().any(|claim| name.as_str().starts_with(claim))
}

/// Writes an address as a header's value.
fn address(address: IpAddr) -> Option<HeaderValue> {
    let octets = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => return HeaderValue::try_from(address.to_string()).ok(),
    };
    let mut text = BytesMut::with_capacity("255.255.255.255".len());
    for (index, octet) in octets.into_iter().enumerate() {
        if index > 0 {
            text.extend_from_slice(b".");
        }
        text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
    HeaderValue::from_maybe_shared(text.freeze()).ok()
}

#[cfg(test)]
mod tests;
