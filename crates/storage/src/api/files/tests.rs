//! Files in pieces, and their sums.

use super::*;
use futures_util::StreamExt as _;
use http::HeaderName;
use http_body_util::BodyExt as _;

fn archived(name: &str, sha256: Option<&str>) -> ArchivedFile {
    ArchivedFile {
        path: format!("kind=trade/venue=okx/market=spot/date=2026-05-09/{name}").into(),
        venue: Venue::Okx,
        market: Market::Spot,
        day: 20_582,
        rows: 3,
        bytes: 100,
        sha256: sha256.map(str::to_owned),
    }
}

/// A file of several pieces, and what is in it.
fn sample() -> (File, Vec<u8>) {
    let content: Vec<u8> = (0..2 * PIECE_BYTES + 77).map(|at| at.to_le_bytes()[1]).collect();
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&content, 0).unwrap();
    (file, content)
}

#[test]
fn each_sum_is_a_line_and_a_file_without_one_is_a_comment() {
    let files = [archived("a.parquet", Some("0123")), archived("b.parquet", None)];
    let folder = "kind=trade/venue=okx/market=spot/date=2026-05-09";
    let expected = format!(
        "0123  {folder}/a.parquet\n# {folder}/b.parquet: written by a version that took no sum\n"
    );
    assert_eq!(lines(&files), expected);
}

#[tokio::test]
async fn a_range_is_sent_piece_by_piece_and_to_the_byte() {
    let (file, content) = sample();
    let len = 2 * PIECE_BYTES + 77;
    let tag = HeaderValue::from_static("\"tag\"");
    let response = respond(Part::Range(5..len - 1), Some(tag), len, file);
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    let header = |name: HeaderName| response.headers()[name].to_str().unwrap();
    assert_eq!(header(CONTENT_RANGE), format!("bytes 5-{}/{len}", len - 2));
    assert_eq!(header(CONTENT_LENGTH), (len - 6).to_string());
    assert_eq!((header(ETAG), header(ACCEPT_RANGES)), ("\"tag\"", "bytes"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, content[5..content.len() - 1]);
}

#[tokio::test]
async fn what_is_known_has_no_body_and_what_lies_behind_the_end_says_where_that_is() {
    let (file, _) = sample();
    let tag = HeaderValue::from_static("\"tag\"");
    let known = respond(Part::Known, Some(tag), 10, file.try_clone().unwrap());
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(known.headers()[ETAG], "\"tag\"");
    assert!(known.into_body().collect().await.unwrap().to_bytes().is_empty());
    let beyond = respond(Part::Beyond, None, 10, file);
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.headers()[CONTENT_RANGE], "bytes */10");
    assert_eq!(beyond.headers()[CONTENT_TYPE], "application/problem+json");
}

#[tokio::test]
async fn a_file_that_is_shorter_than_listed_breaks_off() {
    let (file, content) = sample();
    let len = u64::try_from(content.len()).unwrap();
    let sent: Vec<io::Result<Bytes>> = pieces(file, 0..len + 1).collect().await;
    assert_eq!(sent.len(), 3);
    let error = sent[2].as_ref().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}
