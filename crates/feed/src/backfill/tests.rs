//! Ring 1: gaps in, requests, trades and last records out.

use super::*;
use expect_test::{Expect, expect};
use model::{Market, Side, Symbol, Venue};
use proptest::collection::vec;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use std::fmt::Write as _;
use units::{Price, Qty};

const PAGE_MAX: usize = 10;

fn instrument() -> Arc<InstrumentId> {
    Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: Market::Spot,
        symbol: Symbol::new("BTC-USDT").unwrap(),
        name: Arc::from("BTCUSDT"),
    })
}

/// The gap between two ids, declared at a second.
fn gap(after: u64, before: u64, second: i64) -> OpenGap {
    let gap = Gap {
        gap_id: format!("{after}..{before}").into(),
        version: 1,
        of: Kind::Trade,
        after_id: Some(after),
        before_id: Some(before),
        since: None,
        until: None,
        cause: Cause::Sequence,
        state: GapState::Open,
    };
    OpenGap::of(&instrument(), &Arc::new(gap), UnixNanos::new(second * 1_000_000_000)).unwrap()
}

fn trade(seq: u64) -> (UnixNanos, Trade) {
    let trade = Trade {
        seq,
        trade_id: seq.to_string().into(),
        price: Price::from_raw(1),
        qty: Qty::from_raw(1),
        side: Side::Buy,
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    };
    (UnixNanos::new(5), trade)
}

/// Passes in a row that get nothing, and the venue has no more to give.
const PASSES: u32 = 4;

/// A machine, the gaps that are open, and a venue that has some ids.
struct World {
    machine: Backfill,
    open: OpenGaps,
    has: BTreeSet<u64>,
    stored: BTreeSet<u64>,
    now: UnixNanos,
    log: String,
    rng: SmallRng,
}

impl World {
    fn new(has: impl IntoIterator<Item = u64>) -> Self {
        let mut world = Self {
            machine: Backfill::new(
                PAGE_MAX,
                Patience { passes: PASSES, wait: Duration::from_secs(2) },
            ),
            open: OpenGaps::new(),
            has: has.into_iter().collect(),
            stored: BTreeSet::new(),
            now: UnixNanos::new(1_000_000_000_000),
            log: String::new(),
            rng: SmallRng::seed_from_u64(7),
        };
        world.machine.handle_bus(true, world.now);
        world
    }

    fn opens(&mut self, gap: OpenGap) -> &mut Self {
        self.open.insert(Arc::clone(&gap.gap.gap_id), Arc::new(gap));
        self.tell()
    }

    fn tell(&mut self) -> &mut Self {
        self.machine.handle_open(self.open.values(), self.now);
        self
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.machine.handle_timeout(self.now);
        self
    }

    /// What the machine asks for next.
    fn page(&mut self) -> Option<Page> {
        match self.machine.next_command()? {
            Command::Fetch(page) => {
                write!(self.log, "fetch {} +{}, ", page.from, page.limit).unwrap();
                Some(page)
            }
            Command::Publish(events) => panic!("no request: {events:?}"),
        }
    }

    /// What it publishes next.
    fn published(&mut self) -> Vec<Event> {
        let Some(Command::Publish(events)) = self.machine.next_command() else {
            panic!("nothing is published")
        };
        for event in &events {
            if let Body::Gap(gap) = &event.body {
                let (after, before) = (gap.after_id.unwrap(), gap.before_id.unwrap());
                let Gap { version, state, cause, .. } = gap;
                write!(self.log, "{after}..{before} v{version} {state} {cause}, ").unwrap();
            } else {
                write!(self.log, "{} ", event.identity().major).unwrap();
            }
        }
        events
    }

    /// Answers the request as the venue would.
    fn answer(&mut self, page: &Page) {
        let trades = self.has.range(page.from..).take(page.limit).map(|id| trade(*id)).collect();
        self.machine.handle_answer(trades, self.now, self.now);
    }

    /// The bus acknowledges events.
    fn ack(&mut self, events: &[Event]) {
        for event in events {
            if let Body::Gap(gap) = &event.body {
                self.open.remove(&gap.gap_id);
            } else {
                let id = event.identity().major;
                self.stored.insert(id);
                let open = self.open.values_mut();
                open.for_each(|open| Arc::make_mut(open).missing.remove((id, id)));
            }
        }
        self.tell();
    }

    fn fails(&mut self, failure: Failure) -> &mut Self {
        self.page().unwrap();
        self.machine.handle_failure(failure, self.now, &mut self.rng);
        self
    }

