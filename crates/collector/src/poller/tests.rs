//! Ring 1: what is asked for when.

use super::*;
use model::{Market, Symbol, Venue};
use venue::Rank;

fn instrument(name: &str) -> Arc<InstrumentId> {
    let (venue, market) = (Venue::Binance, Market::Perp);
    let (symbol, name) = (Symbol::encode(name).unwrap(), Arc::from(name));
    Arc::new(InstrumentId { venue, market, symbol, name })
}

const EACH_MINUTE: Poll = Poll {
    kind: Kind::OpenInterest,
    path: "/a?b={instrument}",
    interval: Duration::from_secs(60),
    weight: 1,
    rank: Rank::First,
};

const EACH_HOUR: Poll = Poll { interval: Duration::from_secs(3_600), ..EACH_MINUTE };

/// Of one market, whose host grants so much weight a minute.
fn agenda(polls: Vec<Poll>, granted: u32) -> Agenda {
    Agenda::new(polls, Market::Perp, Ration::new(granted))
}

const KINDS: [Kind; 1] = [Kind::OpenInterest];

fn wanted(names: &[&str]) -> Arc<BTreeSet<Arc<InstrumentId>>> {
    Arc::new(names.iter().map(|name| instrument(name)).collect())
}

/// What is due, by its second, poll and instrument.
fn seconds(agenda: &Agenda, now: Instant) -> Vec<(u64, usize, String)> {
    let due =
        |(due, (poll, id)): &(Instant, Item)| ((*due - now).as_secs(), *poll, id.name.to_string());
    agenda.due.iter().map(due).collect()
}

fn expected(of: &[(u64, usize, &str)]) -> Vec<(u64, usize, String)> {
    of.iter().map(|(second, poll, name)| (*second, *poll, (*name).to_owned())).collect()
}

#[tokio::test]
async fn the_first_round_is_spread_and_the_next_ones_keep_their_times() {
    let now = Instant::now();
    let mut agenda = agenda(vec![EACH_MINUTE, EACH_HOUR], 1_000);
    agenda.set(&wanted(&["A", "B", "C"]), &KINDS, now);
    let spread =
        [(0, 0, "A"), (0, 1, "A"), (20, 0, "B"), (40, 0, "C"), (1_200, 1, "B"), (2_400, 1, "C")];
    assert_eq!(seconds(&agenda, now), expected(&spread));
    let (due, item) = agenda.due.pop_first().unwrap();
    agenda.again(item, due, now + Duration::from_secs(7));
    assert!(seconds(&agenda, now).contains(&(60, 0, "A".to_owned())), "its time is kept");
    let late = (now + Duration::from_secs(20), (0, instrument("B")));
    assert!(agenda.due.remove(&late));
    agenda.again(late.1, late.0, now + Duration::from_secs(200));
    assert!(
        seconds(&agenda, now).contains(&(260, 0, "B".to_owned())),
        "missed rounds are left out"
    );
}

#[tokio::test]
async fn instruments_come_and_go_and_the_others_keep_their_times() {
    let now = Instant::now();
    let mut agenda = agenda(vec![EACH_MINUTE], 1_000);
    agenda.set(&wanted(&["A", "B"]), &KINDS, now);
    let (due, asked) = agenda.due.pop_first().unwrap();
    agenda.set(&wanted(&["B", "C"]), &KINDS, now + Duration::from_secs(5));
    assert_eq!(seconds(&agenda, now), expected(&[(5, 0, "C"), (30, 0, "B")]));
    // It was being asked for when it left.
    agenda.again(asked, due, now);
    assert_eq!(agenda.due.len(), 2);
    agenda.set(&wanted(&[]), &KINDS, now);
    assert!(agenda.due.is_empty());
}

#[tokio::test]
async fn kinds_come_and_go_and_the_others_keep_their_times() {
    let now = Instant::now();
    let ratio = Poll { kind: Kind::LongShortRatio, ..EACH_MINUTE };
    let mut agenda = agenda(vec![EACH_MINUTE, ratio], 1_000);
    let wanted = wanted(&["A", "B"]);
    agenda.set(&wanted, &[Kind::OpenInterest, Kind::Trade], now);
    assert_eq!(seconds(&agenda, now), expected(&[(0, 0, "A"), (30, 0, "B")]));
    let both = [Kind::OpenInterest, Kind::LongShortRatio];
    agenda.set(&wanted, &both, now + Duration::from_secs(10));
    let all = [(0, 0, "A"), (10, 1, "A"), (30, 0, "B"), (40, 1, "B")];
    assert_eq!(seconds(&agenda, now), expected(&all));
    let (due, asked) = agenda.due.pop_first().unwrap();
    assert!(agenda.wants(&asked));
    agenda.set(&wanted, &[Kind::LongShortRatio], now);
    assert!(!agenda.wants(&asked), "its answer is dropped");
    agenda.again(asked.clone(), due, now);
    assert_eq!(seconds(&agenda, now), expected(&[(10, 1, "A"), (40, 1, "B")]));
    // It was left and is back before its answer came.
    agenda.set(&wanted, &both, now + Duration::from_secs(20));
    agenda.again(asked, due, now + Duration::from_secs(20));
    let all = [(10, 1, "A"), (20, 0, "A"), (40, 1, "B"), (50, 0, "B")];
    assert_eq!(seconds(&agenda, now), expected(&all));
}

