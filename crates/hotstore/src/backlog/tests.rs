use super::*;
use std::time::Duration;

fn key(symbol: &str) -> StreamKey {
    format!("binance/spot/{symbol}").parse().unwrap()
}

fn taken(backlog: &mut Backlog) -> Option<(String, Slot, u64)> {
    backlog.take().map(|(key, slot, mark)| (key.symbol.to_string(), slot, mark.from))
}

#[test]
fn what_changes_twice_waits_once_and_since_the_first_time() {
    let (mut backlog, began) = (Backlog::new(), Instant::now());
    let bbo = Slot::Latest(Kind::Bbo);
    let later = began + Duration::from_secs(5);
    assert!(!backlog.mark(&key("A"), bbo, Mark { from: 0, since: began }));
    for _ in 0..1_000 {
        assert!(backlog.mark(&key("A"), bbo, Mark { from: 0, since: later }));
    }
    assert_eq!((backlog.len(), backlog.since()), (1, Some(began)));
    assert_eq!(taken(&mut backlog), Some(("A".to_owned(), bbo, 0)));
    assert_eq!((backlog.take(), backlog.since()), (None, None));
}

#[test]
fn trades_wait_from_the_lowest_id_on() {
    let (mut backlog, since) = (Backlog::new(), Instant::now());
    let trades = Slot::Trades(Kind::Trade);
    for from in [7, 8, 3, 9] {
        assert!(!backlog.mark(&key("A"), trades, Mark { from, since }), "none takes a place");
    }
    assert_eq!(taken(&mut backlog), Some(("A".to_owned(), trades, 3)));
}

#[test]
fn a_key_that_changes_all_the_time_keeps_no_other_waiting() {
    let (mut backlog, since) = (Backlog::new(), Instant::now());
    let mark = Mark { from: 0, since };
    for symbol in ["A", "B", "C"] {
        backlog.mark(&key(symbol), Slot::Book, mark);
    }
    let mut order = String::new();
    for _ in 0..6 {
        let (symbol, ..) = taken(&mut backlog).unwrap();
        order.push_str(&symbol);
        backlog.mark(&key("A"), Slot::Book, mark);
        backlog.mark(&key(&symbol), Slot::Book, mark);
    }
    assert_eq!(order, "ABCABC");
}
