//! Statements of others over HTTP, as a user with the rights that the manual says.

use super::*;
use http::HeaderMap;
use testkit::clickhouse::ClickHouse;

const PATH: &str = "/api/v1/storage/sql";

/// A storage on a ClickHouse that has a user who may only read.
async fn start(
    venue: &Rig,
    directory: &Path,
    server: &ClickHouse,
    change: impl Fn(&mut settings::Sql),
) -> Running {
    let (url, password) = (server.url(), directory.join("password"));
    std::fs::write(&password, "secret7\n").unwrap();
    Running::start_with(venue, directory, |suite| {
        let clickhouse = &mut suite.storage.clickhouse;
        clickhouse.url = Some(url.parse().unwrap());
        clickhouse.sql.user = Some("reader".to_owned());
        clickhouse.sql.password_file = Some(password.clone());
        change(&mut clickhouse.sql);
    })
    .await
}

fn server() -> ClickHouse {
    ClickHouse::start_with_user("reader", "secret7", &["SELECT ON marketprism.*"]).unwrap()
}

/// Sends a statement as the gateway would for this key.
async fn ask(storage: &Running, key: &str, wish: &Value) -> (StatusCode, HeaderMap, String) {
    let request = Request::post(PATH).header("x-auth-principal", key);
    let request = request.body(Body::from(wish.to_string())).unwrap();
    let response = storage.router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

/// What a statement is answered that is not run to its end.
async fn refused(storage: &Running, statement: &str) -> (StatusCode, String) {
    let (status, body) = storage.post("sql", &serde_json::json!({"query": statement})).await;
    (status, body["detail"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_answered_in_every_form_and_says_what_is_missing() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = server();
    let storage = start(&venue, dir.path(), &server, |sql| sql.rows_max = 2).await;
    storage.acknowledged(Kind::Trade, venue.trades(1..=3).await).await;
    let statement = "SELECT seq, toDecimal64(seq, 1) / 2 AS half, 'a,b' AS text FROM trade \
                     ORDER BY seq";
    let (status, answer) = storage.post("sql", &serde_json::json!({"query": statement})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["columns"][0], serde_json::json!({"name": "seq", "type": "UInt64"}));
    let rows = serde_json::json!([[1, "0.5", "a,b"], [2, "1", "a,b"]]);
    assert_eq!((&answer["rows"], &answer["truncated"]), (&rows, &"rows".into()));
    for (format, media, text) in [
        ("csv", "text/csv; charset=utf-8", "seq,half,text\n1,0.5,\"a,b\"\n2,1,\"a,b\"\n"),
        (
            "jsonl",
            "application/jsonl",
            "{\"seq\":1,\"half\":\"0.5\",\"text\":\"a,b\"}\n\
             {\"seq\":2,\"half\":\"1\",\"text\":\"a,b\"}\n",
        ),
    ] {
        let wish = serde_json::json!({"query": statement, "format": format});
        let (status, headers, body) = ask(&storage, "k", &wish).await;
        assert_eq!((status, &*body), (StatusCode::OK, text));
        assert_eq!(headers["content-type"], media);
        assert_eq!(headers["x-truncated"], "rows");
    }
    let statement = format!("{statement} LIMIT 2");
    let (status, answer) = storage.post("sql", &serde_json::json!({"query": statement})).await;
    assert_eq!((status, &answer["truncated"]), (StatusCode::OK, &Value::Null));
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clickhouse_refuses_is_told_in_its_words() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = server();
    let storage = start(&venue, dir.path(), &server, |sql| {
        sql.execution_max = Duration::from_secs(1);
    })
    .await;
    storage.acknowledged(Kind::Trade, venue.trades(1..=20).await).await;
    for (statement, status, words) in [
        ("INSERT INTO stored_trade SELECT * FROM stored_trade", 403, "INSERT("),
        ("DROP TABLE stored_trade", 403, "DROP TABLE"),
        ("SELECT * FROM url('http://127.0.0.1:9/', CSV, 'x String')", 403, "READ ON URL"),
        ("SET max_execution_time = 0", 403, "Cannot modify"),
        ("SELECT 1 INTO OUTFILE '/nowhere/file'", 400, "INTO OUTFILE is not allowed"),
        ("SELECT nothing FROM trade", 400, "nothing"),
        ("SELECT 1 FORMAT TSV", 400, "leave `FORMAT` out"),
        ("SELECT count() FROM numbers(100000000000000)", 422, "Timeout exceeded"),
        ("", 400, "Empty query"),
    ] {
        let (got, detail) = refused(&storage, statement).await;
        assert_eq!(got.as_u16(), status, "{statement}: {detail}");
        assert!(detail.contains(words), "{statement}: {detail}");
    }
    for wrong in [
        serde_json::json!({"query": "SELECT 1", "format": "xml"}),
        serde_json::json!({"query": "SELECT 1", "settings": {}}),
        serde_json::json!({"format": "csv"}),
    ] {
        let (status, body) = storage.post("sql", &wrong).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}: {body}");
    }
    assert_eq!(storage.seqs(100).await, (1..=20).collect::<Vec<u64>>());
    storage.healthy().await;
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_has_its_share_of_statements_and_of_their_time() {
    let (venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let server = server();
    let storage = start(&venue, dir.path(), &server, |sql| {
        sql.statements_per_hour = 3;
        sql.execution_max = Duration::from_secs(2);
        sql.execution_per_hour = Duration::from_millis(1_900);
    })
    .await;
    let (cheap, dear) = (
        serde_json::json!({"query": "SELECT 1"}),
        serde_json::json!({"query": "SELECT count() FROM numbers(100000000000000)"}),
    );
    for _ in 0..3 {
        assert_eq!(ask(&storage, "many", &cheap).await.0, StatusCode::OK);
    }
    assert_eq!(ask(&storage, "long", &dear).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    for (key, words) in [("many", "more than 3 statements"), ("long", "for more than 1.9 s")] {
        let (status, headers, body) = ask(&storage, key, &cheap).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{key}: {body}");
        assert!(body.contains(words), "{key}: {body}");
        let seconds: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=3_600).contains(&seconds), "{key}: {seconds}");
    }
    assert_eq!(ask(&storage, "other", &cheap).await.0, StatusCode::OK);
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_clickhouse_or_a_user_for_it_there_is_no_sql() {
    let (venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    let (status, detail) = refused(&storage, "SELECT 1").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(detail.contains("DuckDB"), "{detail}");
    storage.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let server = ClickHouse::start().unwrap();
    let storage = super::clickhouse::start(&venue, dir.path(), &server).await;
    let (status, detail) = refused(&storage, "SELECT 1").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(detail.contains("storage.clickhouse.sql.user"), "{detail}");
    storage.stop().await;
}
