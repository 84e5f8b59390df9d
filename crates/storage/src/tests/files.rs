//! Parquet files over HTTP, as a program asks for them that reads a part here and there.

use super::*;
use http::HeaderMap;
use serde_json::json;

/// Asks for what is no JSON.
pub(super) async fn fetch(
    storage: &Running,
    method: &str,
    path: &str,
    lines: &[(&str, &str)],
) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = Request::builder().method(method).uri(format!("/api/v1/storage/{path}"));
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = storage.router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    (head.status, head.headers, body.collect().await.unwrap().to_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_listed_with_its_sum_and_read_as_a_whole_or_in_part() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    storage.acknowledged(Kind::Trade, venue.trades(1..=100).await).await;
    assert_eq!(storage.get("files?kind=trade").await, json!({"data": []}), "not rolled yet");
    storage.call("POST", "/api/v1/storage/cold/archive").await;

    let list = storage.get("files?kind=trade&venue=binance&market=spot&date=2026-05-09").await;
    assert_eq!(list, storage.get("files?kind=trade").await);
    let [file] = &list["data"].as_array().unwrap()[..] else { panic!("one file: {list}") };
    let name = file["path"].as_str().unwrap();
    assert_eq!(name, "kind=trade/venue=binance/market=spot/date=2026-05-09/0000000001.parquet");
    let (sum, path) = (file["sha256"].as_str().unwrap(), format!("files/{name}"));

    let (status, headers, whole) = fetch(&storage, "GET", &path, &[]).await;
    assert_eq!((status, file["rows"].as_u64()), (StatusCode::OK, Some(100)));
    assert_eq!(whole, std::fs::read(dir.path().join("archive/parquet").join(name)).unwrap());
    assert_eq!(headers["etag"], format!("\"{sum}\""));
    assert_eq!(headers["cache-control"], "no-cache");

    let (status, headers, nothing) =
        fetch(&storage, "HEAD", &path, &[("range", "bytes=0-3")]).await;
    assert_eq!((status, nothing.len()), (StatusCode::OK, 0));
    assert_eq!(headers["accept-ranges"], "bytes");
    assert_eq!(headers["content-length"], whole.len().to_string());
    assert_eq!(headers["content-length"], file["bytes"].to_string());

    let (status, headers, tail) = fetch(&storage, "GET", &path, &[("range", "bytes=-8")]).await;
    assert_eq!((status, &tail[..]), (StatusCode::PARTIAL_CONTENT, &whole[whole.len() - 8..]));
    assert_eq!((&tail[4..], headers["content-length"].as_bytes()), (&b"PAR1"[..], &b"8"[..]));
    let tag = format!("\"{sum}\"");
    let (status, _, nothing) = fetch(&storage, "GET", &path, &[("if-none-match", &*tag)]).await;
    assert_eq!((status, nothing.len()), (StatusCode::NOT_MODIFIED, 0));
    let behind = format!("bytes={}-", whole.len());
    let (status, headers, _) = fetch(&storage, "GET", &path, &[("range", &*behind)]).await;
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(headers["content-range"], format!("bytes */{}", whole.len()));

    let (status, _, sums) = fetch(&storage, "GET", "files/SHA256SUMS?kind=trade", &[]).await;
    assert_eq!((status, sums), (StatusCode::OK, format!("{sum}  {name}\n").into()));
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_archive_s_files_can_be_asked_for() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    storage.acknowledged(Kind::Trade, venue.trades(1..=10).await).await;
    storage.call("POST", "/api/v1/storage/cold/archive").await;
    for nothing in ["files?kind=bbo", "files?kind=trade&market=perp", "files?kind=trade&venue=okx"]
    {
        assert_eq!(storage.get(nothing).await, json!({"data": []}), "{nothing}");
    }
    assert_eq!(storage.get("files?kind=trade&date=2026-05-08").await, json!({"data": []}));
    for (path, named) in [
        ("files", "kind"),
        ("files?kind=nothing", "kind"),
        ("files?kind=trade&venue=nope", "venue"),
        ("files?kind=trade&date=yesterday", "date"),
        ("files?kind=trade&symbol=BTC-USDT", "symbol"),
        ("files/SHA256SUMS", "kind"),
    ] {
        let (status, _, body) = fetch(&storage, "GET", path, &[]).await;
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
        assert!(body.contains(named), "{path}: {body}");
    }
    let folder = "kind=trade/venue=binance/market=spot/date=2026-05-09";
    for path in [
        format!("{folder}/0000000002.parquet"),
        "kind=nothing/venue=binance/market=spot/date=2026-05-09/0000000001.parquet".to_owned(),
        "trade/venue=binance/market=spot/date=2026-05-09/0000000001.parquet".to_owned(),
        "kind=trade/..%2F..%2Fmanifest/market=spot/date=2026-05-09/trade.json".to_owned(),
        "kind=trade/..%2F../..%2F../..%2F..%2Fetc/passwd".to_owned(),
    ] {
        let path = format!("/api/v1/storage/files/{path}");
        assert_eq!(storage.call("GET", &path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    storage.stop().await;
}
