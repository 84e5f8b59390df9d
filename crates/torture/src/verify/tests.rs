//! Negative controls: each demand fails, and it alone, when what it looks at is tampered with.

use super::*;
use crate::fault::{Fault, Program};
use crate::schedule::Strike;
use std::time::Duration;

fn book() -> Book {
    let level = |price: &str| (price.to_owned(), "1".to_owned());
    Book { last_id: 9, bids: vec![level("2"), level("1")], asks: vec![level("3")] }
}

/// A run in which everything is as it should be.
fn good() -> Facts {
    let of = |name: &str| name.to_owned();
    let strike = Strike {
        at: Duration::from_secs(9),
        fault: Fault::Kill(Program::Storage),
        length: Duration::ZERO,
    };
    let took = Some(Duration::from_secs(1));
    Facts {
        streams: [(of("trade"), Report { sent: 9, returned: 8, in_gaps: 1, ..Report::default() })]
            .into(),
        markets: [(
            of("okx/perp"),
            Carried { streams: 1, sent: 9, stored: 9, ..Carried::default() },
        )]
        .into(),
        doors: [(of("trade"), (Answer { rows: 8, ids: 7 }, Answer { rows: 8, ids: 7 }))].into(),
        newest: [(of("trade"), Newest { cold: Some(9), hot: Some(9), flagged: false })].into(),
        books: [(of("hot"), (Ok(book()), book()))].into(),
        services: [(of("storage"), None)].into(),
        memory: [(of("storage"), Memory { peak_bytes: 1 << 20, cap_bytes: 2 << 20 })].into(),
        malformed: vec![Malformed {
            sent: 9,
            refused: [(of("malformed"), 9)].into(),
            disconnects: 0,
        }],
        recoveries: vec![Recovery { strike, not_done: None, took, overtaken: false }],
        probed: Some(Probed { refused: 9, admitted: 2, ..Probed::default() }),
        alarms: vec![Alarm {
            strike,
            alert: of("service-down of storage"),
            due: Duration::from_secs(39),
            fired: true,
        }],
        duties: vec![Duty { strike, took, overtaken: false }],
        runs: Some(Runs { due: 9, ..Runs::default() }),
        ..Facts::default()
    }
}

/// The demands that are not met after a change.
fn broken(change: impl FnOnce(&mut Facts)) -> Vec<&'static str> {
    let mut facts = good();
    change(&mut facts);
    checks(&facts).into_iter().filter(|check| !check.holds()).map(|check| check.name).collect()
}

fn report(facts: &mut Facts) -> &mut Report {
    facts.streams.get_mut("trade").unwrap()
}

#[test]
fn a_good_run_meets_every_demand() {
    assert_eq!(broken(|_| {}), Vec::<&str>::new());
}

#[test]
fn an_id_that_is_doubled_changed_or_unknown_is_found() {
    let once = ["I1 every id once and unchanged"];
    assert_eq!(broken(|facts| report(facts).doubled.push(3)), once);
    assert_eq!(broken(|facts| report(facts).changed.push(3)), once);
    assert_eq!(broken(|facts| report(facts).unknown.push(3)), once);
    assert_eq!(broken(|facts| report(facts).sent = 0), once);
    assert_eq!(broken(|facts| facts.streams.clear()), once, "nothing compared is nothing shown");
}

#[test]
fn a_row_that_clickhouse_has_twice_is_found() {
    let tables = |rows, identities| {
        let table = Distinct { rows, identities };
        broken(|facts| facts.tables = Some([("trade".to_owned(), table)].into()))
    };
    assert_eq!(tables(9, 9), Vec::<&str>::new());
    let once = ["I1 no row twice on the disks of ClickHouse"];
    assert_eq!(tables(9, 8), once);
    assert_eq!(tables(0, 0), once, "nothing counted is nothing shown");
}

#[test]
fn a_candle_that_is_not_that_of_its_trades_is_found_unless_trades_are_known_to_be_missing() {
    let differ = |facts: &mut Facts| {
        facts.candles = Candles { compared: 2, different: vec!["BTC-USDT at 12:01".to_owned()] };
    };
    assert_eq!(broken(differ), ["I2 the venue's candles are those of the trades"]);
    let missing = broken(|facts| {
        differ(facts);
        facts.unfetched.push("BTCUSDT: g1".to_owned());
    });
    assert_eq!(missing, ["I2 every missed trade was fetched"]);
}