    /// A request, its answer, and the acknowledgement of what it brought.
    fn round(&mut self) -> &mut Self {
        let page = self.page().unwrap();
        self.answer(&page);
        let events = self.published();
        self.ack(&events);
        self
    }

    /// Does everything that is asked for, and nothing fails.
    fn settle(&mut self) -> &mut Self {
        while let Some(command) = self.machine.commands.front() {
            if matches!(command, Command::Fetch(_)) {
                let page = self.page().unwrap();
                self.answer(&page);
            } else {
                let events = self.published();
                self.ack(&events);
            }
        }
        self
    }

    /// The last record, acknowledged.
    fn closes(&mut self) -> &mut Self {
        let events = self.published();
        self.ack(&events);
        self
    }

    fn check(&mut self, expected: Expect) {
        assert_eq!(self.machine.next_command(), None);
        expected.assert_eq(self.log.trim_end());
    }
}

#[test]
fn a_gap_is_fetched_page_by_page_and_healed_when_all_is_acknowledged() {
    let mut world = World::new(1..=40);
    world.opens(gap(5, 18, 1)).round().round().closes().check(expect![
        "fetch 6 +10, 6 7 8 9 10 11 12 13 14 15 fetch 16 +2, 16 17 5..18 v2 healed sequence,"
    ]);
    assert!(world.open.is_empty());
}

#[test]
fn nothing_is_asked_for_before_the_page_before_is_acknowledged_and_what_never_is_comes_again() {
    let mut world = World::new(1..=40);
    world.opens(gap(5, 8, 1));
    let page = world.page().unwrap();
    world.answer(&page);
    world.published();
    world.tell().wait(59).check(expect!["fetch 6 +2, 6 7"]);
    world.wait(1).round().closes();
    world.check(expect!["fetch 6 +2, 6 7 fetch 6 +2, 6 7 5..8 v2 healed sequence,"]);
}

#[test]
fn the_newest_gap_comes_first() {
    let mut world = World::new(1..=60);
    world.open.extend(
        [gap(5, 7, 1), gap(50, 52, 3), gap(30, 32, 2)]
            .map(|gap| (Arc::clone(&gap.gap.gap_id), Arc::new(gap))),
    );
    world.tell().settle();
    assert_eq!(world.stored.into_iter().collect::<Vec<_>>(), [6, 31, 51]);
    let asked = world.log.split("fetch ").skip(1).map(|text| text.split(' ').next().unwrap());
    assert_eq!(asked.collect::<Vec<_>>(), ["51", "31", "6"]);
}

#[test]
fn one_request_serves_all_gaps_nearby() {
    let mut world = World::new(1..=40);
    let gaps = [gap(5, 7, 1), gap(8, 10, 2), gap(11, 13, 3), gap(14, 17, 0), gap(30, 32, 0)];
    world.open.extend(gaps.map(|gap| (Arc::clone(&gap.gap.gap_id), Arc::new(gap))));
    world.tell().settle();
    assert_eq!(world.stored.iter().copied().collect::<Vec<_>>(), [6, 9, 12, 15, 16, 31]);
    let asked: Vec<&str> = world.log.split("fetch ").skip(1).collect();
    assert_eq!(asked.len(), 3, "{}", world.log);
    assert!(asked[0].starts_with("6 +10, 6 9 12 15 "), "{}", world.log);
}

#[test]
fn what_the_venue_does_not_have_is_lost_after_several_passes() {
    let mut world = World::new([6, 9, 12, 13]);
    world.opens(gap(5, 12, 1)).round();
    for wait in [2, 2, 4, 8] {
        let page = world.wait(wait).page().unwrap();
        world.answer(&page);
    }
    world.closes().check(expect![
        "fetch 6 +6, 6 9 fetch 7 +5, fetch 7 +5, fetch 7 +5, fetch 7 +5, 9..12 v2 lost unavailable, 6..9 v2 lost unavailable,"
    ]);
}

#[test]
fn a_venue_has_minutes_to_bring_its_database_up_to_date() {
    let Patience { passes, wait } = Patience::default();
    let whole: Duration = (0..passes - 1).map(|pass| wait * 2_u32.pow(pass)).sum();
    assert!((480..=600).contains(&whole.as_secs()), "{whole:?}");
}

