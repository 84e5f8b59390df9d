//! Which part of a file a request is answered with.

use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method};
use std::ops::Range;

/// What of a file is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Nothing: whoever asks has it.
    Known,
    /// All of it.
    Whole,
    /// These bytes; at least one.
    Range(Range<u64>),
    /// Nothing: what was asked for lies behind the end.
    Beyond,
}

impl Part {
    /// Decides for a file of so many bytes, with this tag if it has one.
    ///
    /// A range that is none, or several at once, is answered with the whole file, as is one of a
    /// file that has changed. Source: RFC 9110, sections 13.1.5, 13.2.2 and 14.2.
    pub(super) fn of(
        method: &Method,
        headers: &HeaderMap,
        tag: Option<&HeaderValue>,
        len: u64,
    ) -> Self {
        if tag.is_some_and(|tag| web::is_known(headers, tag)) {
            return Self::Known;
        }
        // Strong comparison; a date is never the tag.
        let is_same = headers.get(IF_RANGE).is_none_or(|known| tag == Some(known));
        let text = headers.get(RANGE).and_then(|range| range.to_str().ok());
        let asked = text.filter(|_| is_same && method == Method::GET);
        match asked.and_then(|text| range(text, len)) {
            None => Self::Whole,
            Some(range) if range.is_empty() => Self::Beyond,
            Some(range) => Self::Range(range),
        }
    }
}

/// Reads a single range of bytes; it is empty if it lies behind the end.
fn range(text: &str, len: u64) -> Option<Range<u64>> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    // `parse` would take a sign.
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !unit.eq_ignore_ascii_case("bytes") || !is_number(first) || !is_number(last) {
        return None;
    }
    if first.is_empty() {
        let count: u64 = last.parse().ok()?;
        return Some(len.saturating_sub(count)..len);
    }
    let first: u64 = first.parse().ok()?;
    let end = if last.is_empty() {
        len
    } else {
        let last: u64 = last.parse::<u64>().ok().filter(|last| first <= *last)?;
        last.saturating_add(1).min(len)
    };
    Some(first..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{HeaderName, IF_NONE_MATCH};

    fn part(method: &Method, lines: &[(HeaderName, &'static str)]) -> Part {
        let lines =
            lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let tag = HeaderValue::from_static("\"tag\"");
        Part::of(method, &lines.collect(), Some(&tag), 100)
    }

    #[test]
    fn one_range_of_bytes_is_followed_and_anything_else_is_the_whole_file() {
        for (text, expected) in [
            ("bytes=0-0", Part::Range(0..1)),
            ("bytes=10-19", Part::Range(10..20)),
            ("Bytes= 10-19", Part::Range(10..20)),
            ("bytes=90-", Part::Range(90..100)),
            ("bytes=90-1000", Part::Range(90..100)),
            ("bytes=0-18446744073709551615", Part::Range(0..100)),
            ("bytes=-8", Part::Range(92..100)),
            ("bytes=-1000", Part::Range(0..100)),
            ("bytes=-0", Part::Beyond),
            ("bytes=100-", Part::Beyond),
            ("bytes=100-200", Part::Beyond),
            ("bytes=20-10", Part::Whole),
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=", Part::Whole),
            ("rows=0-1", Part::Whole),
            ("0-1", Part::Whole),
            ("bytes=99999999999999999999-", Part::Whole),
        ] {
            assert_eq!(part(&Method::GET, &[(RANGE, text)]), expected, "{text}");
            assert_eq!(part(&Method::HEAD, &[(RANGE, text)]), Part::Whole, "{text}");
        }
        assert_eq!(part(&Method::GET, &[]), Part::Whole);
    }

    #[test]
    fn what_is_known_is_not_sent_and_a_range_is_of_the_same_file() {
        let range = (RANGE, "bytes=0-9");
        for (line, expected) in [
            ((IF_NONE_MATCH, "\"tag\""), Part::Known),
            ((IF_NONE_MATCH, "\"other\""), Part::Range(0..10)),
            ((IF_RANGE, "\"tag\""), Part::Range(0..10)),
            ((IF_RANGE, "W/\"tag\""), Part::Whole),
            ((IF_RANGE, "\"other\""), Part::Whole),
            ((IF_RANGE, "Sat, 09 May 2026 00:00:00 GMT"), Part::Whole),
        ] {
            let text = line.1;
            assert_eq!(part(&Method::GET, &[range.clone(), line]), expected, "{text}");
        }
    }

    #[test]
    fn without_a_tag_nothing_is_known_and_a_condition_fails() {
        let headers = [(IF_NONE_MATCH, "*"), (IF_RANGE, "\"tag\""), (RANGE, "bytes=0-9")];
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
        let headers: HeaderMap = headers.into_iter().collect();
        assert_eq!(Part::of(&Method::GET, &headers, None, 100), Part::Whole);
    }
}
