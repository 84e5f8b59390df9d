//! What the fuzzers call, and the tests that replay their corpora: what strangers may send before
//! anybody knows who they are.

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use keyring::{Rejection, Ring};
use secrecy::SecretString;

use crate::access::{Shown, shown};
use crate::routes::Target;
use crate::stream::message::{REQUEST_BYTES_MAX, Request, subscribed};
use crate::tokens::{Claims, Holder, Signer, Use};

/// Headers that are read of an input; a request has fewer.
const HEADERS_MAX: usize = 64;

/// What the tokens of the corpus are signed with.
const SECRET: &str = "what the fuzzers sign with";

/// When the tokens are looked at, in seconds since the Unix epoch.
const NOW: i64 = 1_800_000_000;

/// Reads bytes as the headers of a request, one a line, and as the claims of a token of ours.
///
/// Says whether there was a key in the right form or a token that is good.
///
/// # Panics
///
/// If something does not hold that access relies on.
pub fn credentials(data: &[u8]) -> bool {
    let now = Timestamp::from_second(NOW).expect("a time of this century");
    let signer = Signer::new(Some(&SecretString::from(SECRET))).expect("nothing is drawn");
    let mut accepted = is_good(&signer, &signer.sign(data), now);
    let headers = headers(data);
    let (home, stream) = (shown(&headers, Target::Home), shown(&headers, Target::Stream));
    assert!(home == Shown::Nothing || home == stream, "{home:?}, and of a WebSocket {stream:?}");
    if let Shown::Key(text) = stream {
        let holds = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.contains(text));
        assert!(headers.values().any(holds), "`{text}` is in no header");
        accepted |= is_good(&signer, text, now);
        // Whose secret it is, no fuzzer finds out.
        match Ring::default().check(text, now) {
            Err(Rejection::Unknown) => accepted = true,
            Err(Rejection::Malformed) => {}
            Ok(_) | Err(Rejection::Expired) => panic!("`{text}` is known to a ring without keys"),
        }
    }
    accepted
}

fn headers(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(HEADERS_MAX) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// Whether a text is a token that is good for one of the uses; never for both.
fn is_good(signer: &Signer, text: &str, now: Timestamp) -> bool {
    let read = |purpose| signer.read(text, purpose, now).map(|claims| (purpose, claims));
    match (read(Use::Access), read(Use::Refresh)) {
        (Ok(access), Ok(refresh)) => panic!("good for two uses: {access:?}, {refresh:?}"),
        (Ok((purpose, claims)), Err(_)) | (Err(_), Ok((purpose, claims))) => {
            assert!(claims.purpose == purpose && claims.expires > now.as_second(), "{claims:?}");
            can_be_granted(signer, &claims, now);
            true
        }
        (Err(_), Err(_)) => false,
    }
}

/// A token for the same holder says the same.
fn can_be_granted(signer: &Signer, claims: &Claims, now: Timestamp) {
    let Claims { user, generation, session, turn, purpose, .. } = claims;
    let holder = Holder { user, generation, session: *session, turn: *turn };
    let token = signer.grant(holder, *purpose, now);
    let again = signer.read(&token, *purpose, now).expect("what was granted is good");
    assert_eq!((&again.user, &again.generation), (user, generation));
    assert_eq!((again.session, again.turn, again.purpose), (*session, *turn, *purpose));
}

/// Reads bytes as what a client says over a WebSocket, and says whether it can be followed.
///
/// # Panics
///
/// If something does not hold that clients rely on.
pub fn stream_request(data: &[u8]) -> bool {
    let text = std::str::from_utf8(data).ok().filter(|text| text.len() <= REQUEST_BYTES_MAX);
    let Some(text) = text else { return false };
    match Request::read(text) {
        Ok(Request::Subscribe { id, pattern, on_slow: _ }) => {
            let said = subscribed(id, &pattern, None);
            let mut said: serde_json::Value = serde_json::from_str(&said).expect("we write JSON");
            // The confirmation names what was asked for, so that it can be asked for again.
            said["op"] = "subscribe".into();
            said.as_object_mut().expect("it is an object").remove("type");
            let Ok(Request::Subscribe { id: same, pattern: alike, on_slow: _ }) =
                Request::read(&said.to_string())
            else {
                panic!("what was subscribed to cannot be: {said}")
            };
            assert_eq!((same, alike), (id, pattern));
            true
        }
        Ok(Request::SubscribeFrom { id, kind, pattern, on_slow: _, start }) => {
            assert_eq!(pattern.kind, Some(kind), "the order is that of one kind");
            // The confirmation names a point in time, from which on it can be asked for again.
            let at = start.at(NOW * 1_000_000_000);
            let said = subscribed(id, &pattern, Some(at));
            let mut said: serde_json::Value = serde_json::from_str(&said).expect("we write JSON");
            said["op"] = "subscribe".into();
            said.as_object_mut().expect("it is an object").remove("type");
            let Ok(Request::SubscribeFrom { id: same, pattern: alike, start: then, .. }) =
                Request::read(&said.to_string())
            else {
                panic!("what was subscribed to cannot be: {said}")
            };
            assert_eq!((same, alike, then.at(0)), (id, pattern, at));
            true
        }
        Ok(Request::Unsubscribe { id: _ } | Request::Ping) => true,
        Err(mistake) => {
            let len = mistake.message.len();
            assert!((1..=1_000 + 8 * text.len()).contains(&len), "{len} bytes of {mistake:?}");
            false
        }
    }
}
