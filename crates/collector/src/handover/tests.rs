//! Ring 1: what is known to be handed over.

use super::*;
use crate::block::tests::{gap, instrument, run};
use model::GapState;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn subject(kind: Kind) -> DurableSubject {
    DurableSubject::of(kind, &instrument("BTC-USDT"))
}

fn trades(handover: &mut Handover, first: u64, last: u64) {
    handover.handed(subject(Kind::Trade), &[run(Kind::Trade, first, last)]);
}

/// The gaps that the next run would record, as `after..before`.
fn gaps(handover: &Handover) -> Vec<String> {
    let events = handover.unrecorded(&handover.last_ids(), UnixNanos::new(9));
    let text = |event: &Event| {
        let Body::Gap(gap) = &event.body else { panic!("{event:?}") };
        format!("{}..{}", gap.after_id.unwrap(), gap.before_id.unwrap())
    };
    events.iter().map(text).collect()
}

#[test]
fn the_last_id_is_where_the_next_run_begins() {
    let mut handover = Handover::default();
    trades(&mut handover, 5, 9);
    trades(&mut handover, 10, 12);
    assert_eq!(handover.last_ids().into_values().collect::<Vec<_>>(), [12]);
    assert!(gaps(&handover).is_empty());
}

#[test]
fn a_hole_is_remembered_until_its_record_is_handed_over() {
    let mut handover = Handover::default();
    trades(&mut handover, 5, 9);
    trades(&mut handover, 15, 20);
    assert_eq!(gaps(&handover), ["9..15"]);
    handover.handed(subject(Kind::Gap), &[run(Kind::Trade, 10, 14)]);
    assert!(gaps(&handover).is_empty());
}

/// Puts on record that an id is no trade's.
fn skip(handover: &mut Handover, id: u64) {
    let gap = Gap { cause: Cause::Skipped, state: GapState::Healed, ..gap(id - 1, id + 1) };
    let run = Run { gap: Some(Arc::new(gap)), ..run(Kind::Trade, id, id) };
    handover.handed(subject(Kind::Gap), &[run]);
}

#[test]
fn an_id_that_is_no_trade_is_not_missing_whichever_comes_first() {
    let mut handover = Handover::default();
    trades(&mut handover, 5, 9);
    trades(&mut handover, 11, 12);
    assert_eq!(gaps(&handover), ["9..11"]);
    skip(&mut handover, 10);
    assert!(gaps(&handover).is_empty());
    // The record first, and a crash in between.
    skip(&mut handover, 15);
    skip(&mut handover, 17);
    let mut handover = Handover::decode(&handover.encode()).unwrap();
    assert_eq!(handover.last_ids().into_values().collect::<Vec<_>>(), [12]);
    trades(&mut handover, 13, 14);
    assert_eq!(handover.last_ids().into_values().collect::<Vec<_>>(), [15]);
    trades(&mut handover, 19, 20);
    assert_eq!(gaps(&handover), ["15..17", "17..19"], "16 and 18 are trades");
    // The next run begins behind it.
    skip(&mut handover, 21);
    assert_eq!(handover.last_ids().into_values().collect::<Vec<_>>(), [21]);
}

#[test]
fn what_is_on_record_behind_the_last_trade_is_not_recorded_again() {
    let mut handover = Handover::default();
    trades(&mut handover, 5, 9);
    let gap = Gap { cause: Cause::Disconnect, ..gap(12, 15) };
    let record = Run { gap: Some(Arc::new(gap)), ..run(Kind::Trade, 13, 14) };
    handover.handed(subject(Kind::Gap), &[record]);
    // It has overtaken the trades before it.
    trades(&mut handover, 10, 12);
    let mut handover = Handover::decode(&handover.encode()).unwrap();
    assert_eq!(handover.last_ids().into_values().collect::<Vec<_>>(), [14]);
    trades(&mut handover, 15, 16);
    assert!(gaps(&handover).is_empty());
}

