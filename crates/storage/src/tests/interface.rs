//! What the addresses answer.

use super::*;
use bus::LiveId;

const DAY: i64 = 86_400_000_000_000;

/// Says something on the live lane.
pub(super) async fn live(venue: &Rig, producer: &str, seq: u64, event: &Event) {
    let subject = wire::live_subject(event.kind(), &event.instrument);
    let id = LiveId { producer, epoch: 1, seq };
    venue.bus.publish_live(subject, id, Bytes::from(json(event))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_queries_are_refused_with_the_parameter_named() {
    let (venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    for (path, named) in [
        (format!("trades?{BTC}&limit=99999999"), "limit"),
        (format!("trades?{BTC}&limit=0"), "limit"),
        (format!("trades?{BTC}&limit=-1"), "limit"),
        (format!("trades?{BTC}&start=5&end=1"), "start"),
        (format!("trades?{BTC}&start=5&end=5"), "start"),
        (format!("trades?{BTC}&start=yesterday"), "start"),
        (format!("trades?{BTC}&order=up"), "order"),
        (format!("trades?{BTC}&cursor=zzz"), "cursor"),
        (format!("trades?{BTC}&kind=book"), "kind"),
        (format!("trades?{BTC}&format=parquet"), "format"),
        (format!("trades?{BTC}&format=arrow&limit=0"), "limit"),
        (format!("trades?{BTC}&format=arrow&limit=-1"), "limit"),
        (format!("trades?{BTC}&format=arrow&cursor=zzz"), "cursor"),
        (format!("trades?{BTC}&format=arrow&start=5&end=1"), "start"),
        ("books?venue=binance&market=spot&format=arrow".to_owned(), "symbol"),
        ("corrections?limit=0".to_owned(), "limit"),
        ("corrections?since=yesterday".to_owned(), "since"),
        ("corrections?kind=nothing".to_owned(), "kind"),
        ("corrections?day=5".to_owned(), "day"),
        (format!("estimate?{BTC}"), "kind"),
        (format!("estimate?{BTC}&kind=status"), "kind"),
        ("estimate?kind=trade&venue=binance".to_owned(), "market"),
        (format!("estimate?{BTC}&kind=trade&limit=0"), "limit"),
        (format!("estimate?{BTC}&kind=trade&start=5&end=1"), "start"),
        (format!("estimate?{BTC}&kind=trade&format=csv"), "format"),
        (format!("estimate?{BTC}&kind=trade&cursor=zzz"), "cursor"),
        (format!("estimate?{BTC}&kind=trade&depth=1"), "depth"),
        (format!("trades?{BTC}&colour=red"), "colour"),
        ("trades?venue=nope&market=spot&symbol=BTC-USDT".to_owned(), "venue"),
        ("trades?venue=binance&market=spot&symbol=x%27%3BDROP%20TABLE".to_owned(), "symbol"),
        ("trades?venue=binance&market=spot&symbol=..%2F..%2Fetc".to_owned(), "symbol"),
        ("trades?venue=binance&market=spot".to_owned(), "symbol"),
        ("books?market=spot&symbol=BTC-USDT".to_owned(), "venue"),
        ("hot/trade/binance/spot/BTC-USDT?limit=0".to_owned(), "limit"),
        ("hot/book/binance/spot/BTC-USDT?limit=x&depth=5".to_owned(), "limit"),
        ("hot/nothing/binance/spot/BTC-USDT".to_owned(), "kind"),
        ("coverage?kind=nothing".to_owned(), "kind"),
    ] {
        let (status, body) = storage.call("GET", &format!("/api/v1/storage/{path}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
        assert!(body["detail"].as_str().unwrap().contains(named), "{path}: {body}");
    }
    let (status, _) = storage.call("GET", "/api/v1/storage/hot/bbo/binance/spot/NOPE").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let nothing = storage.get("trades?venue=okx&market=perp&symbol=NOPE").await;
    assert_eq!(nothing, serde_json::json!({"data": [], "next_cursor": null}));
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_does_not_change_may_be_kept() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    storage.acknowledged(Kind::Trade, venue.trades(1..=5).await).await;
    for (path, kept) in [
        (format!("trades?{BTC}&end=2026-05-10T00:00:00Z"), Some("public, max-age=300")),
        (format!("trades?{BTC}&end=2999-01-01T00:00:00Z"), None),
        (format!("trades?{BTC}"), None),
        ("gaps?end=2026-05-10T00:00:00Z".to_owned(), None),
        ("symbols".to_owned(), Some("public, max-age=15")),
        ("coverage".to_owned(), None),
        (format!("trades?{BTC}&limit=0&end=2026-05-10T00:00:00Z"), None),
        ("status".to_owned(), None),
    ] {
        assert_eq!(storage.kept(&path).await.as_deref(), kept, "{path}");
    }
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_stable_while_rows_arrive_and_roll() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    // Odd ids are there from the start; even ones, as of a backfill, come in between.
    storage.acknowledged(Kind::Trade, venue.trades((0..300).map(|i| 2 * i + 1)).await).await;
    let mut path = format!("trades?{BTC}&limit=50&order=desc");
    let (mut found, mut round) = (Vec::new(), 0);
    loop {
        let page = storage.get(&path).await;
        let seq = |row: &Value| row["seq"].as_u64().unwrap();
        found.extend(page["data"].as_array().unwrap().iter().map(seq));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("trades?{BTC}&limit=50&order=desc&cursor={cursor}");
        let more = venue.trades((round * 20..round * 20 + 20).map(|i| 2 * i)).await;
        storage.acknowledged(Kind::Trade, more).await;
        if round % 2 == 0 {
            storage.call("POST", "/api/v1/storage/cold/archive").await;
        }
        round += 1;
    }
    assert!(found.windows(2).all(|pair| pair[0] > pair[1]), "in order and once");
    found.retain(|seq| seq % 2 == 1);
    assert_eq!(found, (0..300).map(|i| 2 * i + 1).rev().collect::<Vec<_>>());
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hot_store_answers_with_the_age_and_marks_a_broken_book() {
    let (venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    // Published until somebody listens: the live lane keeps nothing.
    let heard = async {
        loop {
            live(&venue, "a", 1, &bbo(7)).await;
            let path = "/api/v1/storage/hot/bbo/binance/spot/BTC-USDT";
            let (status, body) = storage.call("GET", path).await;
            if status == StatusCode::OK {
                return body;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = timeout(PATIENCE, heard).await.unwrap();
    assert_eq!(answer["data"]["id"], 7);
    assert!(answer["age_ms"].as_i64().unwrap() < 30_000);

    live(&venue, "a", 2, &book(BookType::Snapshot, 10, 64_000)).await;
    live(&venue, "a", 3, &book(BookType::Diff, 11, 64_001)).await;
    let path = "hot/book/binance/spot/BTC-USDT?depth=1";
    let book_of = |id: u64| move |_: StatusCode, body: &Value| body["data"]["last_id"] == id;
    let answer = storage.until(path, book_of(11)).await;
    assert_eq!(answer["data"]["bids"], serde_json::json!([["64001", "1"]]));
    assert_eq!(answer["data"]["synced"], true);
    live(&venue, "a", 4, &book(BookType::Diff, 13, 64_002)).await;
    let answer = storage.until(path, |_, body| body["data"]["synced"] == false).await;
    assert_eq!(answer["data"]["reason"], "updates are missing");
    live(&venue, "a", 5, &book(BookType::Snapshot, 20, 64_003)).await;
    storage.until(path, |_, body| body["data"]["synced"] == true).await;
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hot_store_is_seeded_from_the_cold_one() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    storage.acknowledged(Kind::Trade, venue.trades(1..=30).await).await;
    storage.acknowledged(Kind::Bbo, venue.publish(Kind::Bbo, &[json(&bbo(3))]).await).await;
    storage.call("POST", "/api/v1/storage/cold/archive").await;
    storage.stop().await;
    let storage = Running::start(&venue, dir.path()).await;
    let answer = storage
        .until("hot/trade/binance/spot/BTC-USDT?limit=2", |status, _| status == StatusCode::OK)
        .await;
    let seqs: Vec<&Value> = answer["data"].as_array().unwrap().iter().map(|t| &t["seq"]).collect();
    assert_eq!(seqs, [30, 29]);
    storage.until("hot/bbo/binance/spot/BTC-USDT", |status, _| status == StatusCode::OK).await;
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coverage_and_condition_say_what_is_missing() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    let last = venue.trades((1..=10).chain(15..=20).chain([30])).await;
    storage.acknowledged(Kind::Trade, last).await;
    let gap = model::Gap {
        gap_id: Arc::from("g1"),
        version: 1,
        of: Kind::Trade,
        after_id: Some(10),
        before_id: Some(15),
        since: Some(UnixNanos::new(START)),
        until: Some(UnixNanos::new(START)),
        cause: model::Cause::Disconnect,
        state: model::GapState::Lost,
    };
    let gap = json(&event(START, Content::Gap(gap)));
    storage.acknowledged(Kind::Gap, venue.publish(Kind::Gap, &[gap]).await).await;
    let coverage = storage.get(&format!("coverage?{BTC}&kind=trade")).await;
    let coverage = &coverage["data"][0];
    assert_eq!((&coverage["rows"], &coverage["first_id"]), (&Value::from(17), &Value::from(1)));
    let holes = &coverage["holes"];
    assert_eq!(
        (&holes["ids_missing"], &holes["ids_unexplained"]),
        (&Value::from(13), &Value::from(9))
    );
    assert_eq!(holes["ranges"][0]["explained"], true);
    let condition = storage.get("condition?kind=trade").await;
    let day = serde_json::json!(
        {"date": "2026-05-09", "condition": "degraded", "rows": 17, "gaps": 1, "expected": 30,
         "coverage": 0.566_666});
    assert_eq!(condition["data"][0]["days"], serde_json::json!([day]));
    assert_eq!(storage.get("condition?kind=trade&since=2026-05-09").await, condition);
    let later = storage.get("condition?kind=trade&since=2026-05-10").await;
    assert_eq!(later["data"], serde_json::json!([]));
    let (status, refusal) = storage.call("GET", "/api/v1/storage/condition?since=yesterday").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refusal}");
    let gaps = storage.get("gaps").await;
    assert_eq!(gaps["data"][0]["gap_id"], "g1");
    assert_eq!(storage.get("symbols").await["data"][0]["symbol"], "BTC-USDT");
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_version_of_a_gap_keeps_the_beginning_that_is_known() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    let at = |day: i64, seq| json(&event(START + day * DAY, trade(seq).body));
    let rows: Vec<_> = (0..3).map(|day| at(day, 1 + day.unsigned_abs())).collect();
    storage.acknowledged(Kind::Trade, venue.publish(Kind::Trade, &rows).await).await;
    let record = |version, since: Option<i64>, state| {
        let gap = model::Gap {
            gap_id: Arc::from("g1"),
            version,
            of: Kind::Trade,
            after_id: Some(1),
            before_id: Some(2),
            since: since.map(UnixNanos::new),
            until: None,
            cause: model::Cause::Restart,
            state,
        };
        json(&event(START + 2 * DAY + i64::from(version), Content::Gap(gap)))
    };
    let gaps = async || {
        let condition = storage.get("condition?kind=trade").await;
        let days = condition["data"][0]["days"].as_array().unwrap().clone();
        days.iter().map(|day| day["gaps"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let (open, healed) = (model::GapState::Open, model::GapState::Healed);
    // A run was killed, and the next one knows where it ended but not when.
    let rows = [record(1, Some(START), open), record(2, None, open)];
    storage.acknowledged(Kind::Gap, venue.publish(Kind::Gap, &rows).await).await;
    assert_eq!(gaps().await, [1, 1, 1]);
    // What begins at the same place once that is closed is something else.
    let rows = [record(3, None, healed), record(4, None, open)];
    storage.acknowledged(Kind::Gap, venue.publish(Kind::Gap, &rows).await).await;
    assert_eq!(gaps().await, [0, 0, 1]);
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cleanup_removes_only_what_retention_says_and_only_when_told() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    let old = json(&event(0, trade(1).body));
    let today = json(&event(daemon::clock::now(), trade(2).body));
    storage.acknowledged(Kind::Trade, venue.publish(Kind::Trade, &[old, today]).await).await;
    storage.call("POST", "/api/v1/storage/cold/archive").await;
    let cleanup = "/api/v1/storage/lifecycle/cleanup";
    let (_, answer) = storage.call("POST", &format!("{cleanup}?dry_run=false")).await;
    assert_eq!((&answer["configured"], &answer["rows"]), (&Value::from(false), &Value::from(0)));
    storage.stop().await;

    let keep = |suite: &mut settings::Suite| {
        suite.storage.retention.trade = Duration::from_hours(48);
    };
    let storage = Running::start_with(&venue, dir.path(), keep).await;
    let (_, answer) = storage.call("POST", cleanup).await;
    assert_eq!((&answer["dry_run"], &answer["rows"]), (&Value::from(true), &Value::from(1)));
    assert_eq!(answer["files"][0]["date"], "1970-01-01");
    assert_eq!(storage.seqs(10).await, [1, 2]);
    let (_, answer) = storage.call("POST", &format!("{cleanup}?dry_run=false")).await;
    assert_eq!(answer["rows"], 1);
    assert_eq!(storage.seqs(10).await, [2]);
    storage.stop().await;
}