/// Names of so many instruments.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("X{number:03}")).collect()
}

/// What is asked for until a time, each answered at once.
fn run(agenda: &mut Agenda, until: Instant) -> Vec<(Instant, Item)> {
    let mut asked = Vec::new();
    while let Some(at) = agenda.due_at().filter(|at| *at < until) {
        let (due, item) = agenda.take(at).unwrap();
        assert!(due <= at, "nothing comes before its time");
        agenda.again(item.clone(), due, at);
        asked.push((at, item));
    }
    asked
}

#[tokio::test]
async fn five_hundred_instruments_come_round_in_the_time_that_their_share_allows() {
    const GRANTED: u32 = 384;
    let now = Instant::now();
    let mut agenda = agenda(vec![EACH_MINUTE], GRANTED);
    let names = names(500);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    agenda.set(&wanted(&names), &KINDS, now);
    // Longer than the interval, by as much as the weight of all is more than the share.
    let (kind, interval) = (Kind::OpenInterest, EACH_MINUTE.interval);
    let period = Duration::from_micros(78_125_000);
    assert_eq!(agenda.rounds(), [Round { kind, interval, period }]);
    let asked = run(&mut agenda, now + 10 * period);
    let mut last = BTreeMap::new();
    for (at, item) in &asked {
        if let Some(before) = last.insert(item, *at) {
            let round = (*at - before).as_secs_f64();
            assert!((round - period.as_secs_f64()).abs() < 0.2, "{item:?} after {round} s");
        }
    }
    assert_eq!(last.len(), 500, "all of them");
    for (index, (from, _)) in asked.iter().enumerate() {
        let minute = asked[index..].iter().take_while(|(at, _)| *at < *from + interval);
        assert!(minute.count() <= 385, "no heaps");
    }
}

#[tokio::test]
async fn where_not_all_can_keep_their_interval_ratios_leave_theirs_first() {
    let now = Instant::now();
    let ratio = Poll { kind: Kind::LongShortRatio, rank: Rank::Second, ..EACH_MINUTE };
    let mut agenda = agenda(vec![EACH_MINUTE, ratio], 60);
    let names = names(40);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    agenda.set(&wanted(&names), &[Kind::OpenInterest, Kind::LongShortRatio], now);
    let (interval, twice) = (EACH_MINUTE.interval, 2 * EACH_MINUTE.interval);
    let rounds = [
        Round { kind: Kind::OpenInterest, interval, period: interval },
        Round { kind: Kind::LongShortRatio, interval, period: twice },
    ];
    assert_eq!(agenda.rounds(), rounds);
    let asked = run(&mut agenda, now + 10 * interval);
    let count = |poll: usize| asked.iter().filter(|(_, (of, _))| *of == poll).count();
    assert_eq!([count(0), count(1)], [400, 200]);
}

#[tokio::test]
async fn what_is_overdue_follows_at_twice_the_even_pace_and_no_faster() {
    let now = Instant::now();
    let mut agenda = agenda(vec![EACH_MINUTE], 1_000);
    let names = names(60);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    agenda.set(&wanted(&names), &KINDS, now);
    assert_eq!(agenda.rounds()[0].period, EACH_MINUTE.interval);
    // The venue wanted nothing for half a minute.
    let mut at = now + Duration::from_secs(30);
    for _ in 0..30 {
        let (due, item) = agenda.take(at).unwrap();
        agenda.again(item, due, at);
        let next = agenda.due_at().unwrap();
        assert_eq!(next - at, Duration::from_millis(500));
        at = next;
    }
}

#[tokio::test]
async fn markets_of_one_host_slow_one_another_down_and_recover() {
    let now = Instant::now();
    let ration = Ration::new(2);
    let mut perp = Agenda::new(vec![EACH_MINUTE], Market::Perp, ration.clone());
    let mut future = Agenda::new(vec![EACH_MINUTE], Market::Future, ration);
    perp.set(&wanted(&["A", "B"]), &KINDS, now);
    assert!(!perp.rounds()[0].is_slow());
    future.set(&wanted(&["C", "D"]), &KINDS, now);
    assert_eq!(perp.rounds()[0].period, 2 * EACH_MINUTE.interval);
    let (due, item) = perp.take(now).unwrap();
    perp.again(item, due, now);
    assert!(seconds(&perp, now).contains(&(120, 0, "A".to_owned())));
    future.set(&wanted(&["C", "D"]), &[], now);
    assert_eq!((perp.rounds()[0].period, future.rounds()), (EACH_MINUTE.interval, Vec::new()));
}
