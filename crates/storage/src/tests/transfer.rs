//! Days that move from ClickHouse into the archive.

use super::*;
use crate::transfer::{Copied, Transfer};
use serde_json::json as document;
use testkit::clickhouse::ClickHouse;

const DAY: i64 = 86_400_000_000_000;
/// The day of [`START`], counted from the epoch.
const FIRST: i64 = START / DAY;

struct Site {
    venue: Rig,
    server: ClickHouse,
    dir: tempfile::TempDir,
}

impl Site {
    async fn new() -> Self {
        let (venue, server) = (Rig::start().await, ClickHouse::start().unwrap());
        Self { venue, server, dir: tempfile::tempdir().unwrap() }
    }

    async fn storage(&self) -> Running {
        self.storage_with(|_| {}).await
    }

    async fn storage_with(&self, change: impl Fn(&mut settings::Suite)) -> Running {
        let url = self.server.url();
        Running::start_with(&self.venue, self.dir.path(), |suite| {
            suite.storage.clickhouse.url = Some(url.parse().unwrap());
            change(suite);
        })
        .await
    }

    /// Trades of a day, stored.
    async fn trades(&mut self, storage: &Running, day: i64, seqs: impl IntoIterator<Item = u64>) {
        let row = |seq| json(&event(START + day * DAY, trade(seq).body));
        let rows: Vec<Vec<u8>> = seqs.into_iter().map(row).collect();
        storage.acknowledged(Kind::Trade, self.venue.publish(Kind::Trade, &rows).await).await;
    }

    /// The trades in ClickHouse, however often.
    async fn in_clickhouse(&self) -> u64 {
        let count = clickhouse::run(&self.server, "SELECT count() FROM marketprism.stored_trade");
        count.await.trim().parse().unwrap()
    }

    async fn alter(&self, update: &str) {
        let sql = format!(
            "ALTER TABLE marketprism.stored_trade UPDATE {update} SETTINGS mutations_sync = 1"
        );
        clickhouse::run(&self.server, &sql).await;
    }
}

/// Moves the days of trades before the third.
async fn moved(storage: &Running) -> (StatusCode, Value) {
    let wish = document!({"before": "2026-05-11", "kinds": ["trade"], "dry_run": false});
    storage.post("cold/archive", &wish).await
}

fn transfer(storage: &Running) -> Transfer<'_> {
    Transfer::new(Kind::Trade, &storage.handles[&Kind::Trade]).unwrap()
}

async fn rows_by_day(storage: &Running) -> Vec<(String, u64)> {
    let condition = storage.get("condition?kind=trade").await;
    let days = condition["data"][0]["days"].as_array().unwrap().iter();
    days.map(|day| (day["date"].as_str().unwrap().to_owned(), day["rows"].as_u64().unwrap()))
        .collect()
}

/// How many trades a query is said to hand out.
async fn estimated(storage: &Running) -> u64 {
    storage.get(&format!("estimate?kind=trade&{BTC}")).await["rows"].as_u64().unwrap()
}

fn days(rows: [u64; 3]) -> Vec<(String, u64)> {
    let dates = ["2026-05-09", "2026-05-10", "2026-05-11"];
    dates.into_iter().map(str::to_owned).zip(rows).collect()
}