#[test]
fn a_copy_in_redis_that_is_old_or_not_there_is_found() {
    let copies = |redis| {
        let copy = Copied { hot: Some(9), redis };
        broken(|facts| facts.copies = Some([("trade".to_owned(), copy)].into()))
    };
    assert_eq!(copies(Some(9)), Vec::<&str>::new());
    let same = ["I4 Redis has what the hot store has"];
    assert_eq!(copies(Some(8)), same);
    assert_eq!(copies(None), same);
}

#[test]
fn a_book_that_waits_for_its_snapshot_has_no_copy_yet() {
    let waits = |flagged| {
        broken(|facts| {
            let copy = Copied { hot: None, redis: None };
            facts.copies = Some([("book".to_owned(), copy)].into());
            let newest = Newest { cold: Some(9), hot: Some(9), flagged };
            facts.newest.insert("book".to_owned(), newest);
        })
    };
    assert_eq!(waits(true), Vec::<&str>::new());
    assert_eq!(waits(false), ["I4 Redis has what the hot store has"]);
}

#[test]
fn an_id_that_is_missing_is_found() {
    let missing = ["I2 nothing missing in silence"];
    assert_eq!(broken(|facts| report(facts).missing.push(3)), missing);
}

#[test]
fn a_trade_that_was_not_fetched_is_found() {
    let fetched = ["I2 every missed trade was fetched"];
    assert_eq!(broken(|facts| facts.unfetched.push("BTCUSDT".to_owned())), fetched);
}

#[test]
fn an_untrue_gap_record_is_found() {
    let untrue = ["I2 no gap record is untrue"];
    assert_eq!(broken(|facts| facts.untrue_gaps.push("trade between 1 and 3".to_owned())), untrue);
}

#[test]
fn a_gateway_that_returns_something_else_is_found() {
    let same = ["storage and gateway return the same"];
    let gateway = |facts: &mut Facts, answer| facts.doors.get_mut("trade").unwrap().1 = answer;
    assert_eq!(broken(|facts| gateway(facts, Answer { rows: 7, ids: 7 })), same);
    assert_eq!(broken(|facts| gateway(facts, Answer { rows: 8, ids: 6 })), same);
    let mut facts = good();
    gateway(&mut facts, Answer { rows: 7, ids: 7 });
    facts.differences.push("ids of storage alone: 1 (3)".to_owned());
    let check = checks(&facts).into_iter().find(|check| check.name == same[0]).unwrap();
    assert_eq!(check.failures.len(), 2, "the rows of each, and how they differ");
}

#[test]
fn a_book_that_is_not_the_venues_is_found() {
    let equal = ["I3 books equal the venue's"];
    let change = |change: fn(&mut Book)| {
        broken(|facts| change(facts.books.get_mut("hot").unwrap().0.as_mut().unwrap()))
    };
    assert_eq!(change(|book| book.last_id = 8), equal);
    assert_eq!(change(|book| book.bids[1].1 = "2".to_owned()), equal);
    assert_eq!(change(|book| book.asks.clear()), equal);
    let gone = |facts: &mut Facts| facts.books.get_mut("hot").unwrap().0 = Err("gone".to_owned());
    assert_eq!(broken(gone), equal);
}

#[test]
fn a_hot_store_that_is_older_than_the_store_is_found_unless_it_says_so() {
    let new = ["I4 the hot store is as new as the store"];
    let change = |hot, flagged| {
        broken(|facts| {
            let newest = facts.newest.get_mut("trade").unwrap();
            (newest.hot, newest.flagged) = (hot, flagged);
        })
    };
    assert_eq!(change(Some(8), false), new);
    assert_eq!(change(None, false), new);
    assert_eq!(change(Some(8), true), Vec::<&str>::new());
}

#[test]
fn who_gets_in_without_a_key_and_a_failure_that_tells_a_secret_are_found() {
    let shut = ["I5 nobody gets in without a key, and no failure tells secrets"];
    let change = |change: fn(&mut Probed)| broken(|facts| change(facts.probed.as_mut().unwrap()));
    let let_in = |probed: &mut Probed| probed.let_in.extend(["GET /x: 200".to_owned()]);
    assert_eq!(change(let_in), shut);
    let leaks = |probed: &mut Probed| probed.leaks.extend(["GET /x: 500".to_owned()]);
    assert_eq!(change(leaks), shut);
    assert_eq!(change(|probed| probed.refused = 0), shut, "nobody asked");
    assert_eq!(change(|probed| probed.admitted = 0), shut, "the door was shut for all");
}

