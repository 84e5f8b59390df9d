//! Entity tags.

use http::header::IF_NONE_MATCH;
use http::{HeaderMap, HeaderValue};

/// Whether the client has what this tag stands for, by `If-None-Match`; tags compare weakly.
///
/// Source: RFC 9110, section 13.1.2.
#[must_use]
pub fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|known| {
        known == "*" || known.strip_prefix("W/").unwrap_or(known).as_bytes() == tag.as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_if_any_list_has_it() {
        let tag = HeaderValue::from_static("\"abc\"");
        let cases: [(&[&'static str], bool); 7] = [
            (&[], false),
            (&["\"abc\""], true),
            (&["\"x\", W/\"abc\""], true),
            (&["\"x\"", "\"abc\""], true),
            (&["*"], true),
            (&["abc"], false),
            (&["\"x\", \"y\""], false),
        ];
        for (lists, expected) in cases {
            let mut headers = HeaderMap::new();
            for list in lists.iter().copied() {
                headers.append(IF_NONE_MATCH, HeaderValue::from_static(list));
            }
            assert_eq!(is_known(&headers, &tag), expected, "{lists:?}");
        }
    }
}