#[test]
fn ids_that_begin_anew_are_followed_and_the_ones_before_say_nothing_more() {
    let at = |second: i64| (UnixNanos::new(second), UnixNanos::new(second));
    let trade = |first, last, second| Run { times: at(second), ..run(Kind::Trade, first, last) };
    let lost = |state| Gap { before_id: None, cause: Cause::Reset, state, ..gap(20_004, 0) };
    let record = Run {
        gap: Some(Arc::new(lost(GapState::Lost))),
        ids: None,
        times: at(10),
        ..run(Kind::Trade, 1, 1)
    };
    // The record, the trades of the new numbering, and one of the old one that comes late.
    let steps = [
        (Kind::Trade, trade(20_000, 20_004, 5)),
        (Kind::Gap, record),
        (Kind::Trade, trade(3, 9, 11)),
        (Kind::Trade, trade(20_005, 20_006, 9)),
    ];
    for order in [[0, 1, 2, 3], [0, 1, 3, 2]] {
        let mut handover = Handover::default();
        for (kind, run) in order.map(|step| &steps[step]) {
            handover.handed(subject(*kind), std::slice::from_ref(run));
        }
        assert_eq!(handover.last_ids().into_values().collect::<Vec<_>>(), [9]);
        assert!(gaps(&handover).is_empty());
        handover.handed(subject(Kind::Trade), &[trade(15, 16, 12)]);
        assert_eq!(gaps(&handover), ["9..15"]);
    }
}

#[test]
fn what_was_skipped_before_the_first_trade_begins_no_stream() {
    let mut handover = Handover::default();
    skip(&mut handover, 4);
    assert_eq!(handover, Handover::default());
}

#[test]
fn a_late_trade_narrows_the_hole() {
    let mut handover = Handover::default();
    trades(&mut handover, 5, 9);
    trades(&mut handover, 15, 20);
    trades(&mut handover, 12, 12);
    assert_eq!(gaps(&handover), ["9..12", "12..15"]);
    trades(&mut handover, 10, 11);
    trades(&mut handover, 13, 14);
    assert!(gaps(&handover).is_empty());
}

#[test]
fn what_the_spool_had_to_drop_is_missing_again() {
    let mut handover = Handover::default();
    trades(&mut handover, 5, 20);
    handover.lost(&[run(Kind::Trade, 8, 11)]);
    assert_eq!(gaps(&handover), ["7..12"]);
}

#[test]
fn a_stream_is_forgotten_once_its_instrument_has_ended_and_nothing_came_for_a_while() {
    let mut handover = Handover::default();
    let last = |handover: &Handover| handover.last_ids().into_values().next();
    trades(&mut handover, 5, 9);
    handover.forget(|_| true);
    trades(&mut handover, 10, 11);
    handover.forget(|_| true);
    assert_eq!(last(&handover), Some(11), "something came between the looks");
    handover.forget(|_| false);
    handover.forget(|_| true);
    assert_eq!(last(&handover), Some(11), "it was listed in between");
    handover.forget(|_| true);
    assert_eq!(last(&handover), None);
}

#[test]
fn a_book_that_broke_when_its_contract_ended_is_forgotten_with_it() {
    let mut handover = Handover::default();
    books(&mut handover, 5, 9);
    handover.broken(&break_record(9, None, 1, GapState::Open));
    handover.forget(|_| true);
    assert!(!handover.breaks.texts().is_empty(), "something may come yet");
    handover.forget(|_| false);
    (0..2).for_each(|_| handover.forget(|_| true));
    assert!(handover.breaks.texts().is_empty());
}

