//! How fast streams grow. Pure: the time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Over how long growth is measured, so that what is removed now and then evens out.
const SPAN: Duration = Duration::from_mins(15);

/// The shortest time that says anything.
const SPAN_MIN: Duration = Duration::from_mins(1);

/// Between two sizes that are kept: thirty of a stream are enough.
const STEP: Duration = Duration::from_secs(30);

/// The sizes of streams within the last [`SPAN`].
#[derive(Debug, Default)]
pub(crate) struct Growth {
    sizes: BTreeMap<&'static str, VecDeque<(Instant, u64)>>,
}

impl Growth {
    /// Notes the size of a stream, and returns how many bytes it has grown a second: less than 0
    /// if it has shrunk, `None` until it has been seen for a minute.
    pub(crate) fn note(&mut self, stream: &'static str, now: Instant, bytes: u64) -> Option<i64> {
        let sizes = self.sizes.entry(stream).or_default();
        while sizes.front().is_some_and(|(at, _)| now.duration_since(*at) > SPAN) {
            sizes.pop_front();
        }
        let first = sizes.front().copied();
        if sizes.back().is_none_or(|(at, _)| now.duration_since(*at) >= STEP) {
            sizes.push_back((now, bytes));
        }
        let (since, before) = first?;
        let elapsed = now.duration_since(since);
        if elapsed < SPAN_MIN {
            return None;
        }
        let grown = i128::from(bytes) - i128::from(before);
        i64::try_from(grown / i128::from(elapsed.as_secs())).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::StreamView;

    #[test]
    fn a_stream_that_grows_says_when_it_is_full() {
        let stream = || StreamView { bytes: 400, bytes_max: 1_000, ..StreamView::default() };
        assert_eq!(stream().growing(Some(10)).full_in_seconds, Some(60));
        for growth in [None, Some(0), Some(-10)] {
            assert_eq!(stream().growing(growth).full_in_seconds, None, "{growth:?}");
        }
        assert_eq!(StreamView::default().growing(Some(10)).full_in_seconds, None, "no limit");
    }

    #[test]
    fn growth_is_that_of_the_last_quarter_of_an_hour() {
        let (mut growth, start) = (Growth::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(growth.note("a", at(0), 1_000), None);
        assert_eq!(growth.note("a", at(59), 1_600), None, "too soon to say");
        assert_eq!(growth.note("a", at(60), 1_600), Some(10));
        assert_eq!(growth.note("b", at(60), 5), None, "another stream");
        for seconds in (65..=900).step_by(5) {
            growth.note("a", at(seconds), 1_000);
        }
        assert_eq!(growth.note("a", at(1_000), 500), Some(0), "less than a byte a second");
        assert_eq!(growth.note("a", at(1_000), 0), Some(-1));
        assert_eq!(growth.note("a", at(9_000), 7), None, "nothing is known of the time before");
    }

    #[test]
    fn few_sizes_are_kept() {
        let (mut growth, start) = (Growth::default(), Instant::now());
        for second in 0..3_600 {
            growth.note("a", start + Duration::from_secs(second), second);
        }
        assert!(growth.sizes["a"].len() <= 31, "{}", growth.sizes["a"].len());
    }
}
