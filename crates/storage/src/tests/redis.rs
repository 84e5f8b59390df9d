//! What other programs find in Redis, and that its faults are nobody else's. Fault matrix, row 10.

use super::*;
use bus::LiveId;
use testkit::redis::{RedisServer, Reply};

/// Instruments that something happens in.
const SYMBOLS: u64 = 50;

/// A storage with a Redis, and a collector's live lane.
struct Hot {
    redis: RedisServer,
    venue: Rig,
    storage: Running,
    _dir: tempfile::TempDir,
    sent: u64,
}

impl Hot {
    async fn start(lines: &str, password: Option<&str>) -> Self {
        let redis = RedisServer::start_with(lines).unwrap();
        let (venue, dir) = (Rig::start().await, tempfile::tempdir().unwrap());
        let url = redis.url();
        let file = dir.path().join("password");
        if let Some(password) = password {
            std::fs::write(&file, password).unwrap();
        }
        let storage = Running::start_with(&venue, dir.path(), |suite| {
            let hot = &mut suite.storage.hot;
            hot.trades = 100;
            hot.redis.url = Some(url.parse().unwrap());
            hot.redis.timeout = Duration::from_millis(300);
            hot.redis.password_file = password.is_some().then(|| file.clone());
        })
        .await;
        let mut hot = Self { redis, venue, storage, _dir: dir, sent: 0 };
        hot.heard().await;
        hot
    }

    async fn live(&mut self, event: &Event) {
        self.sent += 1;
        let subject = wire::live_subject(event.kind(), &event.instrument);
        let id = LiveId { producer: "a", epoch: 1, seq: self.sent };
        self.venue.bus.publish_live(subject, id, Bytes::from(json(event))).await.unwrap();
    }

