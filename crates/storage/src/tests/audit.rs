//! The completeness audit, over both stores, and what it asks of the collector.

use super::*;
use axum::extract::State;
use axum::routing::post;
use futures_util::FutureExt as _;
use serde_json::json as document;
use testkit::clickhouse::ClickHouse;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const DAY: i64 = 86_400_000_000_000;

/// What stands at the collector's address: it notes what it is asked, and answers as it is told.
struct Collector {
    address: String,
    asked: mpsc::Receiver<Value>,
    _serving: JoinSet<()>,
}

#[derive(Clone)]
struct Desk {
    asked: mpsc::Sender<Value>,
    answer: (StatusCode, Value),
}

impl Collector {
    async fn start(status: StatusCode, body: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (sender, asked) = mpsc::channel(16);
        let answer = |State(desk): State<Desk>, axum::Json(body): axum::Json<Value>| async move {
            desk.asked.send(body).await.unwrap();
            (desk.answer.0, axum::Json(desk.answer.1))
        };
        let router = Router::new()
            .route("/api/v1/collector/backfill", post(answer))
            .with_state(Desk { asked: sender, answer: (status, body) });
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, asked, _serving: serving }
    }
}

fn at(day: i64, seq: u64) -> Vec<u8> {
    json(&event(START + day * DAY, trade(seq).body))
}

fn gap(after_id: u64, before_id: u64, state: model::GapState) -> Vec<u8> {
    let gap = model::Gap {
        gap_id: Arc::from(format!("g{after_id}")),
        version: 1,
        of: Kind::Trade,
        after_id: Some(after_id),
        before_id: Some(before_id),
        since: Some(UnixNanos::new(START)),
        until: Some(UnixNanos::new(START)),
        cause: model::Cause::Disconnect,
        state,
    };
    json(&event(START + i64::try_from(after_id).unwrap(), Content::Gap(gap)))
}

/// Ids 1 to 10 and 15 to 20 of one day, 30 to 35 and 40 of the next; of 11 to 14 a record says that
/// they are lost.
async fn fill(venue: &mut Rig, storage: &Running) {
    let ids = (1..=10).chain(15..=20).map(|seq| at(0, seq));
    let rows: Vec<Vec<u8>> = ids.chain((30..=35).chain([40]).map(|seq| at(1, seq))).collect();
    storage.acknowledged(Kind::Trade, venue.publish(Kind::Trade, &rows).await).await;
    let gaps = [gap(10, 15, model::GapState::Lost)];
    storage.acknowledged(Kind::Gap, venue.publish(Kind::Gap, &gaps).await).await;
}

