//! What the hot store says of books after a restart.

use super::interface::live;
use super::*;

const PATH: &str = "hot/book/binance/spot/BTC-USDT?depth=1";

/// A storage that has stored these books and was started again.
async fn restarted(venue: &mut Rig, dir: &Path, books: &[Event]) -> Running {
    let storage = Running::start(venue, dir).await;
    let rows: Vec<Vec<u8>> = books.iter().map(json).collect();
    storage.acknowledged(Kind::Book, venue.publish(Kind::Book, &rows).await).await;
    storage.call("POST", "/api/v1/storage/cold/archive").await;
    storage.stop().await;
    Running::start(venue, dir).await
}

/// Repeats an event, since the live lane keeps nothing, until the book is as wished.
async fn say_until(
    venue: &Rig,
    storage: &Running,
    event: &Event,
    wish: impl Fn(&Value) -> bool,
) -> Value {
    let said = async {
        for seq in 1.. {
            live(venue, "a", seq, event).await;
            let (status, body) = storage.call("GET", &format!("/api/v1/storage/{PATH}")).await;
            if status == StatusCode::OK && wish(&body["data"]) {
                return body["data"].clone();
            }
            sleep(Duration::from_millis(20)).await;
        }
        unreachable!("there is always a next one")
    };
    timeout(PATIENCE, said).await.expect("the book is as wished in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_book_goes_on_with_the_next_update_of_the_live_lane() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let stored = [
        book(BookType::Snapshot, 5, 63_000),
        book(BookType::Snapshot, 10, 64_000),
        book(BookType::Diff, 11, 64_001),
        book(BookType::Diff, 12, 64_002),
    ];
    let storage = restarted(&mut venue, dir.path(), &stored).await;
    let body = storage.until(PATH, |status, _| status == StatusCode::OK).await;
    assert_eq!(body["data"]["last_id"], 12);
    assert_eq!(body["data"]["synced"], false, "who knows what was said since: {body}");
    assert_eq!(body["data"]["reason"], "what is stored waits for the next update");
    let next = book(BookType::Diff, 13, 64_003);
    let data = say_until(&venue, &storage, &next, |data| data["synced"] == true).await;
    assert_eq!(data["last_id"], 13);
    assert_eq!(data["bids"], serde_json::json!([["64003", "1"]]));
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_book_that_lags_is_in_step_once_the_rest_is_stored() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let stored = [book(BookType::Snapshot, 10, 64_000), book(BookType::Diff, 11, 64_001)];
    let storage = restarted(&mut venue, dir.path(), &stored).await;
    let (missing, next) = (book(BookType::Diff, 12, 64_002), book(BookType::Diff, 13, 64_003));
    let broken = |data: &Value| data["reason"] == "updates are missing";
    say_until(&venue, &storage, &next, broken).await;
    let seq = venue.publish(Kind::Book, &[json(&missing)]).await;
    storage.acknowledged(Kind::Book, seq).await;
    let body = storage.until(PATH, |_, body| body["data"]["synced"] == true).await;
    assert_eq!(body["data"]["last_id"], 13);
    assert_eq!(body["data"]["bids"], serde_json::json!([["64003", "1"]]));
    storage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_book_with_a_hole_waits_for_a_snapshot() {
    let (mut venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
    let stored = [book(BookType::Snapshot, 10, 64_000), book(BookType::Diff, 12, 64_002)];
    let storage = restarted(&mut venue, dir.path(), &stored).await;
    let next = book(BookType::Diff, 13, 64_003);
    // Something else that is heard says that the live lane is, and so would be what follows it.
    let known = async {
        let path = "/api/v1/storage/hot/bbo/binance/spot/BTC-USDT";
        for seq in 1.. {
            live(&venue, "a", seq, &next).await;
            live(&venue, "a", seq, &bbo(seq)).await;
            if storage.call("GET", path).await.0 == StatusCode::OK {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, known).await.expect("heard in time");
    let (status, body) = storage.call("GET", &format!("/api/v1/storage/{PATH}")).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    let snapshot = book(BookType::Snapshot, 20, 64_010);
    let data = say_until(&venue, &storage, &snapshot, |data| data["synced"] == true).await;
    assert_eq!(data["last_id"], 20);
    storage.stop().await;
}