#[test]
fn a_stream_of_which_something_is_missing_or_spooled_is_not_forgotten() {
    let mut handover = Handover::default();
    let forget = |handover: &mut Handover| (0..3).for_each(|_| handover.forget(|_| true));
    trades(&mut handover, 5, 9);
    trades(&mut handover, 15, 20);
    forget(&mut handover);
    assert_eq!(gaps(&handover), ["9..15"], "its record was not handed over");
    handover.handed(subject(Kind::Gap), &[run(Kind::Trade, 10, 14)]);
    handover.stored(subject(Kind::Trade), &[run(Kind::Trade, 21, 22)]);
    forget(&mut handover);
    assert_eq!(handover.last_ids().into_values().collect::<Vec<_>>(), [22]);
    handover.acked(subject(Kind::Trade), &[run(Kind::Trade, 21, 22)]);
    forget(&mut handover);
    assert!(handover.last_ids().is_empty());
}

#[test]
fn kinds_whose_ids_have_holes_are_not_watched() {
    let mut handover = Handover::default();
    handover.handed(subject(Kind::Bbo), &[run(Kind::Bbo, 5, 9), run(Kind::Bbo, 20, 20)]);
    assert_eq!(handover, Handover::default());
}

#[test]
fn reading_begins_at_the_subject_that_lags_behind() {
    let mut handover = Handover::default();
    let perp = DurableSubject { market: Market::Perp, ..subject(Kind::Trade) };
    handover.at(subject(Kind::Trade), 17);
    handover.at(perp, 12);
    handover.at(subject(Kind::Trade), 15);
    assert_eq!(handover.positions(), BTreeMap::from([(Kind::Trade, 12)]));
}

#[test]
fn a_record_names_the_gap_as_the_feed_does() {
    let event = gap_event(&run(Kind::Trade, 10, 14), Cause::Restart, UnixNanos::new(9));
    let Body::Gap(gap) = event.body else { panic!() };
    assert_eq!(&*gap.gap_id, "binance.spot.BTC-USDT.trade.9");
    assert_eq!((gap.after_id, gap.before_id), (Some(9), Some(15)));
}

#[test]
fn what_overflows_again_is_another_gap() {
    let name = |now| {
        let event = gap_event(&run(Kind::Trade, 10, 14), Cause::Overflow, UnixNanos::new(now));
        let Body::Gap(gap) = event.body else { panic!() };
        assert_eq!((gap.version, gap.state), (1, GapState::Open));
        gap.gap_id
    };
    assert_ne!(name(9), name(10));
}

fn books(handover: &mut Handover, first: u64, last: u64) {
    handover.handed(subject(Kind::Book), &[run(Kind::Book, first, last)]);
}

/// The record of a break in a book.
fn break_record(after_id: u64, before_id: Option<u64>, version: u32, state: GapState) -> Run {
    let after_id = Some(after_id);
    let gap = Gap { of: Kind::Book, after_id, before_id, version, state, ..gap(0, 0) };
    let recv_time = UnixNanos::new(1);
    let body = Body::Gap(gap);
    let instrument = instrument("BTC-USDT");
    Run::of(&Event { instrument, venue_time: None, recv_time, origin: None, body })
}

#[test]
fn a_book_that_is_sent_whole_while_it_is_in_step_leaves_nothing_missing() {
    let mut handover = Handover::default();
    books(&mut handover, 5, 9);
    // A snapshot, which skips ids, what continues it, and another one.
    for (first, last) in [(40, 40), (41, 44), (90, 90)] {
        books(&mut handover, first, last);
        assert_eq!(gaps(&handover), [""; 0]);
    }
    assert_eq!(handover.last_ids().into_values().collect::<Vec<_>>(), [90]);
}