async fn audit(storage: &Running, wish: Value) -> Value {
    let (status, answer) = storage.post("audit", &wish).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// Both days that [`fill`] has rows of.
fn both_days(backfill: bool) -> Value {
    document!({"start": "2026-05-09T00:00:00Z", "end": "2026-05-11T00:00:00Z", "backfill": backfill})
}

fn holes(answer: &Value) -> Vec<(u64, u64, &str, &str)> {
    let hole = |hole: &'static str| move |of: &Value| of[hole].as_u64().unwrap();
    let holes = answer["holes"].as_array().unwrap().iter();
    holes
        .map(|of| {
            let text = |name: &str| of[name].as_str().unwrap();
            (hole("after_id")(of), hole("before_id")(of), text("state"), text("action"))
        })
        .collect()
}

/// What [`fill`] leaves of each day.
fn check_days(answer: &Value) {
    let days: Vec<_> = answer["days"].as_array().unwrap().iter().collect();
    assert_eq!(days.len(), 2);
    for (day, date, expected) in [
        (days[0], "2026-05-09", [16, 1, 20, 1, 4, 0]),
        (days[1], "2026-05-10", [7, 30, 40, 2, 13, 13]),
    ] {
        let names = ["rows", "first_id", "last_id", "holes", "ids_missing", "ids_unexplained"];
        assert_eq!((day["date"].as_str(), &day["symbol"]), (Some(date), &"BTC-USDT".into()));
        assert_eq!(names.map(|name| day[name].as_u64().unwrap()), expected, "{day}");
    }
}

async fn every_hole_is_explained_or_asked_for(change: impl Fn(&mut settings::Suite)) {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let mut collector = Collector::start(StatusCode::ACCEPTED, document!({"gap_id": "g-7"})).await;
    let storage = Running::start_with(&venue, dir.path(), |suite| {
        change(suite);
        let services = &mut suite.monitoring.services;
        services.insert("collector".to_owned(), collector.address.parse().unwrap());
    })
    .await;
    fill(&mut venue, &storage).await;
    check_holes(&storage).await;
    check_midnight(&storage).await;
    collector.asked.try_recv().expect_err("nobody was asked so far");
    check_wishes(&storage, &mut collector).await;
    check_what_came(&mut venue, &storage).await;
    storage.stop().await;
}

/// What [`fill`] leaves is told.
async fn check_holes(storage: &Running) {
    let answer = audit(storage, both_days(false)).await;
    assert_eq!(
        holes(&answer),
        [
            (10, 15, "lost", "none"),
            (20, 30, "unexplained", "none"),
            (35, 40, "unexplained", "none")
        ]
    );
    assert_eq!(answer["holes"][0]["gaps"][0]["gap_id"], "g10");
    let sums = ["streams", "rows", "ids_missing", "ids_unexplained", "holes_total"];
    assert_eq!(sums.map(|name| answer[name].as_u64().unwrap()), [1, 23, 17, 13, 3]);
    assert_eq!((&answer["complete"], &answer["truncated"]), (&false.into(), &false.into()));
    check_days(&answer);
}

async fn check_midnight(storage: &Running) {
    // The ends of what can be said.
    for end in ["-9223372036854775808", "9223372036854775807"] {
        let (status, _) = storage.post("audit", &document!({"end": end})).await;
        assert!(status == StatusCode::OK || status == StatusCode::BAD_REQUEST, "{end}: {status}");
    }
    // A hole between two days is found from the second alone, and from the first not at all.
    let second = audit(storage, document!({"start": "2026-05-10T00:00:00Z"})).await;
    let found = [(20, 30, "unexplained", "none"), (35, 40, "unexplained", "none")];
    assert_eq!(holes(&second), found);
    let first = document!({"start": "2026-05-08T00:00:00Z", "end": "2026-05-10T00:00:00Z"});
    assert_eq!(audit(storage, first).await["complete"], true);
}

async fn check_wishes(storage: &Running, collector: &mut Collector) {
    let answer = audit(storage, both_days(true)).await;
    let asked = [collector.asked.recv().await.unwrap(), collector.asked.recv().await.unwrap()];
    let wish = |after_id: u64, before_id: u64, since: i64| {
        document!({"venue": "binance", "market": "spot", "symbol": "BTC-USDT", "kind": "trade",
                   "after_id": after_id, "before_id": before_id,
                   "since": since, "until": START + DAY})
    };
    assert_eq!(asked, [wish(20, 30, START), wish(35, 40, START + DAY)]);
    assert_eq!(
        holes(&answer)[1..].iter().map(|hole| hole.3).collect::<Vec<_>>(),
        ["backfill_started"; 2]
    );
    assert_eq!(
        (&answer["holes"][1]["gap_id"], &answer["backfills_started"]),
        (&"g-7".into(), &2.into())
    );
}

async fn check_what_came(venue: &mut Rig, storage: &Running) {
    // The record of the one that was begun, and what came of the other.
    let gaps = [gap(20, 30, model::GapState::Open)];
    storage.acknowledged(Kind::Gap, venue.publish(Kind::Gap, &gaps).await).await;
    let fetched: Vec<Vec<u8>> = (36..40).map(|seq| at(1, seq)).collect();
    storage.acknowledged(Kind::Trade, venue.publish(Kind::Trade, &fetched).await).await;
    let answer = audit(storage, both_days(true)).await;
    // The record is old: the collector says whether it has the gap in hand.
    assert_eq!(holes(&answer), [(10, 15, "lost", "none"), (20, 30, "open", "backfill_started")]);
    assert_eq!((&answer["complete"], &answer["backfills_started"]), (&true.into(), &1.into()));
    let condition = storage.get("condition?kind=trade").await;
    let days = document!([
        {"date": "2026-05-09", "condition": "pending", "rows": 16, "gaps": 2, "expected": 20, "coverage": 0.8},
        {"date": "2026-05-10", "condition": "degraded", "rows": 11, "gaps": 0, "expected": 20, "coverage": 0.55}
    ]);
    let found = &condition["data"][0]["days"];
    assert_eq!(found[1], days[1]);
    // Lost for good weighs more than what may still come.
    assert_eq!(found[0]["condition"], "degraded");
    assert_eq!(found[0]["coverage"], days[0]["coverage"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hole_in_the_archive_is_explained_or_asked_for() {
    every_hole_is_explained_or_asked_for(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hole_in_clickhouse_is_explained_or_asked_for() {
    let server = ClickHouse::start().unwrap();
    let url = server.url();
    every_hole_is_explained_or_asked_for(|suite| {
        suite.storage.clickhouse.url = Some(url.parse().unwrap());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_refuses_is_told_and_never_success() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let refusal = document!({"detail": "there is no room for another backfill"});
    let mut busy = Collector::start(StatusCode::SERVICE_UNAVAILABLE, refusal).await;
    // An address at which nobody listens: it was free a moment ago.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (address, reason) in [
        (format!("http://{nobody}"), "away"),
        (busy.address.clone(), "503 Service Unavailable: there is no room"),
    ] {
        let storage = Running::start_with(&venue, dir.path(), |suite| {
            suite.monitoring.services.insert("collector".to_owned(), address.parse().unwrap());
        })
        .await;
        if reason == "away" {
            fill(&mut venue, &storage).await;
        }
        let answer = audit(&storage, both_days(true)).await;
        let failed = ["none", "backfill_not_started", "backfill_not_started"];
        assert_eq!(holes(&answer).iter().map(|hole| hole.3).collect::<Vec<_>>(), failed);
        assert_eq!(answer["complete"], false);
        assert_eq!(
            (&answer["backfills_started"], &answer["backfills_failed"]),
            (&0.into(), &2.into())
        );
        for hole in [1, 2] {
            let told = answer["holes"][hole]["reason"].as_str().unwrap();
            assert!(told.contains(reason), "{told}");
        }
        storage.stop().await;
    }
    // Who refuses is asked for each hole.
    assert!(busy.asked.try_recv().is_ok() && busy.asked.try_recv().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_that_is_new_is_left_alone_and_what_makes_no_sense_is_refused() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let storage = Running::start(&venue, dir.path()).await;
    let now = daemon::clock::now();
    let rows = [1, 5].map(|seq| json(&event(now, trade(seq).body)));
    storage.acknowledged(Kind::Trade, venue.publish(Kind::Trade, &rows).await).await;
    let answer = audit(&storage, document!({"backfill": true})).await;
    assert_eq!(holes(&answer), [(1, 5, "unexplained", "none")]);
    assert!(answer["holes"][0]["reason"].as_str().unwrap().contains("new"), "{answer}");
    assert_eq!((&answer["complete"], &answer["backfills_failed"]), (&false.into(), &0.into()));
    let condition = storage.get("condition?kind=trade").await;
    assert_eq!(condition["data"][0]["days"][0]["condition"], "pending");
    // What was fetched and is not there after all is as unexplained as ever.
    let gaps = [gap(1, 5, model::GapState::Healed)];
    storage.acknowledged(Kind::Gap, venue.publish(Kind::Gap, &gaps).await).await;
    let answer = audit(&storage, document!({})).await;
    assert_eq!(holes(&answer), [(1, 5, "healed", "none")]);
    let twice = audit(&storage, document!({"kinds": ["trade", "trade"]})).await;
    assert_eq!((&twice["streams"], &twice["rows"]), (&1.into(), &2.into()));
    let week = audit(&storage, document!({"days": 7})).await;
    let days = ["first_day", "last_day"].map(|name| week[name].as_str().unwrap().to_owned());
    // A day later if it is past midnight by now.
    let dates = |day: i64| [day - 6, day].map(crate::condition::date);
    let today = now.div_euclid(DAY);
    assert!(days == dates(today) || days == dates(today + 1), "{days:?}");
    assert_eq!((&answer["complete"], &answer["ids_unexplained"]), (&false.into(), &3.into()));
    for (wish, named) in [
        (document!({"kinds": ["book"]}), "kinds"),
        (document!({"kinds": ["nothing"]}), "kinds"),
        (document!({"venue": "nope"}), "venue"),
        (document!({"start": "yesterday"}), "start"),
        (document!({"start": "2999-01-01T00:00:00Z"}), "start"),
        (document!({"days": 0}), "days"),
        (document!({"days": 7, "start": "2026-05-09T00:00:00Z"}), "days"),
        (document!({"colour": "red"}), "colour"),
        (document!([1]), "body"),
    ] {
        let (status, answer) = storage.post("audit", &wish).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wish}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(named), "{wish}: {answer}");
    }
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_audit_at_a_time_and_queries_go_on_beside_it() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    // It takes the connection and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let storage = Running::start_with(&venue, dir.path(), |suite| {
        suite.monitoring.services.insert("collector".to_owned(), address.parse().unwrap());
    })
    .await;
    fill(&mut venue, &storage).await;
    let wish = both_days(true);
    let first = storage.post("audit", &wish).map(|answer| answer.1);
    let beside = async {
        let (asked, _) = timeout(PATIENCE, silent.accept()).await.unwrap().unwrap();
        let (status, answer) = storage.post("audit", &document!({})).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains("an audit is under way"), "{answer}");
        assert_eq!(storage.seqs(100).await.len(), 23);
        // The first has its answer: there is none.
        drop((asked, silent));
    };
    let (answer, ()) = tokio::join!(first, beside);
    assert_eq!(answer["backfills_failed"], 2);
    audit(&storage, document!({})).await;
    storage.stop().await;
}