#[test]
fn without_a_backfill_a_gap_that_late_trades_filled_is_closed_and_nothing_is_fetched() {
    let mut world = World::new(1..=40);
    world.machine = Backfill::closing_only();
    world.machine.handle_bus(true, world.now);
    world.opens(gap(5, 8, 1)).wait(1_000).check(expect![""]);
    let late: Vec<Event> = [6, 7]
        .map(|id| fetched(instrument(), Kind::Trade, UnixNanos::new(5), trade(id).1, world.now))
        .into();
    world.ack(&late);
    world.closes().check(expect!["5..8 v2 healed sequence,"]);
}

#[test]
fn what_comes_late_into_the_venues_database_is_no_loss() {
    let mut world = World::new([]);
    world.opens(gap(5, 8, 1));
    let page = world.page().unwrap();
    world.answer(&page);
    world.has.extend(1..=10);
    world.check(expect!["fetch 6 +2,"]);
    world.wait(2).round().closes();
    world.check(expect!["fetch 6 +2, fetch 6 +2, 6 7 5..8 v2 healed sequence,"]);
}

#[test]
fn while_the_bus_is_away_nothing_is_fetched() {
    let mut world = World::new(1..=10);
    world.machine.handle_bus(false, world.now);
    world.opens(gap(5, 7, 1)).wait(1_000).check(expect![""]);
    assert_eq!(world.machine.poll_timeout(), None);
    world.machine.handle_bus(true, world.now);
    world.round().closes().check(expect!["fetch 6 +1, 6 5..7 v2 healed sequence,"]);
}

#[test]
fn a_venue_that_does_not_answer_is_asked_ever_less_often() {
    let mut world = World::new(1..=10);
    world.opens(gap(5, 7, 1));
    let mut waits = Vec::new();
    for _ in 0..8 {
        world.fails(Failure::Venue);
        let due = world.machine.poll_timeout().unwrap();
        waits.push(due.since(world.now) / 1_000_000_000);
        world.now = due;
        world.machine.handle_timeout(due);
    }
    assert!(waits.is_sorted_by(|a, b| a <= b || *a >= 30), "{waits:?}");
    assert!(waits[0] <= 1 && waits[7] >= 30 && waits[7] <= 60, "{waits:?}");
}

#[test]
fn a_request_that_is_refused_holds_up_no_other_gap() {
    let mut world = World::new(1..=40);
    world.open.extend(
        [gap(20, 22, 3), gap(10, 12, 2)].map(|gap| (Arc::clone(&gap.gap.gap_id), Arc::new(gap))),
    );
    world
        .tell()
        .fails(Failure::Request)
        .round()
        .closes()
        .check(expect!["fetch 21 +1, fetch 11 +1, 11 10..12 v2 healed sequence,"]);
    assert!(world.machine.poll_timeout().unwrap() > world.now);
}

#[test]
fn what_is_refused_stays_open_and_what_cannot_be_asked_for_is_lost() {
    for (failure, is_lost) in [(Failure::Request, false), (Failure::NoCall, true)] {
        let mut world = World::new(1..=40);
        world.opens(gap(10, 12, 2));
        let (mut asked, mut states) = (0, Vec::new());
        for _ in 0..8 * PASSES {
            match world.machine.next_command() {
                Some(Command::Fetch(_)) => {
                    asked += 1;
                    world.machine.handle_failure(failure, world.now, &mut world.rng);
                }
                Some(Command::Publish(events)) => {
                    states.extend(events.iter().filter_map(|event| {
                        let Body::Gap(gap) = &event.body else { return None };
                        Some(gap.state)
                    }));
                    world.ack(&events);
                }
                None => {}
            }
            let Some(due) = world.machine.poll_timeout() else { continue };
            world.now = due.max(world.now);
            world.machine.handle_timeout(world.now);
        }
        assert_eq!(states, if is_lost { vec![GapState::Lost] } else { vec![] }, "{failure:?}");
        assert!(asked > PASSES, "{asked}");
    }
}

#[test]
fn a_gap_that_a_late_trade_closed_is_forgotten() {
    let mut world = World::new(1..=10);
    world.opens(gap(5, 7, 1));
    let page = world.page().unwrap();
    world.open.clear();
    world.tell().answer(&page);
    world.check(expect!["fetch 6 +1,"]);
    assert_eq!(world.machine.poll_timeout(), None);
}

