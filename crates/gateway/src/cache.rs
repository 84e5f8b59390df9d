//! Answers that say they may be kept, for as long as they say. No clock: the moment comes in.
//!
//! A shared cache as RFC 9111 has it, and stricter: only whole answers (200) to `GET`, only those
//! that are marked `public` or `s-maxage`, since every request carries a key, and nothing stale ever.
//! What differs by any other header than those two of [`CacheKey`] is not kept.

mod kept;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AGE, CACHE_CONTROL, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE, SET_COOKIE, VARY,
};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

pub(crate) use kept::Kept;

/// Largest answer that is kept: sixteen of them fit into the default cache.
pub(crate) const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Answers of which a copy is made while they pass: what slow clients can have held in memory.
pub(crate) const COPIES_MAX: usize = 16;

/// Headers with which a client wants something that only the backend can say.
static CONDITIONS: [HeaderName; 8] = [
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    PRAGMA,
    CACHE_CONTROL,
];

/// What an answer is the answer to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CacheKey {
    /// Authority, path and query; the scheme is always the same.
    uri: String,
    accept: Vec<u8>,
    accept_encoding: Vec<u8>,
}

impl CacheKey {
    /// The key of a request; `None` if its answer must come from the backend.
    pub(crate) fn of(method: &Method, uri: &http::Uri, headers: &HeaderMap) -> Option<CacheKey> {
        let is_plain =
            method == Method::GET && !headers.keys().any(|name| CONDITIONS.contains(name));
        let bytes = |name| {
            let values: Vec<&[u8]> =
                headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            values.join(&b'\n')
        };
        is_plain.then(|| CacheKey {
            uri: [
                uri.authority().map_or("", Authority::as_str),
                uri.path_and_query().map_or("", PathAndQuery::as_str),
            ]
            .concat(),
            accept: bytes(ACCEPT),
            accept_encoding: bytes(ACCEPT_ENCODING),
        })
    }
}

/// How long an answer may be kept; `None` if it may not.
pub(crate) fn freshness(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if status != StatusCode::OK || headers.contains_key(SET_COOKIE) || !varies_little(headers) {
        return None;
    }
    let (mut is_public, mut max_age, mut shared) = (false, None, None);
    for directive in tokens(headers, &CACHE_CONTROL) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let seconds = || value.trim_matches('"').parse::<u64>().ok().map(Duration::from_secs);
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" | "private" | "must-revalidate" | "proxy-revalidate" => {
                return None;
            }
            "public" => is_public = true,
            "max-age" => max_age = Some(seconds()?),
            "s-maxage" => shared = Some(seconds()?),
            _ => {}
        }
    }
    let allowed = shared.or(max_age.filter(|_| is_public))?;
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()).and_then(|age| age.parse().ok());
    let left = allowed.checked_sub(Duration::from_secs(age.unwrap_or(0)))?;
    (!left.is_zero()).then_some(left)
}

/// Leaves to a client's own cache what the gateway's may keep: one between the two, of a proxy or
/// a network, asks nobody for a key.
pub(crate) fn for_client(headers: &mut HeaderMap) {
    fn is_shared(directive: &str) -> bool {
        let name = directive.split_once('=').map_or(directive, |(name, _)| name).trim();
        name.eq_ignore_ascii_case("public") || name.eq_ignore_ascii_case("s-maxage")
    }
    if !tokens(headers, &CACHE_CONTROL).any(is_shared) {
        return;
    }
    let left = tokens(headers, &CACHE_CONTROL).filter(|directive| !is_shared(directive));
    let text = std::iter::once("private").chain(left).collect::<Vec<_>>().join(", ");
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(CACHE_CONTROL, value);
    }
}

fn varies_little(headers: &HeaderMap) -> bool {
    tokens(headers, &VARY).all(|name| {
        name.eq_ignore_ascii_case("accept") || name.eq_ignore_ascii_case("accept-encoding")
    })
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    // What is not text is one token that matches nothing.
    let texts = values.map(|value| value.to_str().unwrap_or("?"));
    texts.flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty())
}

/// An answer as it goes to clients.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    stored: Instant,
    /// How old it was when it came.
    age: Duration,
    until: Instant,
    /// Counts uses of the cache: the smallest goes first.
    used: u64,
}

/// The answers that are kept.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<CacheKey, Entry>,
    bytes: usize,
    uses: u64,
}

impl Cache {
    /// Finds an answer that is still fresh, with its age.
    pub(crate) fn get(&mut self, key: &CacheKey, now: Instant) -> Option<Answer> {
        let entry = self.entries.get_mut(key).filter(|entry| now < entry.until)?;
        self.uses += 1;
        entry.used = self.uses;
        let mut answer = entry.answer.clone();
        let age = entry.age + now.saturating_duration_since(entry.stored);
        answer.headers.insert(AGE, HeaderValue::from(age.as_secs()));
        Some(answer)
    }

