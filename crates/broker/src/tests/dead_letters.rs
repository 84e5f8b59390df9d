//! Dead letters, listed and redriven.

use super::*;
use crate::dead_letters::testing::publish_only;
use wire::{DeadLetter, Reason};

/// The letter of a row of the stream of trades.
pub(super) fn letter(reason: Reason, stream_seq: u64, row: u64) -> DeadLetter {
    DeadLetter {
        kind: Kind::Trade,
        reason,
        detail: format!("because of {reason}"),
        subject: "mdb.trade.binance.spot".to_owned(),
        stream_seq,
        stored_at: 1_000,
        block: "collector/1/trade.binance.spot/1".to_owned(),
        row,
        time: 2_000,
    }
}

/// A broker, and one who may publish dead letters.
async fn start() -> (NatsServer, axum::Router, Bus) {
    let server = NatsServer::start().unwrap();
    let suite = suite(&server);
    let router = build(suite.clone()).await.router();
    let bus = connect(&suite, "storage").await;
    (server, router, bus)
}

async fn set_aside(bus: &Bus, letter: &DeadLetter, row: &Value) -> bool {
    let row = Bytes::from(row.to_string());
    bus.publish_dead_letter(letter, row).await.unwrap().duplicate
}

async fn list(router: &axum::Router, query: &str) -> Value {
    let (code, answer) = get(router, &format!("/api/v1/broker/dead-letters{query}")).await;
    assert_eq!(code, StatusCode::OK, "{answer}");
    answer
}

async fn redrive(router: &axum::Router, query: &str) -> (StatusCode, Value) {
    let path = format!("/api/v1/broker/dead-letters/redrive{query}");
    ask(router, Method::POST, &path, Value::Null).await
}

/// The blocks of trades, in order.
async fn blocks(bus: &Bus, count: usize) -> Vec<bus::Block> {
    let limits =
        BatchLimits { blocks_max: count, bytes_max: 1 << 20, linger: Duration::from_secs(5) };
    timeout(LIMIT, bus.blocks(Kind::Trade).next_batch(&limits)).await.unwrap()
}

