//! The page at `/`: the services at a glance, or the question for a key.

use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::checks::Seen;
use crate::gate::Gate;
use crate::pages::{Summary, VERSION};

const STYLE: &str = include_str!("home/style.css");

/// Nothing but our own style sheet, which is known by its hash: no script, no other host.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("base64 fits a header")
});

/// Asks for a key, and says nothing else.
pub(crate) fn ask() -> Response {
    page(
        "<p>This page wants an API key. Send it with the request:</p>\n\
         <section><pre>curl -H 'Authorization: Bearer mpk_...' http://HOST:PORT/</pre></section>\n\
         <p>A key is made on the gateway's host by <code>marketprism keys create</code>.</p>\n",
    )
}

/// Shows the services.
pub(crate) fn status(gate: &Gate, now: Timestamp) -> Response {
    let mut rows = row_of_gateway(gate, now);
    for seen in gate.seen.borrow().iter() {
        rows.push_str(&row(seen, now));
    }
    let summary = Escaped(&Summary::of(gate).to_string()).to_string();
    page(&format!(
        "<p>{summary}</p>\n<section><table>\n<thead><tr><th>Service<th>State<th>Version<th>Since\
         <th>Answers in<th>Remark</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></section>\n\
         <footer>{}</footer>\n",
        now.strftime("%Y-%m-%d %H:%M:%S UTC")
    ))
}

fn row_of_gateway(gate: &Gate, now: Timestamp) -> String {
    let since = Age(now.duration_since(gate.started));
    format!(
        "<tr><td>gateway<td class=\"state ok\">ok<td>{VERSION}<td>{since}<td>–\
         <td class=\"detail\"></tr>\n"
    )
}

fn row(seen: &Seen, now: Timestamp) -> String {
    let state = seen.state.as_str();
    let latency = seen.latency_ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1} ms"));
    format!(
        "<tr><td>{}<td class=\"state {state}\">{state}<td>{}<td>{}<td>{latency}\
         <td class=\"detail\">{}</tr>\n",
        seen.name,
        Escaped(seen.version.as_deref().unwrap_or("–")),
        Age(now.duration_since(seen.since)),
        Escaped(seen.detail.as_deref().unwrap_or_default()),
    )
}

fn page(content: &str) -> Response {
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>MarketPrism</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>MarketPrism</h1>\n{content}</main>\n\
         </body>\n</html>\n"
    );
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Text from elsewhere, harmless within HTML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            other => f.write_char(other),
        })
    }
}

/// A length of time in its two largest units.
struct Age(SignedDuration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs().max(0);
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, _, _) => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{days} d {} h", hours % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_cannot_become_markup() {
        assert_eq!(
            Escaped("<script src='x'>\"&").to_string(),
            "&lt;script src=&#39;x&#39;&gt;&quot;&amp;"
        );
    }

    #[test]
    fn ages_are_told_in_two_units() {
        for (seconds, text) in [
            (-1, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3_725, "1 h 2 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(Age(SignedDuration::from_secs(seconds)).to_string(), text);
        }
    }

    #[test]
    fn the_page_permits_its_own_style_and_nothing_else() {
        let response = ask();
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    }
}
