//! How many requests each client may send. No clock: the moment comes in.
//!
//! The generic cell rate algorithm (ITU-T I.371, Annex A): a client's allowance is a time at which
//! all of it will be there again, which every request moves on. One number per client is exact,
//! needs no timer, and cannot be played at the edge of a window.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};

const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Room for the values of the five headers together; more is possible, and costs a copy.
const TEXT_BYTES: usize = 128;

/// Clients that are remembered at a time: 8,192 of them are about half a megabyte.
const CLIENTS_MAX: usize = 8_192;

/// So many requests within so much time; all at once, if the client likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) requests: u32,
    pub(crate) window: Duration,
}

/// What a client has left after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The name of the limit.
    pub(crate) policy: &'static str,
    pub(crate) quota: Quota,
    /// Requests that may follow at once.
    pub(crate) remaining: u32,
    /// Until one more than that may; never zero.
    pub(crate) reset: Duration,
    /// Whether this request may pass.
    pub(crate) passes: bool,
}

/// Counts the requests of each client.
#[derive(Debug)]
pub(crate) struct Meter<K> {
    policy: &'static str,
    /// When each client's allowance is whole again.
    whole: BTreeMap<K, Instant>,
}

impl<K: Ord> Meter<K> {
    /// A meter whose limit has this name in the answers.
    pub(crate) fn new(policy: &'static str) -> Meter<K> {
        Meter { policy, whole: BTreeMap::new() }
    }

    /// Counts a request, unless it must not pass.
    pub(crate) fn take(&mut self, client: K, quota: Quota, now: Instant) -> Standing {
        let cost = quota.window / quota.requests.max(1);
        // The window in whole costs, so that exactly as many requests fit as there should.
        let burst = cost * quota.requests.max(1);
        let before = self.whole.get(&client).map_or(now, |whole| (*whole).max(now));
        let after = before + cost;
        let passes = after - now <= burst;
        if passes {
            self.remember(client, after, now);
        }
        let whole = if passes { after } else { before };
        let room = burst.saturating_sub(whole - now);
        let remaining = u32::try_from(room.as_nanos() / cost.as_nanos().max(1)).unwrap_or(u32::MAX);
        // One more may pass once the debt has shrunk to what leaves room for it.
        let wanted = burst.saturating_sub(cost * remaining.saturating_add(1));
        let reset = (whole - now).saturating_sub(wanted).max(Duration::from_nanos(1));
        Standing { policy: self.policy, quota, remaining, reset, passes }
    }

    fn remember(&mut self, client: K, whole: Instant, now: Instant) {
        if !self.whole.contains_key(&client) && self.whole.len() >= CLIENTS_MAX {
            self.forget(now);
        }
        self.whole.insert(client, whole);
    }

    /// Makes room: whoever has a whole allowance needs no entry; if all owe something, the quarter
    /// that owes the least is let off.
    fn forget(&mut self, now: Instant) {
        self.whole.retain(|_, whole| *whole > now);
        // A quarter at least: with less, every newcomer would have the table searched.
        if self.whole.len() <= CLIENTS_MAX / 4 * 3 {
            return;
        }
        let mut moments: Vec<Instant> = self.whole.values().copied().collect();
        let middle = moments.len() / 4;
        let (_, quartile, _) = moments.select_nth_unstable(middle);
        let quartile = *quartile;
        self.whole.retain(|_, whole| *whole > quartile);
    }
}

impl Standing {
    /// Writes it as the draft and as the older headers have it.
    ///
    /// `RateLimit` and `RateLimit-Policy` are structured-field lists
    /// (draft-ietf-httpapi-ratelimit-headers-10, read 2026-11-22); `t` is never zero.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Standing { policy, quota, remaining, .. } = self;
        let Quota { requests, window } = quota;
        let (requests, remaining) = (u64::from(*requests), u64::from(*remaining));
        let seconds = seconds(self.reset);
        let mut text = BytesMut::with_capacity(TEXT_BYTES);
        let whole = item(&mut text, policy, [(";q=", requests), (";w=", window.as_secs())]);
        headers.insert(RATELIMIT_POLICY, whole);
        let left = item(&mut text, policy, [(";r=", remaining), (";t=", seconds)]);
        headers.insert(RATELIMIT, left);
        for (name, number) in [
            (X_RATELIMIT_LIMIT, requests),
            (X_RATELIMIT_REMAINING, remaining),
            (X_RATELIMIT_RESET, seconds),
        ] {
            write_number(&mut text, number);
            headers.insert(name, value(&mut text));
        }
    }
}

/// Writes the one item of a structured-field list, with its two parameters.
fn item(text: &mut BytesMut, policy: &str, parameters: [(&str, u64); 2]) -> HeaderValue {
    for part in ["\"", policy, "\""] {
        text.extend_from_slice(part.as_bytes());
    }
    for (name, number) in parameters {
        text.extend_from_slice(name.as_bytes());
        write_number(text, number);
    }
    value(text)
}