    /// Keeps an answer, and lets others go for it.
    pub(crate) fn put(
        &mut self,
        key: CacheKey,
        answer: Answer,
        fresh: Duration,
        bytes_max: usize,
        now: Instant,
    ) {
        let size = size(&key, &answer);
        self.remove(&key);
        if size > bytes_max {
            return;
        }
        while self.bytes + size > bytes_max {
            let next = self.entries.iter().min_by_key(|(_, entry)| (entry.until > now, entry.used));
            let Some(key) = next.map(|(key, _)| key.clone()) else { break };
            self.remove(&key);
        }
        self.uses += 1;
        self.bytes += size;
        let age = answer.headers.get(AGE).and_then(|age| age.to_str().ok());
        let age = Duration::from_secs(age.and_then(|age| age.parse().ok()).unwrap_or(0));
        let entry = Entry { answer, stored: now, age, until: now + fresh, used: self.uses };
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &CacheKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= size(key, &entry.answer);
        }
    }
}

/// About what an entry takes.
fn size(key: &CacheKey, answer: &Answer) -> usize {
    /// For the maps around it.
    const OVERHEAD: usize = 256;
    let headers = answer.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    let key = key.uri.len() + key.accept.len() + key.accept_encoding.len();
    OVERHEAD + key + headers.sum::<usize>() + answer.body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value);
        }
        headers
    }

    fn key(uri: &str) -> CacheKey {
        CacheKey::of(&Method::GET, &uri.parse().unwrap(), &HeaderMap::new()).unwrap()
    }

    fn answer(length: usize) -> Answer {
        Answer { headers: HeaderMap::new(), body: vec![b'x'; length].into() }
    }

    #[test]
    fn only_what_says_so_is_kept() {
        let fresh = |lines: &[_]| freshness(StatusCode::OK, &headers(lines));
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (text, expected) in [
            ("public, max-age=5", seconds(5)),
            ("max-age=5", None),
            ("s-maxage=7", seconds(7)),
            ("public, max-age=5, s-maxage=7", seconds(7)),
            ("PUBLIC, Max-Age=\"5\"", seconds(5)),
            ("public, max-age=0", None),
            ("public, max-age=-5", None),
            ("public, max-age=5, no-store", None),
            ("public, max-age=5, private", None),
            ("public", None),
            ("", None),
        ] {
            let lines = [("cache-control", text)];
            assert_eq!(fresh(&lines), expected, "{text}");
            assert_eq!(freshness(StatusCode::NOT_FOUND, &headers(&lines)), None);
        }
        let public = ("cache-control", "public, max-age=10");
        assert_eq!(fresh(&[public, ("age", "4")]), seconds(6));
        assert_eq!(fresh(&[public, ("age", "10")]), None);
        assert_eq!(fresh(&[public, ("vary", "accept")]), seconds(10));
        assert_eq!(fresh(&[public, ("vary", "Accept, Origin")]), None);
        assert_eq!(fresh(&[public, ("vary", "*")]), None);
        assert_eq!(fresh(&[public, ("set-cookie", "a=b")]), None);
    }

    #[test]
    fn what_the_services_say_of_their_answers_is_understood() {
        use axum::response::IntoResponse as _;
        let kept = Duration::from_mins(5);
        let answer = (web::Keep(kept), "rows").into_response();
        assert_eq!(freshness(answer.status(), answer.headers()), Some(kept));
        let live = (None::<web::Keep>, "rows").into_response();
        assert_eq!(freshness(live.status(), live.headers()), None);
    }

    #[test]
    fn a_request_with_a_condition_goes_to_the_backend() {
        let uri = "http://x/a".parse().unwrap();
        for name in ["range", "if-none-match", "cache-control", "pragma"] {
            let headers = headers(&[(name, "x")]);
            assert_eq!(CacheKey::of(&Method::GET, &uri, &headers), None, "{name}");
        }
        assert_eq!(CacheKey::of(&Method::HEAD, &uri, &HeaderMap::new()), None);
        let other = CacheKey::of(&Method::GET, &uri, &headers(&[("accept", "text/csv")])).unwrap();
        assert_ne!(other, key("http://x/a"));
        let twice = [("accept", "text/csv"), ("accept", "application/json")];
        let twice = CacheKey::of(&Method::GET, &uri, &headers(&twice)).unwrap();
        assert_ne!(twice, other, "every line counts");
    }

    #[test]
    fn an_answer_is_kept_until_its_time_is_over_and_tells_its_age() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let fresh = Duration::from_secs(5);
        cache.put(key("/a"), answer(10), fresh, 1 << 20, now);
        let later = now + Duration::from_secs(3);
        assert_eq!(cache.get(&key("/a"), later).unwrap().headers[AGE], "3");
        assert!(cache.get(&key("/a"), now + fresh).is_none());
        assert!(cache.get(&key("/b"), now).is_none());
    }

    #[test]
    fn memory_is_bounded_and_what_was_used_last_stays() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let fresh = Duration::from_secs(5);
        let most = 100_000;
        for number in 0..1_000 {
            cache.put(key(&format!("/{number}")), answer(1_000), fresh, most, now);
            assert!(cache.bytes <= most);
            assert!(cache.get(&key("/0"), now).is_some());
        }
        cache.put(key("/huge"), answer(most), fresh, most, now);
        assert!(cache.get(&key("/huge"), now).is_none());
        let sum: usize = cache.entries.iter().map(|(key, entry)| size(key, &entry.answer)).sum();
        assert_eq!(sum, cache.bytes);
    }
}