#[test]
fn an_alert_that_does_not_fire_or_does_not_clear_is_found() {
    let alerts = ["I7 alerts fire in time, and clear"];
    assert_eq!(broken(|facts| facts.alarms[0].fired = false), alerts);
    assert_eq!(broken(|facts| facts.left_firing.push("nats-down".to_owned())), alerts);
}

#[test]
fn a_service_that_does_not_work_again_and_a_time_without_its_run_are_found() {
    let works = ["a killed service does its work again"];
    assert_eq!(broken(|facts| facts.duties[0].took = None), works);
    let late = Some(Duration::from_secs(99));
    assert_eq!(broken(|facts| facts.duties[0].took = late), works);
    let runs = |runs| broken(|facts| facts.runs = Some(runs));
    let once = ["a task runs once for each of its times"];
    assert_eq!(runs(Runs { due: 9, missing: 1, ..Runs::default() }), once);
    assert_eq!(runs(Runs { due: 9, doubled: 1, ..Runs::default() }), once);
    assert_eq!(runs(Runs { due: 9, skipped: 1, ..Runs::default() }), once);
    assert_eq!(runs(Runs::default()), once, "no time came");
}

#[test]
fn memory_beyond_its_cap_or_never_measured_is_found() {
    let within = ["I6 memory within its caps"];
    let change =
        |bytes| broken(|facts| facts.memory.get_mut("storage").unwrap().peak_bytes = bytes);
    assert_eq!(change(3 << 20), within);
    assert_eq!(change(0), within);
}

#[test]
fn a_fault_that_was_not_done_or_not_recovered_from_is_found() {
    let recovered = ["I8 every fault was done and recovered from"];
    assert_eq!(broken(|facts| facts.recoveries[0].took = None), recovered);
    assert_eq!(broken(|facts| facts.recoveries[0].not_done = Some("no".to_owned())), recovered);
}

#[test]
fn a_refused_row_that_is_not_set_aside_or_comes_without_its_reason_is_found() {
    let poison = |set_aside, explained, redriven| {
        broken(|facts| facts.poison = Some(Poison { set_aside, explained, redriven }))
    };
    assert_eq!(poison(7, 7, 7), Vec::<&str>::new());
    let aside = ["what a table refuses is set aside with its reason"];
    assert_eq!(poison(0, 0, 0), aside);
    assert_eq!(poison(7, 6, 7), aside);
    assert_eq!(poison(7, 7, 6), aside);
}

#[test]
fn a_malformed_message_that_was_not_refused_or_cost_a_connection_is_found() {
    let nothing = ["malformed messages are refused and counted, and cost nothing"];
    assert_eq!(broken(|facts| facts.malformed[0].sent = 10), nothing);
    assert_eq!(broken(|facts| facts.malformed[0].disconnects = 1), nothing);
    assert_eq!(broken(|facts| facts.malformed[0] = Malformed::default()), nothing);
}

#[test]
fn a_service_that_stays_ill_or_ends_unasked_is_found() {
    let ill = |facts: &mut Facts| {
        facts.services.insert("storage".to_owned(), Some("degraded".to_owned()));
    };
    assert_eq!(broken(ill), ["every service is well again"]);
    let surprise = Surprise { program: "storage".to_owned(), at: 1.0, what: "ended".to_owned() };
    assert_eq!(broken(|facts| facts.surprises.push(surprise)), ["nothing ended unasked"]);
}

#[test]
fn a_market_of_which_something_was_lost_or_that_sent_nothing_is_found() {
    let stored = ["a load is stored and nothing of it lost"];
    let spoilings: [fn(Carried) -> Carried; 3] = [
        |good| Carried { lost: 1, ..good },
        |good| Carried { cut_off: 1, ..good },
        |good| Carried { sent: 0, ..good },
    ];
    for spoil in spoilings {
        let spoilt = broken(|facts| {
            let carried = facts.markets.get_mut("okx/perp").unwrap();
            *carried = spoil(carried.clone());
        });
        assert_eq!(spoilt, stored);
    }
}