fn all(through: u64) -> Vec<u64> {
    (1..=through).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_days_move_and_are_read_as_before() {
    let mut site = Site::new().await;
    let storage = site.storage().await;
    site.trades(&storage, 0, (1..=100).filter(|seq| *seq != 42)).await;
    site.trades(&storage, 1, 101..=200).await;
    site.trades(&storage, 2, 201..=300).await;
    let before = storage.get(&format!("trades?{BTC}&limit=10000")).await;
    let coverage = storage.get(&format!("coverage?{BTC}&kind=trade")).await;
    let (status, answer) = storage.post("cold/archive", &document!({"before": "2026-05-11"})).await;
    assert_eq!(
        (status, &answer["dry_run"], &answer["rows"]),
        (StatusCode::OK, &true.into(), &199.into())
    );
    assert_eq!(site.in_clickhouse().await, 299, "so far it was only told");
    let (_, none) = storage.post("cold/archive", &document!({"older_than_days": 65_535})).await;
    assert_eq!((&none["rows"], &none["moved"]), (&0.into(), &document!([])));
    let (status, answer) = moved(&storage).await;
    assert_eq!(
        (status, answer["moved"].as_array().unwrap().len()),
        (StatusCode::OK, 2),
        "{answer}"
    );
    let first = &answer["moved"][0];
    assert_eq!(
        (&first["date"], &first["rows"], &first["archived"]),
        (&"2026-05-09".into(), &99.into(), &99.into())
    );
    assert_eq!(site.in_clickhouse().await, 100);
    // Nobody who asks sees a difference.
    assert_eq!(storage.get(&format!("trades?{BTC}&limit=10000")).await, before);
    assert_eq!(storage.get(&format!("coverage?{BTC}&kind=trade")).await, coverage);
    let expected: Vec<u64> = (1..=300).filter(|seq| *seq != 42).collect();
    assert_eq!(storage.seqs(70).await, expected);
    let across = format!("trades?{BTC}&start=2026-05-10T00:00:00Z&order=desc&limit=150");
    let page = storage.get(&across).await;
    assert_eq!((&page["data"][0]["seq"], &page["data"][149]["seq"]), (&300.into(), &151.into()));
    assert_eq!(rows_by_day(&storage).await, days([99, 100, 100]));
    // What comes a second time is known, wherever it is; what was missing is stored.
    site.trades(&storage, 0, 30..=50).await;
    assert_eq!(storage.duplicates(Kind::Trade), 20);
    assert_eq!(site.in_clickhouse().await, 101);
    // However much later: a book that rests has the same snapshot for weeks.
    site.trades(&storage, 9, 60..=69).await;
    assert_eq!((storage.duplicates(Kind::Trade), site.in_clickhouse().await), (30, 101));
    assert_eq!(storage.seqs(70).await, all(300));
    assert_eq!(estimated(&storage).await, 300, "a day has rows in both");
    assert_eq!(rows_by_day(&storage).await, days([100, 100, 100]));
    let (status, answer) = moved(&storage).await;
    assert_eq!((status, &answer["moved"][0]["archived"]), (StatusCode::OK, &1.into()), "{answer}");
    storage.stop().await;
    let report =
        archive::verify(&site.dir.path().join("archive"), &[Kind::Trade], &mut |_| {}).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.verified[0].file_rows, 200);
    // Retention goes by kind, in both places.
    let storage =
        site.storage_with(|suite| suite.storage.retention.trade = Duration::from_hours(24)).await;
    assert_eq!(storage.seqs(70).await, all(300));
    let cleanup = "/api/v1/storage/lifecycle/cleanup?dry_run=false";
    let (_, answer) = storage.call("POST", cleanup).await;
    assert_eq!(answer["rows"], 300, "{answer}");
    assert_eq!(storage.seqs(70).await, Vec::<u64>::new());
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_takes_the_days_of_its_kind_alone() {
    let mut site = Site::new().await;
    let storage =
        site.storage_with(|suite| suite.storage.retention.bbo = Duration::from_hours(24)).await;
    site.trades(&storage, 0, 1..=10).await;
    let Content::Bbo(body) = bbo(7).body else { panic!("a bbo") };
    let old = json(&event(START, Content::Bbo(body)));
    storage
        .acknowledged(Kind::Bbo, site.venue.publish(Kind::Bbo, &[old, json(&bbo(8))]).await)
        .await;
    let (_, answer) = storage.call("POST", "/api/v1/storage/lifecycle/cleanup?dry_run=false").await;
    assert_eq!(
        (&answer["rows"], &answer["files"][0]["kind"]),
        (&1.into(), &"bbo".into()),
        "{answer}"
    );
    assert_eq!(storage.seqs(70).await, all(10));
    let left = storage.get(&format!("bbo?{BTC}")).await;
    assert_eq!((&left["data"][0]["id"], left["data"].as_array().unwrap().len()), (&8.into(), 1));
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_was_interrupted_before_the_drop_is_repeated_and_doubles_nothing() {
    let mut site = Site::new().await;
    let storage = site.storage().await;
    site.trades(&storage, 0, 1..=100).await;
    site.trades(&storage, 1, 101..=200).await;
    site.trades(&storage, 2, 201..=300).await;
    let copied = transfer(&storage).copy(FIRST).await.unwrap();
    assert_eq!(copied, Copied { rows: 100, fresh: 100 });
    assert_eq!(transfer(&storage).compare(FIRST).await.unwrap().rows, 100);
    storage.stop().await;

    let storage = site.storage().await;
    assert_eq!(site.in_clickhouse().await, 300, "nothing was dropped");
    assert_eq!(storage.seqs(70).await, all(300));
    assert_eq!(estimated(&storage).await, 300, "a day has all its rows in both");
    assert_eq!(rows_by_day(&storage).await, days([100, 100, 100]));
    site.trades(&storage, 0, 50..=60).await;
    assert_eq!(storage.duplicates(Kind::Trade), 11);
    let (status, answer) = moved(&storage).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let archived: Vec<&Value> =
        answer["moved"].as_array().unwrap().iter().map(|day| &day["archived"]).collect();
    assert_eq!(archived, [0, 100]);
    assert_eq!(site.in_clickhouse().await, 100);
    assert_eq!(storage.seqs(70).await, all(300));
    storage.stop().await;
    let report =
        archive::verify(&site.dir.path().join("archive"), &[Kind::Trade], &mut |_| {}).unwrap();
    assert_eq!((report.findings, report.verified[0].file_rows), (Vec::new(), 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_in_the_middle_of_a_copy_costs_nothing() {
    const ROWS: u64 = 25_000;
    let mut site = Site::new().await;
    let storage = site.storage().await;
    for first in (1..=ROWS).step_by(200) {
        let row = |seq| json(&event(START, trade(seq).body));
        let rows: Vec<Vec<u8>> = (first..first + 200).map(row).collect();
        site.venue.publish(Kind::Trade, &rows).await;
    }
    storage.acknowledged(Kind::Trade, site.venue.sent[&Kind::Trade]).await;
    assert_eq!(site.in_clickhouse().await, ROWS);
    let transfer_of = transfer(&storage);
    // A page is in the archive, and the next is on its way.
    let begun = async {
        while transfer_of.archived() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        site.server.kill();
    };
    let (copied, begun) = tokio::join!(transfer_of.copy(FIRST), timeout(PATIENCE, begun));
    begun.unwrap();
    copied.unwrap_err();
    let archived = transfer_of.archived();
    assert!((1..ROWS).contains(&archived), "{archived}");
    storage.stop().await;

    site.server.restart().unwrap();
    let storage = site.storage().await;
    assert_eq!(site.in_clickhouse().await, ROWS);
    assert_eq!(rows_by_day(&storage).await, [("2026-05-09".to_owned(), ROWS)]);
    assert_eq!(storage.seqs(9_999).await, all(ROWS));
    let (status, answer) = moved(&storage).await;
    assert_eq!((status, &answer["rows"]), (StatusCode::OK, &ROWS.into()), "{answer}");
    assert_eq!(answer["moved"][0]["archived"], ROWS - archived);
    assert_eq!(site.in_clickhouse().await, 0);
    assert_eq!(storage.seqs(9_999).await, all(ROWS));
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_whose_rows_are_not_those_in_the_archive_stays() {
    let mut site = Site::new().await;
    let storage = site.storage().await;
    site.trades(&storage, 0, 1..=100).await;
    let transfer_of = transfer(&storage);
    transfer_of.copy(FIRST).await.unwrap();
    // A row that came after the copy.
    site.trades(&storage, 0, [500]).await;
    let error = transfer_of.compare(FIRST).await.unwrap_err().to_string();
    assert!(error.contains("after 100 rows") && error.contains("the archive lacks"), "{error}");
    transfer_of.copy(FIRST).await.unwrap();
    let compared = transfer_of.compare(FIRST).await.unwrap();
    // A row that was altered after the comparison.
    site.alter("price = price + 1 WHERE identity_major = 7").await;
    let error = transfer_of.take_out(FIRST, compared).await.unwrap_err().to_string();
    assert!(error.contains("changed since they were compared"), "{error}");
    // It is told from the other places, too, and as often as one tries.
    for _ in 0..2 {
        let (status, answer) = moved(&storage).await;
        assert_eq!(status, StatusCode::CONFLICT, "{answer}");
        let detail = answer["detail"].as_str().unwrap();
        for part in
            ["trade 2026-05-09", "after 6 rows", "in place of", "64001", "stays in ClickHouse"]
        {
            assert!(detail.contains(part), "{part}: {detail}");
        }
        assert_eq!(site.in_clickhouse().await, 101);
    }
    site.alter("price = price - 1 WHERE identity_major = 7").await;
    let (status, answer) = moved(&storage).await;
    assert_eq!((status, site.in_clickhouse().await), (StatusCode::OK, 0), "{answer}");
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_does_not_wait_while_a_day_is_compared() {
    let mut site = Site::new().await;
    let storage = site.storage().await;
    site.trades(&storage, 0, 1..=100).await;
    site.trades(&storage, 1, 101..=200).await;
    let transfer_of = transfer(&storage);
    transfer_of.copy(FIRST).await.unwrap();
    let compared = transfer_of.compare(FIRST).await.unwrap();
    // A server that takes its time over the day, during which the writer does other things.
    site.server.freeze().unwrap();
    let meanwhile = async {
        let rolled = storage.call("POST", "/api/v1/storage/cold/archive");
        let (status, _) = timeout(PATIENCE, rolled).await.expect("the writer has time");
        site.server.thaw().unwrap();
        status
    };
    let (gone, status) = tokio::join!(transfer_of.take_out(FIRST, compared), meanwhile);
    gone.unwrap();
    assert_eq!((status, site.in_clickhouse().await), (StatusCode::OK, 100));
    assert_eq!(storage.seqs(70).await, all(200));
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_that_make_no_sense_are_refused() {
    let site = Site::new().await;
    let storage = site.storage().await;
    for (wish, named) in [
        (document!({"before": "yesterday"}), "before"),
        (document!({"before": "2999-01-01"}), "before"),
        (document!({"before": "2026-05-11", "kinds": ["nothing"]}), "kinds"),
        (document!({"before": "2026-05-11", "older_than_days": 3}), "older_than_days"),
        (document!({"dry_run": false}), "before"),
        (document!({"until": "2026-05-11"}), "until"),
    ] {
        let (status, answer) = storage.post("cold/archive", &wish).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wish}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(named), "{wish}: {answer}");
    }
    storage.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let archive = Running::start(&site.venue, dir.path()).await;
    let (status, answer) = archive.post("cold/archive", &document!({"before": "2026-05-11"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    archive.stop().await;
}