    /// Publishes until the storage listens: the live lane keeps nothing.
    async fn heard(&mut self) {
        let heard = async {
            loop {
                self.live(&of("FIRST", bbo(1).body)).await;
                let (status, _) = self.storage.call("GET", &path("bbo", "FIRST")).await;
                if status == StatusCode::OK {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, heard).await.expect("heard in time");
    }

    /// Something new in every symbol, and the interface knows of it: the live lane drops what comes
    /// faster than it is read.
    async fn moves(&mut self, id: u64) {
        for i in 0..SYMBOLS {
            let symbol = format!("S{i}-USDT");
            self.live(&of(&symbol, bbo(id).body)).await;
            self.live(&of(&symbol, trade(id).body)).await;
            self.live(&of(&symbol, book(BookType::Snapshot, id, 60_000).body)).await;
        }
        let last = format!("hot/book/binance/spot/S{}-USDT", SYMBOLS - 1);
        self.storage.until(&last, |_, body| body["data"]["last_id"] == id).await;
    }

    async fn status(&self, wish: impl Fn(&Value) -> bool) -> Value {
        self.storage.until("hot/status", |_, body| wish(&body["redis"])).await["redis"].clone()
    }

    /// Waits until Redis has what the interface says.
    async fn settled(&self) {
        for i in 0..SYMBOLS {
            let symbol = format!("S{i}-USDT");
            let at = |what: &str| format!("marketprism:{what}:binance:spot:{symbol}");
            let bbo = self.answer(&path("bbo", &symbol)).await;
            let book = self.answer(&format!("{}?depth=20", path("book", &symbol))).await;
            let trades = self.answer(&format!("{}?limit=1000", path("trade", &symbol))).await;
            self.comes(&at("latest:bbo"), &bbo).await;
            self.comes(&at("book"), &book).await;
            self.comes(&at("latest:trade"), &trades[0]).await;
            self.comes(&at("trades:trade"), &trades).await;
        }
        self.status(|redis| redis["state"] == "up" && redis["behind_ms"] == 0).await;
    }

    /// Waits until a key holds this.
    async fn comes(&self, key: &str, expected: &Value) {
        let same = async {
            while self.value(key).as_ref() != Some(expected) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let came = timeout(PATIENCE, same).await;
        came.unwrap_or_else(|_| panic!("{key}: {:?} is not {expected}", self.value(key)));
    }

    /// What a key holds: a value, or trades with the newest first.
    fn value(&self, key: &str) -> Option<Value> {
        let json = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
        if !key.starts_with("marketprism:trades:") {
            return self.redis.get(key).unwrap().map(|text| json(&text));
        }
        let Reply::List(rows) = self.redis.query(&["ZREVRANGE", key, "0", "-1"]).unwrap() else {
            panic!("{key} is no list")
        };
        let row = |row: &Reply| -> Value {
            let Reply::Text(text) = row else { panic!("{row:?}") };
            json(text)
        };
        Some(rows.iter().map(row).collect())
    }

    async fn answer(&self, path: &str) -> Value {
        let (status, body) = self.storage.call("GET", path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body["data"].clone()
    }

    /// The cold path and the interface are as fast as ever.
    async fn others_go_on(&mut self) {
        let began = tokio::time::Instant::now();
        let last = self.venue.sent.get(&Kind::Trade).copied().unwrap_or(0);
        let acknowledged = self.venue.trades([last + 1]).await;
        self.storage.acknowledged(Kind::Trade, acknowledged).await;
        self.answer(&path("bbo", "S0-USDT")).await;
        let took = began.elapsed();
        assert!(took < Duration::from_secs(5), "a block and a question took {took:?}");
    }

    async fn stop(self) {
        self.storage.stop().await;
    }
}

fn path(kind: &str, symbol: &str) -> String {
    format!("/api/v1/storage/hot/{kind}/binance/spot/{symbol}")
}

/// An event of a symbol that was received just now.
fn of(symbol: &str, body: Content) -> Event {
    let name = Arc::from(symbol);
    let symbol = Symbol::new(symbol).unwrap();
    let (venue, market) = (Venue::Binance, Market::Spot);
    let event = event(daemon::clock::now(), body);
    Event { instrument: Arc::new(InstrumentId { venue, market, symbol, name }), ..event }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_has_what_the_interface_says() {
    let mut hot = Hot::start("", None).await;
    for id in 1..=150 {
        hot.moves(id).await;
    }
    hot.settled().await;
    let trades = hot.value("marketprism:trades:trade:binance:spot:S0-USDT").unwrap();
    assert_eq!(trades.as_array().unwrap().len(), 100, "as many as are kept");
    hot.storage.healthy().await;
    hot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_gets_everything_when_it_is_back() {
    let mut hot = Hot::start("", None).await;
    hot.moves(1).await;
    hot.settled().await;
    hot.redis.kill();
    let down = hot.status(|redis| redis["state"] == "down").await;
    assert!(down["reason"].as_str().unwrap().contains("cannot be reached"), "{down}");
    hot.moves(2).await;
    hot.others_go_on().await;
    let behind = hot.status(|redis| redis["waiting_keys"].as_u64() > Some(0)).await;
    assert!(behind["waiting_keys"].as_u64().unwrap() <= 4 * (SYMBOLS + 1), "{behind}");
    hot.redis.restart().unwrap();
    hot.settled().await;
    let first = hot.answer(&path("bbo", "FIRST")).await;
    hot.comes("marketprism:latest:bbo:binance:spot:FIRST", &first).await;
    hot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stands_still_holds_up_nobody() {
    let mut hot = Hot::start("", None).await;
    hot.moves(1).await;
    hot.settled().await;
    hot.redis.freeze().unwrap();
    let (until, mut id) = (tokio::time::Instant::now() + Duration::from_secs(3), 1);
    while tokio::time::Instant::now() < until {
        id += 1;
        hot.moves(id).await;
    }
    hot.others_go_on().await;
    let down = hot.status(|redis| redis["state"] == "down").await;
    assert!(down["reason"].as_str().unwrap().contains("does not answer"), "{down}");
    assert!(down["waiting_keys"].as_u64().unwrap() <= 4 * (SYMBOLS + 1), "places: {down}");
    assert!(down["behind_ms"].as_u64().unwrap() >= 1_000, "{down}");
    hot.redis.thaw().unwrap();
    hot.settled().await;
    hot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_redis_is_filled_again() {
    let mut hot = Hot::start("", None).await;
    hot.moves(1).await;
    hot.settled().await;
    let fills = hot.status(|_| true).await["fills"].as_u64().unwrap();
    hot.redis.query(&["FLUSHALL"]).unwrap();
    hot.status(|redis| redis["fills"].as_u64() > Some(fills)).await;
    hot.settled().await;
    hot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_an_error_that_goes_when_there_is_room() {
    let mut hot = Hot::start("maxmemory-policy noeviction", None).await;
    hot.moves(1).await;
    hot.settled().await;
    hot.redis.query(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    hot.moves(2).await;
    let down = hot.status(|redis| redis["state"] == "down").await;
    assert!(down["reason"].as_str().unwrap().contains("memory is full"), "{down}");
    hot.others_go_on().await;
    hot.redis.query(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    hot.settled().await;
    hot.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_degrades_the_service_and_says_why() {
    let mut hot = Hot::start("requirepass right", Some("wrong")).await;
    hot.moves(1).await;
    hot.others_go_on().await;
    let down = hot.status(|redis| redis["state"] == "down").await;
    let reason = down["reason"].as_str().unwrap();
    assert!(reason.contains("refuses the password") && reason.contains("WRONGPASS"), "{reason}");
    // The health follows within a second or two; a service with an optional dependency away works.
    let unwell = async {
        while hot.storage.health.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, unwell).await.expect("unwell in time");
    assert!(hot.storage.health.is_ready(), "for a while it does without");
    let status = hot.storage.get("status").await;
    assert!(status["summary"].as_str().unwrap().contains("refuses the password"), "{status}");
    hot.stop().await;
}
