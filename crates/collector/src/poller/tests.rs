//! Ring 1: what is asked for when.

use super::*;
use model::{Market, Symbol, Venue};
use std::time::Duration;

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
};

const EACH_HOUR: Poll = Poll { interval: Duration::from_secs(3_600), ..EACH_MINUTE };

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
    let mut agenda = Agenda::new(vec![EACH_MINUTE, EACH_HOUR]);
    agenda.set(&wanted(&["A", "B", "C"]), now);
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
    let mut agenda = Agenda::new(vec![EACH_MINUTE]);
    agenda.set(&wanted(&["A", "B"]), now);
    let (due, asked) = agenda.due.pop_first().unwrap();
    agenda.set(&wanted(&["B", "C"]), now + Duration::from_secs(5));
    assert_eq!(seconds(&agenda, now), expected(&[(5, 0, "C"), (30, 0, "B")]));
    // It was being asked for when it left.
    agenda.again(asked, due, now);
    assert_eq!(agenda.due.len(), 2);
    agenda.set(&wanted(&[]), now);
    assert!(agenda.due.is_empty());
}
