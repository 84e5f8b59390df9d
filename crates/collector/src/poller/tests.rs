//! Ring 1: what is asked for when, and which points are new.

use super::*;
use model::{LongShortRatio, Market, OpenInterest, RatioType, Symbol, Venue};
use std::time::Duration;
use units::{Qty, Rate};

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

#[tokio::test]
async fn the_first_round_is_spread_and_the_next_ones_keep_their_times() {
    let now = Instant::now();
    let instruments = [instrument("A"), instrument("B"), instrument("C")];
    let mut agenda = Agenda::new([EACH_MINUTE, EACH_HOUR].into_iter(), &instruments, now);
    let seconds = |agenda: &Agenda| {
        let times = agenda.due.iter().map(|(due, number)| ((*due - now).as_secs(), *number));
        times.collect::<Vec<_>>()
    };
    assert_eq!(seconds(&agenda), [(0, 0), (0, 3), (20, 1), (40, 2), (1_200, 4), (2_400, 5)]);
    let (due, number) = agenda.due.pop_first().unwrap();
    agenda.again(number, due, now + Duration::from_secs(7));
    assert!(seconds(&agenda).contains(&(60, 0)), "its time is kept");
    let (due, number) = (now + Duration::from_secs(20), 1);
    agenda.due.remove(&(due, number));
    agenda.again(number, due, now + Duration::from_secs(200));
    assert!(seconds(&agenda).contains(&(260, 1)), "the rounds it missed are left out");
}

fn open_interest(time: i64, amount: i128) -> (UnixNanos, Body) {
    let open_interest = Qty::from_raw(amount);
    let body = OpenInterest { open_interest, open_interest_value: None };
    (UnixNanos::new(time), Body::OpenInterest(body))
}

fn ratio(time: i64, ratio_type: RatioType) -> (UnixNanos, Body) {
    let body = LongShortRatio {
        ratio_type,
        period: Arc::from("5m"),
        long_ratio: None,
        short_ratio: None,
        long_short_ratio: Rate::ZERO,
    };
    (UnixNanos::new(time), Body::LongShortRatio(body))
}

#[test]
fn each_point_is_published_once_and_the_newest_is_news() {
    let mut published = Published::default();
    let (this, other, now) = (instrument("A"), instrument("B"), UnixNanos::new(99));
    let mut said = |id: &Arc<InstrumentId>, points: Vec<(UnixNanos, Body)>| {
        let outputs = published.fresh(id, points, now);
        let of = |Output { event, lanes }: &Output| {
            assert_eq!((&event.instrument, event.origin), (id, Some(Origin::Rest)));
            (event.venue_time.unwrap().as_i64(), *lanes)
        };
        outputs.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(said(&this, vec![open_interest(5, 1)]), [(5, Lanes::Both)]);
    assert_eq!(said(&this, vec![open_interest(5, 1)]), []);
    assert_eq!(said(&this, vec![open_interest(4, 1)]), [], "an answer from before");
    assert_eq!(said(&other, vec![open_interest(5, 1)]), [(5, Lanes::Both)]);
    // A history, newest first as some venues write it: what a failed call missed is made good.
    let history = |times: [i64; 3]| {
        times.map(|time| ratio(time, RatioType::TopAccount)).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(
        said(&this, history([3, 2, 1])),
        [(1, Lanes::Durable), (2, Lanes::Durable), (3, Lanes::Both)]
    );
    assert_eq!(said(&this, history([5, 4, 3])), [(4, Lanes::Durable), (5, Lanes::Both)]);
    // The same time of another ratio is another point.
    let mixed = vec![ratio(5, RatioType::AllAccount), ratio(5, RatioType::TopAccount)];
    assert_eq!(said(&this, mixed), [(5, Lanes::Both)]);
}