fn write_number(text: &mut BytesMut, number: u64) {
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Cuts off what has been written, without a copy.
fn value(text: &mut BytesMut) -> HeaderValue {
    let value = HeaderValue::from_maybe_shared(text.split().freeze());
    value.expect("digits and names fit a header")
}

/// Whole seconds, rounded up: a client that comes back then must get in.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUOTA: Quota = Quota { requests: 100, window: Duration::from_secs(60) };

    #[test]
    fn a_hundred_pass_at_once_and_the_next_waits_for_its_share() {
        let (mut meter, now) = (Meter::new("key"), Instant::now());
        for left in (0..100).rev() {
            let standing = meter.take(1, QUOTA, now);
            assert!(standing.passes);
            assert_eq!(standing.remaining, left);
            assert!(standing.reset > Duration::ZERO);
        }
        let refused = meter.take(1, QUOTA, now);
        assert!(!refused.passes);
        assert_eq!((refused.remaining, refused.reset), (0, Duration::from_millis(600)));
        assert!(meter.take(2, QUOTA, now).passes, "others are not affected");
        assert!(!meter.take(1, QUOTA, now + Duration::from_millis(599)).passes);
        assert!(meter.take(1, QUOTA, now + Duration::from_millis(600)).passes);
        let later = meter.take(1, QUOTA, now + Duration::from_secs(3_600));
        assert_eq!(later.remaining, 99, "rest saves up no more than the window's worth");
    }

    #[test]
    fn memory_is_bounded_and_who_owes_most_is_remembered() {
        let (mut meter, now) = (Meter::new("address"), Instant::now());
        while meter.take(0, QUOTA, now).passes {}
        for client in 1..50_000_u32 {
            meter.take(client, QUOTA, now);
            assert!(meter.whole.len() <= CLIENTS_MAX);
        }
        assert!(!meter.take(0, QUOTA, now).passes);
    }

    #[test]
    fn the_headers_are_those_of_the_draft_and_the_older_three() {
        let (mut meter, now) = (Meter::new("key"), Instant::now());
        let mut headers = HeaderMap::new();
        meter.take(1, QUOTA, now).write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"key\";q=100;w=60");
        assert_eq!(headers["ratelimit"], "\"key\";r=99;t=1");
        assert_eq!(headers["x-ratelimit-limit"], "100");
        assert_eq!(headers["x-ratelimit-remaining"], "99");
        assert_eq!(headers["x-ratelimit-reset"], "1");
    }

    #[test]
    fn the_largest_figures_have_room_in_the_headers() {
        let quota = Quota { requests: u32::MAX, window: Duration::from_secs(u64::MAX) };
        let reset = Duration::from_secs(u64::MAX);
        let remaining = u32::MAX;
        let standing = Standing { policy: "address", quota, remaining, reset, passes: true };
        let mut headers = HeaderMap::new();
        standing.write(&mut headers);
        let policy = "\"address\";q=4294967295;w=18446744073709551615";
        assert_eq!(headers["ratelimit-policy"], policy);
        assert_eq!(headers["ratelimit"], "\"address\";r=4294967295;t=18446744073709551615");
        assert_eq!(headers["x-ratelimit-reset"], "18446744073709551615");
    }

    proptest! {
        #[test]
        fn what_a_client_is_told_is_true(
            requests in 1..50_u32,
            window_ms in 1_000..100_000_u64,
            waits in proptest::collection::vec(0..3_000_u64, 1..200),
        ) {
            let quota = Quota { requests, window: Duration::from_millis(window_ms) };
            let (mut meter, mut now) = (Meter::new("key"), Instant::now());
            let mut passed = Vec::new();
            for wait in waits {
                now += Duration::from_millis(wait);
                let standing = meter.take(1, quota, now);
                if standing.passes {
                    passed.push(now);
                }
                // As many as it says may follow at once, and one more after the time it names.
                let mut trial = Meter { policy: "key", whole: meter.whole.clone() };
                for _ in 0..standing.remaining {
                    prop_assert!(trial.take(1, quota, now).passes);
                }
                prop_assert!(!trial.take(1, quota, now).passes);
                let mut trial = Meter { policy: "key", whole: meter.whole.clone() };
                for _ in 0..=standing.remaining {
                    prop_assert!(trial.take(1, quota, now + standing.reset).passes);
                }
            }
            // Never more than twice the quota within any window: what was saved, and its share.
            for (first, at) in passed.iter().enumerate() {
                let within = passed[first..].iter().filter(|later| **later - *at < quota.window);
                prop_assert!(within.count() <= 2 * requests as usize);
            }
        }
    }
}