#[test]
fn a_broken_book_is_missing_until_the_record_that_closes_the_gap_is_handed_over() {
    let mut handover = Handover::default();
    assert!(handover.broken(&break_record(9, None, 1, GapState::Open)), "to be written first");
    assert!(!handover.broken(&break_record(9, None, 1, GapState::Open)));
    // What was on its way when the book broke.
    books(&mut handover, 5, 7);
    books(&mut handover, 8, 9);
    let mut handover = Handover::decode(&handover.encode()).unwrap();
    books(&mut handover, 40, 40);
    assert_eq!(gaps(&handover), ["9..40"]);
    handover.handed(subject(Kind::Gap), &[break_record(9, Some(40), 2, GapState::Healed)]);
    assert_eq!(gaps(&handover), [""; 0]);
    books(&mut handover, 60, 60);
    assert_eq!(gaps(&handover), [""; 0], "it is in step again");
    assert_eq!(Handover::decode(&handover.encode()).unwrap(), handover);
}

#[test]
fn a_record_that_is_faster_than_the_snapshot_accounts_for_what_it_skips() {
    let mut handover = Handover::default();
    books(&mut handover, 5, 9);
    handover.broken(&break_record(9, None, 1, GapState::Open));
    for (before, version, state) in [(None, 1, GapState::Open), (Some(40), 2, GapState::Healed)] {
        handover.handed(subject(Kind::Gap), &[break_record(9, before, version, state)]);
    }
    books(&mut handover, 40, 40);
    assert_eq!(gaps(&handover), [""; 0]);
}

/// The handover of a run that was killed, with ids 5 to 9 acknowledged and 10 to 20 in the spool.
fn spooled() -> Handover {
    let mut handover = Handover::default();
    trades(&mut handover, 5, 9);
    for (first, last) in [(10, 12), (13, 16), (17, 20)] {
        handover.stored(subject(Kind::Trade), &[run(Kind::Trade, first, last)]);
    }
    Handover::decode(&handover.encode()).unwrap()
}

#[test]
fn what_the_spool_still_has_is_not_missing() {
    let mut handover = spooled();
    handover.found(subject(Kind::Trade), &[run(Kind::Trade, 10, 16)]);
    // Acknowledged after the last checkpoint, and released.
    handover.acked(subject(Kind::Trade), &[run(Kind::Trade, 17, 20)]);
    handover.settle();
    assert_eq!(handover.last_ids().into_values().collect::<Vec<_>>(), [20]);
    assert!(gaps(&handover).is_empty());
}

#[test]
fn what_was_damaged_in_the_spool_is_missing() {
    let mut handover = spooled();
    handover.found(subject(Kind::Trade), &[run(Kind::Trade, 10, 12), run(Kind::Trade, 17, 20)]);
    handover.settle();
    assert_eq!(gaps(&handover), ["12..17"]);
    assert_eq!(handover.last_ids().into_values().collect::<Vec<_>>(), [20]);
}

#[test]
fn what_was_cut_off_the_spools_tail_is_where_the_next_run_begins() {
    let mut handover = spooled();
    handover.found(subject(Kind::Trade), &[run(Kind::Trade, 10, 16)]);
    handover.settle();
    assert_eq!(handover.last_ids().into_values().collect::<Vec<_>>(), [16]);
    assert!(gaps(&handover).is_empty());
}

#[test]
fn what_had_to_go_from_the_spool_is_missing_up_to_the_last_id() {
    let mut handover = spooled();
    handover.found(subject(Kind::Trade), &[run(Kind::Trade, 10, 20)]);
    handover.settle();
    let last_ids = handover.last_ids();
    for (first, last) in [(10, 12), (17, 20)] {
        handover.lost(&[run(Kind::Trade, first, last)]);
    }
    assert_eq!(gaps(&handover), ["9..13", "16..21"]);
    // The stream has some of it: it was taken before the run was killed.
    handover.handed(subject(Kind::Trade), &[run(Kind::Trade, 10, 12)]);
    trades(&mut handover, 21, 25);
    assert_eq!(handover.unrecorded(&last_ids, UnixNanos::new(9)).len(), 1);
    assert_eq!(gaps(&handover), ["16..21"]);
}

