//! What is in Redis, and in whose favour conflicts end.

use super::*;

#[tokio::test]
async fn values_are_where_the_documentation_says_and_all_of_them_expire() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server);
    let mut batch = trades("BTC-USDT", [1, 2, 3]);
    let kinds = || Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Book);
    for kind in kinds() {
        batch.latest(kind, &key("BTC-USDT"), stored(START), &json(0, 7));
    }
    batch.book(&key("币安人生USDT"), stored(START), &json(0, 8));
    rig.write(batch).await;
    for kind in kinds() {
        let key = format!("marketprism:latest:{kind}:binance:spot:BTC-USDT");
        assert_eq!(
            server.get(&key).unwrap(),
            Some(String::from_utf8(json(0, 7)).unwrap()),
            "{key}"
        );
    }
    let book = server.get("marketprism:book:binance:spot:币安人生USDT").unwrap().unwrap();
    assert_eq!(id(&book), 8);
    assert_eq!(trades_at(&server, "BTC-USDT"), [3, 2, 1]);
    let Reply::List(keys) = server.query(&["KEYS", "*"]).unwrap() else { panic!("no keys") };
    let expected = kinds().count() + 3;
    assert_eq!(keys.len(), expected, "the kinds, a book, trades and a mark: {keys:?}");
    for key in &keys {
        let Reply::Number(left) = server.query(&["PTTL", text(key)]).unwrap() else { panic!() };
        assert!(left > 0 && left <= 86_403_000, "{key:?} has {left} ms left");
    }
}

#[tokio::test]
async fn an_older_value_never_replaces_a_newer_one_whoever_writes_it() {
    let server = RedisServer::start().unwrap();
    let mut first = Rig::start(&server);
    let mut second = Rig::start(&server);
    first.write(bbo("A", 10, 10)).await;
    first.write(bbo("A", 9, 9)).await;
    assert_eq!(bbo_at(&server, "A"), Some(10), "of the same writer");
    second.write(bbo("A", 9, 9)).await;
    assert_eq!(bbo_at(&server, "A"), Some(10), "of another one");
    second.write(bbo("A", 11, 11)).await;
    first.write(bbo("A", 10, 10)).await;
    assert_eq!(bbo_at(&server, "A"), Some(11), "the other one's is newer");
    drop(first);
    let mut restarted = Rig::start(&server);
    restarted.write(bbo("A", 8, 8)).await;
    assert_eq!(bbo_at(&server, "A"), Some(11), "after a restart");
    restarted.write(bbo("A", 11, 12)).await;
    assert_eq!(bbo_at(&server, "A"), Some(12), "of equals the last one stays");
    assert_eq!(restarted.status.borrow().values, 1, "what was refused is not counted");
}

#[tokio::test]
async fn a_clock_that_was_set_back_keeps_no_live_value_out() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server);
    rig.write(bbo("A", 100, 1)).await;
    for (seconds, id, expected) in [(95, 2, 1), (94, 3, 3), (2, 4, 4), (3, 5, 5)] {
        let stamp = Stamp { recv_time: START + seconds * SECOND, live: true };
        let mut batch = Batch::new();
        batch.latest(Kind::Bbo, &key("A"), stamp, &json(seconds, id));
        rig.write(batch).await;
        assert_eq!(bbo_at(&server, "A"), Some(expected), "{seconds} s");
    }
    rig.write(bbo("A", 1, 6)).await;
    assert_eq!(bbo_at(&server, "A"), Some(5), "a stored value is only ever judged by its time");
}

#[tokio::test]
async fn times_are_compared_to_the_nanosecond() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start(&server);
    // As doubles these are the same number.
    for (time, expected) in [(START + 1, 1), (START, 1), (START + 2, 2)] {
        let json = format!("{{\"recv_time\":{time},\"id\":{}}}", time - START);
        let mut batch = Batch::new();
        batch.latest(Kind::Bbo, &key("A"), stored(time), json.as_bytes());
        rig.write(batch).await;
        assert_eq!(bbo_at(&server, "A"), Some(expected));
    }
}

#[tokio::test]
async fn the_last_trades_are_in_order_and_once_however_they_come() {
    let server = RedisServer::start().unwrap();
    let (mut first, mut second) = (Rig::start(&server), Rig::start(&server));
    first.write(trades("A", [4, 5, 8])).await;
    second.write(trades("A", [1, 5, 6])).await;
    first.write(trades("A", [7])).await;
    assert_eq!(trades_at(&server, "A"), [8, 7, 6, 5, 4]);
    second.write(trades("A", [1, 2, 3])).await;
    assert_eq!(trades_at(&server, "A"), [8, 7, 6, 5, 4], "older ones find no room");
    first.write(trades("A", 1..=700)).await;
    assert_eq!(trades_at(&server, "A"), [700, 699, 698, 697, 696], "more than one call takes");
    first.write(trades("A", [u64::MAX, 701])).await;
    assert_eq!(trades_at(&server, "A")[0], 701, "an id beyond what scores hold is left out");
}

#[tokio::test]
async fn a_value_lives_from_when_it_was_received_not_from_when_it_was_written() {
    let server = RedisServer::start().unwrap();
    let mut rig = Rig::start_with(&server.url(), None, Duration::from_secs(60));
    rig.now.store(START + 50 * SECOND, Ordering::Relaxed);
    rig.write(bbo("A", 0, 1)).await;
    let key = "marketprism:latest:bbo:binance:spot:A";
    let Reply::Number(left) = server.query(&["PTTL", key]).unwrap() else { panic!() };
    assert!(left > 0 && left <= 10_000, "{left} ms");
    rig.now.store(START + 60 * SECOND, Ordering::Relaxed);
    rig.write(bbo("B", 0, 1)).await;
    rig.write(trades("B", [0])).await;
    assert_eq!((bbo_at(&server, "B"), trades_at(&server, "B")), (None, Vec::new()));
    assert_eq!(rig.status.borrow().values, 1);
}

#[tokio::test]
async fn what_somebody_else_put_at_our_keys_is_replaced() {
    let server = RedisServer::start().unwrap();
    let key = "marketprism:latest:bbo:binance:spot:A";
    server.query(&["LPUSH", key, "x"]).unwrap();
    server.query(&["SET", "marketprism:latest:bbo:binance:spot:B", "no time in it"]).unwrap();
    server.query(&["SET", "marketprism:trades:trade:binance:spot:A", "x"]).unwrap();
    let mut rig = Rig::start(&server);
    rig.write(bbo("A", 1, 1)).await;
    rig.write(bbo("B", 1, 2)).await;
    rig.write(trades("A", [1])).await;
    assert_eq!((bbo_at(&server, "A"), bbo_at(&server, "B")), (Some(1), Some(2)));
    assert_eq!(trades_at(&server, "A"), [1]);
}