fn seqs(answer: &Value) -> Vec<u64> {
    let letters = answer["data"].as_array().unwrap();
    letters.iter().map(|letter| letter["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn letters_are_kept_once_and_listed_with_all_that_is_known() {
    let (_server, router, bus) = Box::pin(start()).await;
    assert_eq!(list(&router, "").await, json!({ "data": [], "next_after": null }));
    let refused = letter(Reason::Refused, 7, 4);
    assert!(!set_aside(&bus, &refused, &trade(5)).await);
    let again = DeadLetter { time: 9_000, ..refused.clone() };
    assert!(set_aside(&bus, &again, &trade(5)).await, "the same row of the same block");
    let row = DeadLetter { row: 5, ..refused };
    assert!(!set_aside(&bus, &row, &trade(6)).await);
    let answer = list(&router, "").await;
    assert_eq!(seqs(&answer), [1, 2]);
    let expected = json!({
        "seq": 1, "time": 2_000, "kind": "trade", "reason": "refused",
        "detail": "because of refused", "stream": "MP_TRADE", "stream_seq": 7,
        "subject": "mdb.trade.binance.spot", "block": "collector/1/trade.binance.spot/1", "row": 4,
        "json": trade(5).to_string(),
    });
    assert_eq!(answer["data"][0], expected);
}

#[tokio::test]
async fn pages_and_filters_leave_out_nothing_and_repeat_nothing() {
    let (_server, router, bus) = Box::pin(start()).await;
    for seq in 1..=9 {
        let reason = if seq % 3 == 0 { Reason::Value } else { Reason::Refused };
        set_aside(&bus, &letter(reason, seq, 0), &trade(seq)).await;
    }
    let first = list(&router, "?reason=refused&limit=4").await;
    assert_eq!(seqs(&first), [1, 2, 4, 5]);
    let next = format!("?reason=refused&limit=4&after={}", first["next_after"]);
    let second = list(&router, &next).await;
    assert_eq!((seqs(&second), &second["next_after"]), (vec![7, 8], &Value::Null));
    assert_eq!(seqs(&list(&router, "?kind=book").await), [] as [u64; 0]);
    assert_eq!(seqs(&list(&router, "?kind=trade&reason=value").await), [3, 6, 9]);
    for query in ["?kind=x", "?reason=x", "?limit=0", "?limit=501", "?colour=red"] {
        let (code, _) = get(&router, &format!("/api/v1/broker/dead-letters{query}")).await;
        assert_eq!(code, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn a_redrive_publishes_each_row_and_removes_its_letter() {
    let (_server, router, bus) = Box::pin(start()).await;
    for seq in 1..=3 {
        set_aside(&bus, &letter(Reason::Refused, seq, 0), &trade(seq)).await;
    }
    // An event of another kind goes where it belongs, and what cannot be read where it was.
    let mut gap = trade(4);
    gap["kind"] = json!("agg_trade");
    set_aside(&bus, &letter(Reason::Kind, 4, 0), &gap).await;
    let unreadable = letter(Reason::Unreadable, 5, 0);
    bus.publish_dead_letter(&unreadable, Bytes::from_static(b"{\"v\":1")).await.unwrap();
    let elsewhere = DeadLetter { subject: "mdb.trade.x".to_owned(), ..unreadable.clone() };
    let elsewhere = DeadLetter { stream_seq: 6, ..elsewhere };
    bus.publish_dead_letter(&elsewhere, Bytes::from_static(b"{\"v\":1")).await.unwrap();
    let (_, dry) = redrive(&router, "?dry_run=true").await;
    assert_eq!((&dry["redriven"], &dry["dry_run"]), (&json!(5), &json!(true)), "{dry}");
    assert_eq!(seqs(&list(&router, "").await), [1, 2, 3, 4, 5, 6], "nothing was done");
    let (code, done) = redrive(&router, "").await;
    assert_eq!((code, &done["redriven"]), (StatusCode::OK, &json!(5)), "{done}");
    assert_eq!(done["failed"][0]["seq"], 6);
    assert!(done["failed"][0]["problem"].as_str().unwrap().contains("mdb.trade.x"), "{done}");
    assert_eq!(seqs(&list(&router, "").await), [6], "what cannot be redriven stays");
    let trades = blocks(&bus, 4).await;
    let payloads: Vec<&[u8]> = trades.iter().map(|block| &*block.payload).collect();
    assert_eq!(payloads[0], format!("{}\n", trade(1)).as_bytes());
    assert_eq!(payloads[3], b"{\"v\":1\n");
    let ids: Vec<_> = trades.iter().map(|block| block.id.clone().unwrap()).collect();
    assert!(ids.iter().all(|id| &*id.producer == "dead-letter"), "{ids:?}");
    let other = bus.stream_info("MP_AGG_TRADE").await.unwrap();
    assert_eq!(other.state.messages, 1);
}

#[tokio::test]
async fn letters_are_removed_up_to_the_one_that_was_named_and_returned() {
    let (_server, router, bus) = Box::pin(start()).await;
    for seq in 1..=5 {
        let reason = if seq == 2 { Reason::Value } else { Reason::Refused };
        set_aside(&bus, &letter(reason, seq, 0), &trade(seq)).await;
    }
    let discard = async |query: &str| {
        let path = format!("/api/v1/broker/dead-letters/discard{query}");
        ask(&router, Method::POST, &path, Value::Null).await
    };
    let (code, problem) = discard("").await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(problem["detail"].as_str().unwrap().contains("`through`"), "{problem}");
    let (_, dry) = discard("?through=4&reason=refused&dry_run=true").await;
    assert_eq!((seqs(&dry), seqs(&list(&router, "").await)), (vec![1, 3, 4], vec![1, 2, 3, 4, 5]));
    let (code, first) = discard("?through=4&reason=refused&limit=2").await;
    assert_eq!((code, seqs(&first), &first["next_after"]), (StatusCode::OK, vec![1, 3], &json!(3)));
    assert_eq!(first["data"][0]["json"], trade(1).to_string(), "the caller has it now");
    let (_, second) = discard("?through=4&reason=refused&after=3").await;
    assert_eq!((seqs(&second), &second["next_after"]), (vec![4], &Value::Null));
    assert_eq!(seqs(&list(&router, "").await), [2, 5]);
    let (_, none) = discard("?through=4&reason=refused").await;
    assert_eq!(seqs(&none), [] as [u64; 0]);
    let messages = bus.stream_info("MP_TRADE").await.unwrap().state.messages;
    assert_eq!(messages, 0, "none was put before the store");
}

#[tokio::test]
async fn what_is_interrupted_between_publishing_and_removing_is_published_once() {
    let (_server, router, bus) = Box::pin(start()).await;
    for seq in 1..=2 {
        set_aside(&bus, &letter(Reason::Refused, seq, 0), &trade(seq)).await;
    }
    // A broker that dies after the acknowledgement of the block.
    publish_only(&bus, 1).await;
    assert_eq!(seqs(&list(&router, "").await), [1, 2]);
    let (_, done) = redrive(&router, "").await;
    assert_eq!((&done["redriven"], &done["next_after"]), (&json!(2), &Value::Null), "{done}");
    assert_eq!(seqs(&list(&router, "").await), [] as [u64; 0]);
    let trades = bus.stream_info("MP_TRADE").await.unwrap();
    assert_eq!(trades.state.messages, 2, "one block per row");
}

#[tokio::test]
async fn a_redrive_leaves_alone_what_comes_while_it_runs() {
    let (_server, router, bus) = Box::pin(start()).await;
    for seq in 1..=3 {
        set_aside(&bus, &letter(Reason::Refused, seq, 0), &trade(seq)).await;
    }
    let (_, first) = redrive(&router, "?limit=2").await;
    assert_eq!((&first["through"], &first["next_after"]), (&json!(3), &json!(2)), "{first}");
    // The first row was refused again.
    set_aside(&bus, &letter(Reason::Refused, 10, 0), &trade(1)).await;
    let (_, second) = redrive(&router, "?limit=2&after=2&through=3").await;
    assert_eq!((&second["redriven"], &second["next_after"]), (&json!(1), &Value::Null));
    assert_eq!(seqs(&list(&router, "").await), [4]);
}

#[tokio::test]
async fn a_stream_that_has_no_room_keeps_the_letters() {
    let server = NatsServer::start().unwrap();
    let mut suite = suite(&server);
    suite.broker.streams.trade = settings::Size::kib(64);
    let router = build(suite.clone()).await.router();
    let bus = connect(&suite, "storage").await;
    let block = Bytes::from(vec![b'x'; 60_000]);
    bus.publish_durable("mdb.trade.binance.spot".parse().unwrap(), None, block).await.unwrap();
    let mut row = trade(1);
    row["trade_id"] = json!("9".repeat(20_000));
    set_aside(&bus, &letter(Reason::Value, 1, 0), &row).await;
    let (code, problem) = redrive(&router, "").await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("no room"), "{problem}");
    assert_eq!(seqs(&list(&router, "").await), [1]);
}

#[tokio::test]
async fn waiting_letters_and_a_lack_of_room_are_reported() {
    let server = NatsServer::start().unwrap();
    let mut suite = suite(&server);
    suite.broker.streams.dead_letter = settings::Size::mib(1);
    let router = build(suite.clone()).await.router();
    let bus = connect(&suite, "storage").await;
    set_aside(&bus, &letter(Reason::Value, 1, 0), &trade(1)).await;
    let view = look(&suite).await;
    assert!(view.summary().ends_with("storage lag 0 blocks, 1 dead letter"), "{}", view.summary());
    let problem = &view.problems()[0];
    assert!(problem.contains("1 row could not be stored; no room for more"), "{problem}");
    assert!(problem.contains("marketprism dead-letter redrive"), "{problem}");
    assert!(view.is_ok(), "NATS is as declared");
    redrive(&router, "").await;
    assert!(look(&suite).await.problems().iter().all(|problem| !problem.contains("DEAD_LETTER")));
}