#[test]
fn what_a_damaged_gap_record_named_is_missing_again() {
    let mut handover = Handover::default();
    trades(&mut handover, 5, 9);
    trades(&mut handover, 15, 20);
    handover.stored(subject(Kind::Gap), &[run(Kind::Trade, 10, 14)]);
    let mut next = Handover::decode(&handover.encode()).unwrap();
    next.settle();
    assert_eq!(gaps(&next), ["9..15"]);
    let mut whole = Handover::decode(&handover.encode()).unwrap();
    whole.found(subject(Kind::Gap), &[run(Kind::Trade, 10, 14)]);
    whole.settle();
    assert!(gaps(&whole).is_empty());
}

#[test]
fn a_foreign_checkpoint_is_refused() {
    assert!(matches!(Handover::decode(b"{"), Err(Invalid::Json(_))));
    let other = br#"{"version":2,"keys":[],"positions":{}}"#;
    assert!(matches!(Handover::decode(other), Err(Invalid::Version(2))));
}

fn record(after: u64, before: u64, version: u32, state: GapState) -> Run {
    let gap = Gap { version, state, ..gap(after, before) };
    Run { gap: Some(Arc::new(gap)), ..run(Kind::Trade, after + 1, before - 1) }
}

/// The open gaps: what of them is missing, and whether they are on record.
fn open(handover: &Handover) -> Vec<(Vec<(u64, u64)>, bool)> {
    let gaps = handover.open().gaps().values();
    gaps.map(|open| (open.missing.iter().collect(), open.recorded)).collect()
}

#[test]
fn a_gap_is_open_from_its_record_until_the_record_that_closes_it_is_handed_over() {
    let mut handover = Handover::default();
    handover.noted(&record(9, 15, 1, GapState::Open));
    assert_eq!(open(&handover), [(vec![(10, 14)], false)]);
    handover.handed(subject(Kind::Gap), &[record(9, 15, 1, GapState::Open)]);
    assert_eq!(open(&handover), [(vec![(10, 14)], true)]);
    assert_eq!(Handover::decode(&handover.encode()).unwrap(), handover);
    handover.noted(&record(9, 15, 2, GapState::Healed));
    assert_eq!(open(&handover).len(), 1);
    handover.handed(subject(Kind::Gap), &[record(9, 15, 2, GapState::Healed)]);
    assert!(open(&handover).is_empty());
}

#[test]
fn only_an_acknowledgement_fills_a_gap_and_what_is_lost_on_the_way_stays_missing() {
    let mut handover = Handover::default();
    handover.noted(&record(9, 15, 1, GapState::Open));
    let fetched = [Run { rest: true, ..run(Kind::Trade, 10, 12) }];
    handover.handed(subject(Kind::Trade), &fetched);
    handover.lost(&fetched);
    assert_eq!(open(&handover)[0].0, [(10, 14)]);
    handover.acked(subject(Kind::Gap), &fetched);
    assert_eq!(open(&handover)[0].0, [(10, 14)], "a record of ids brings none of them");
    handover.acked(subject(Kind::Trade), &fetched);
    assert_eq!(open(&handover)[0].0, [(13, 14)]);
    handover.acked(subject(Kind::Trade), &[run(Kind::Trade, 14, 20), run(Kind::AggTrade, 13, 13)]);
    assert_eq!(open(&handover)[0].0, [(13, 13)]);
    assert_eq!(gaps(&handover), [""; 0], "what was fetched says nothing of the stream");
}

#[test]
fn what_was_fetched_does_not_move_where_the_next_run_begins() {
    let mut handover = Handover::default();
    handover.handed(subject(Kind::Trade), &[Run { rest: true, ..run(Kind::Trade, 3, 4) }]);
    assert!(handover.last_ids().is_empty());
    trades(&mut handover, 10, 12);
    handover.handed(subject(Kind::Trade), &[Run { rest: true, ..run(Kind::Trade, 3, 4) }]);
    assert_eq!(handover.last_ids().into_values().collect::<Vec<_>>(), [12]);
    assert!(gaps(&handover).is_empty());
}