#[test]
fn only_open_gaps_of_trades_with_both_ends_are_taken_up() {
    let open = gap(5, 9, 1);
    let with = |change: &dyn Fn(&mut Gap)| {
        let mut gap = (*open.gap).clone();
        change(&mut gap);
        OpenGap::of(&open.instrument, &Arc::new(gap), open.declared).map(|open| open.missing)
    };
    assert_eq!(with(&|_| {}), Some(IdRanges::of(6, 8)));
    assert_eq!(with(&|gap| gap.of = Kind::Book), None);
    assert_eq!(with(&|gap| gap.state = GapState::Healed), None);
    assert_eq!(with(&|gap| gap.before_id = None), None);
    assert_eq!(with(&|gap| gap.before_id = Some(6)), None);
}

/// What befalls a request or a publication.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Well,
    Unanswered,
    Refused,
    Lost,
    BusAway,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::Well),
        Just(Fate::Unanswered),
        Just(Fate::Refused),
        Just(Fate::Lost),
        Just(Fate::BusAway)
    ]
}

proptest! {
    /// Whatever happens on the way: in the end every gap is closed, every id that the venue has is
    /// stored, and a gap is healed if and only if all of it is.
    #[test]
    fn in_the_end_every_gap_is_closed_and_its_record_is_true(
        spans in vec((1..6_u64, 1..30_u64, 0..5_i64), 1..6),
        lacks in proptest::collection::btree_set(0..150_u64, 0..20),
        fates in vec(fate(), 0..60),
    ) {
        let mut world = World::new((0..200).filter(|id| !lacks.contains(id)));
        let (mut gaps, mut last) = (Vec::new(), 0);
        for (space, ids, second) in spans {
            gaps.push(gap(last + space, last + space + ids + 1, second));
            last += space + ids + 1;
        }
        for gap in &gaps {
            world.opens(gap.clone());
        }
        let (mut fates, mut connected, mut records) = (fates.into_iter(), true, Vec::new());
        for _ in 0..10_000 {
            if world.open.is_empty() {
                break;
            }
            let fate = fates.next().unwrap_or(Fate::Well);
            let away = matches!(fate, Fate::BusAway);
            if away == connected {
                connected = !away;
                world.machine.handle_bus(connected, world.now);
            }
            match world.machine.next_command() {
                Some(Command::Fetch(page)) => {
                    prop_assert!(page.limit <= PAGE_MAX && page.limit > 0);
                    let missing = |id| world.open.values().any(|open| open.missing.contains(id));
                    prop_assert!(missing(page.from));
                    match fate {
                        Fate::Well | Fate::Lost | Fate::BusAway => world.answer(&page),
                        Fate::Unanswered | Fate::Refused => {
                            let refused = matches!(fate, Fate::Refused);
                            let failure = if refused { Failure::Request } else { Failure::Venue };
                            world.machine.handle_failure(failure, world.now, &mut world.rng);
                        }
                    }
                }
                Some(Command::Publish(events)) => {
                    for event in &events {
                        if let Body::Gap(gap) = &event.body {
                            records.push(gap.clone());
                        } else {
                            let id = event.identity().major;
                            prop_assert!(world.open.values().any(|open| open.missing.contains(id)));
                            prop_assert_eq!(event.origin, Some(Origin::Rest));
                        }
                    }
                    if !matches!(fate, Fate::Lost) {
                        world.ack(&events);
                    }
                }
                None => {
                    let due = world.machine.poll_timeout();
                    prop_assert!(due.is_some() || !connected, "nothing is due and nothing done");
                    world.now = due.unwrap_or(world.now).max(world.now);
                    world.machine.handle_timeout(world.now);
                }
            }
        }
        prop_assert!(world.open.is_empty(), "{:?}", world.open);
        for gap in gaps {
            let (first, last) = gap.missing.hull().unwrap();
            let lost: Vec<u64> = (first..=last).filter(|id| !world.has.contains(id)).collect();
            prop_assert!((first..=last).all(|id| world.stored.contains(&id) != lost.contains(&id)));
            let record = records.iter().rfind(|record| record.gap_id == gap.gap.gap_id).unwrap();
            let parts = records.iter().filter(|record| {
                record.gap_id.starts_with(&format!("{}.", gap.gap.gap_id))
            });
            prop_assert_eq!(record.version, 2);
            let ends = record.after_id.zip(record.before_id).unwrap();
            if lost.is_empty() {
                prop_assert_eq!((record.state, ends), (GapState::Healed, (first - 1, last + 1)));
                continue;
            }
            // Its records name exactly what is lost.
            let named: BTreeSet<u64> = parts
                .chain([record])
                .filter(|record| record.state == GapState::Lost)
                .flat_map(|record| record.after_id.unwrap() + 1..record.before_id.unwrap())
                .collect();
            prop_assert_eq!(named, lost.into_iter().collect());
        }
    }
}
