//! The dashboard at `/`: the page, its style and its modules, as they are in `assets/`.
//!
//! They hold no figure and are given to everybody. What the page shows it asks for like any other
//! client, with the key or the tokens of whoever looks at it.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::refusal::Refusal;

/// Files of the gateway's own origin and nothing else. A form sends nothing by itself, and no text
/// becomes markup or code (`require-trusted-types-for` where a browser knows it).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const MODULE: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// One file of the page.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

macro_rules! asset {
    ($name:literal, $content_type:expr) => {
        asset!(concat!("/assets/", $name), $name, $content_type)
    };
    ($path:expr, $name:literal, $content_type:expr) => {
        Asset {
            path: $path,
            content_type: $content_type,
            content: include_str!(concat!("../assets/", $name)),
        }
    };
}

static ASSETS: [Asset; 28] = [
    asset!("/", "index.html", HTML),
    asset!("style.css", CSS),
    asset!("icon.svg", IMAGE),
    asset!("book.js", MODULE),
    asset!("candles.js", MODULE),
    asset!("clock.js", MODULE),
    asset!("coverage.js", MODULE),
    asset!("dom.js", MODULE),
    asset!("findings.js", MODULE),
    asset!("flows.js", MODULE),
    asset!("format.js", MODULE),
    asset!("fresh.js", MODULE),
    asset!("judge.js", MODULE),
    asset!("ladder.js", MODULE),
    asset!("link.js", MODULE),
    asset!("main.js", MODULE),
    asset!("market.js", MODULE),
    asset!("rates.js", MODULE),
    asset!("services.js", MODULE),
    asset!("session.js", MODULE),
    asset!("sign-in.js", MODULE),
    asset!("silences.js", MODULE),
    asset!("sources.js", MODULE),
    asset!("stream.js", MODULE),
    asset!("tape.js", MODULE),
    asset!("tasks.js", MODULE),
    asset!("text.js", MODULE),
    asset!("venues.js", MODULE),
];

/// The entity tags of [`ASSETS`], from what is in them.
static TAGS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    let tag = |asset: &Asset| {
        // Half of the hash is more than enough to tell versions of a file apart.
        let hash = &Sha256::digest(asset.content)[..16];
        let tag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(hash));
        HeaderValue::try_from(tag).expect("base64 fits a header")
    };
    ASSETS.iter().map(tag).collect()
});

/// Answers with a file, or that the browser has it already.
///
/// A browser may keep a file and asks each time whether it is still the same: after an upgrade no
/// page is made of files of two versions for longer than it is open.
pub(crate) fn answer(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    if method != Method::GET && method != Method::HEAD {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this can only be read"));
    }
    let found = ASSETS.iter().zip(&*TAGS).find(|(asset, _)| asset.path == path);
    let Some((asset, tag)) = found else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "there is no such path"));
    };
    let mut response = if web::is_known(headers, tag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = Response::new(Body::from(asset.content));
        let content_type = HeaderValue::from_static(asset.content_type);
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, tag.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

#[cfg(test)]
mod tests;