#[test]
fn too_many_open_gaps_forget_the_oldest() {
    let mut handover = Handover::default();
    for number in 0..=OPEN_MAX as u64 {
        let mut record = record(number * 10, number * 10 + 5, 1, GapState::Open);
        record.times.0 = UnixNanos::new(i64::try_from(number).unwrap());
        let forgotten = handover.noted(&record);
        assert_eq!(forgotten.is_some(), number == OPEN_MAX as u64);
    }
    assert_eq!(open(&handover).len(), OPEN_MAX);
    assert!(!handover.open().gaps().values().any(|open| open.gap.after_id == Some(0)));
}

#[test]
fn an_acknowledgement_narrows_the_gaps_that_it_overlaps_and_no_other() {
    let mut handover = Handover::default();
    let named = |name: &str, after, before| {
        let mut record = record(after, before, 1, GapState::Open);
        Arc::make_mut(record.gap.as_mut().unwrap()).gap_id = name.into();
        record
    };
    // One within another, as when somebody asks for a range by hand.
    for (name, after, before) in [("c", 39, 50), ("a", 9, 100), ("b", 9, 15), ("d", 199, 210)] {
        handover.noted(&named(name, after, before));
    }
    let fetched = |first, last| [Run { rest: true, ..run(Kind::Trade, first, last) }];
    handover.acked(subject(Kind::Trade), &fetched(12, 44));
    let changes = handover.open().changes();
    handover.acked(subject(Kind::Trade), &fetched(300, 400));
    assert_eq!(handover.open().changes(), changes);
    let missing = |name: &str| handover.open().gaps()[name].missing.iter().collect::<Vec<_>>();
    assert_eq!(missing("a"), [(10, 11), (45, 99)]);
    assert_eq!(missing("b"), [(10, 11)]);
    assert_eq!(missing("c"), [(45, 49)]);
    assert_eq!(missing("d"), [(200, 209)]);
    // What is closed is out of the way.
    handover.handed(
        subject(Kind::Gap),
        &[Run {
            gap: named("d", 199, 210)
                .gap
                .map(|gap| Arc::new(Gap { version: 2, state: GapState::Healed, ..(*gap).clone() })),
            ..run(Kind::Trade, 200, 209)
        }],
    );
    handover.acked(subject(Kind::Trade), &fetched(99, 205));
    let missing = handover.open().gaps()["a"].missing.hull();
    assert_eq!((missing, handover.open().gaps().len()), (Some((10, 98)), 3));
}

proptest! {
    /// Against sets of ids: what is missing is exactly what lies below the last id, was not handed
    /// over, and is not on record.
    #[test]
    fn missing_is_exactly_what_is_missing(
        steps in vec((any::<bool>(), 1..60_u64, 0..6_u64), 1..40)
    ) {
        let mut handover = Handover::default();
        let mut known = BTreeSet::new();
        let (mut begin, mut last) = (None, 0);
        for (recorded, first, len) in steps {
            let ids = first..=first + len;
            if recorded && begin.is_some() {
                handover.handed(subject(Kind::Gap), &[run(Kind::Trade, first, first + len)]);
                known.extend(ids.filter(|id| *id <= last));
            } else {
                trades(&mut handover, first, first + len);
                begin.get_or_insert(first);
                last = last.max(first + len);
                known.extend(ids);
            }
        }
        let key = Key { kind: Kind::Trade, instrument: instrument("BTC-USDT") };
        let missing: BTreeSet<u64> = handover
            .keys
            .get(&key)
            .map(|known| known.missing.iter().flat_map(|(a, b)| a..=b).collect())
            .unwrap_or_default();
        let begin = begin.unwrap_or(1);
        let expected: BTreeSet<u64> = (begin..=last).filter(|id| !known.contains(id)).collect();
        prop_assert_eq!(&missing, &expected);
        prop_assert_eq!(Handover::decode(&handover.encode()).unwrap(), handover);
    }
}
