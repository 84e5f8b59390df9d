//! How long candles are and when they begin, and a venue's words for it.

/// Milliseconds of a second.
const SECOND_MS: i64 = 1_000;

/// Seconds of a minute and of an hour, hours of a day.
const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 24;

/// The length of candles. Months have none: they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    length_ms: i64,
    /// When one of them begins, counted from the Unix epoch.
    offset_ms: i64,
}

impl Interval {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(count: i64) -> Self {
        Self { length_ms: count * SECOND_MS, offset_ms: 0 }
    }

    /// So many minutes.
    #[must_use]
    pub const fn minutes(count: i64) -> Self {
        Self::seconds(count * MINUTE)
    }

    /// So many hours.
    #[must_use]
    pub const fn hours(count: i64) -> Self {
        Self::seconds(count * HOUR)
    }

    /// So many days.
    #[must_use]
    pub const fn days(count: i64) -> Self {
        Self::hours(count * DAY)
    }

    /// A week, which begins on Monday: the epoch was a Thursday.
    #[must_use]
    pub const fn week() -> Self {
        Self::days(7).later(4 * DAY)
    }

    /// The same length, each beginning so many hours later; earlier if negative.
    #[must_use]
    pub const fn later(self, hours: i64) -> Self {
        let Self { length_ms, offset_ms } = self;
        Self { length_ms, offset_ms: offset_ms + hours * HOUR * SECOND_MS }
    }

    /// How long one is, in milliseconds.
    #[must_use]
    pub const fn length_ms(self) -> i64 {
        self.length_ms
    }

    /// When the one began that is under way at a time.
    #[must_use]
    pub const fn open_ms(self, now_ms: i64) -> i64 {
        now_ms - (now_ms - self.offset_ms).rem_euclid(self.length_ms)
    }
}

/// A venue's words for the intervals of its candles.
#[derive(Debug, Clone, Copy)]
pub struct Words(pub &'static [(&'static str, Interval)]);

impl Words {
    /// What a word stands for.
    #[must_use]
    pub fn interval(self, word: &str) -> Option<Interval> {
        let found = self.0.iter().find(|(known, _)| *known == word);
        found.map(|(_, interval)| *interval)
    }

    /// The word for an interval, if the venue has such candles.
    #[must_use]
    pub fn word(self, interval: Interval) -> Option<&'static str> {
        self.0.iter().find(|(_, known)| *known == interval).map(|(word, _)| *word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wednesday, 2026-11-25 at 17:43:21.5 UTC.
    const NOW_MS: i64 = 1_795_628_601_500;

    #[test]
    fn candles_begin_at_whole_multiples_of_their_length() {
        let since = |interval: Interval| NOW_MS - interval.open_ms(NOW_MS);
        assert_eq!(since(Interval::seconds(1)), 500);
        assert_eq!(since(Interval::minutes(5)), 201_500);
        assert_eq!(since(Interval::hours(4)), 6_201_500);
        assert_eq!(since(Interval::days(1)), 63_801_500);
        // The day of Hong Kong began at 16:00 UTC.
        assert_eq!(since(Interval::days(1).later(-8)), 6_201_500);
        // Monday was two days before.
        assert_eq!(since(Interval::week()), 2 * 86_400_000 + 63_801_500);
    }

    #[test]
    fn a_word_is_that_of_its_interval() {
        const WORDS: &[(&str, Interval)] =
            &[("1", Interval::minutes(1)), ("60", Interval::hours(1))];
        let words = Words(WORDS);
        assert_eq!(words.interval("60"), Some(Interval::minutes(60)));
        assert_eq!(words.word(Interval::seconds(60)), Some("1"));
        assert_eq!((words.interval("2"), words.word(Interval::days(1))), (None, None));
    }
}
