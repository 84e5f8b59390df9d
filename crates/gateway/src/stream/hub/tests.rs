//! Ring 1: scripts of single cases, and a property: whatever happens, what a client puts together
//! is the book, and its sequence adds up.

#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes fails the test")]

mod market;
mod past;

use market::{Market, Reader, gap, limits, of, trade, trade_of};
use proptest::prelude::*;

use super::*;

fn subscribe(hub: &mut Hub, client: ClientId, id: SubscriptionId, kind: Kind, on_slow: OnSlow) {
    let pattern = Pattern { kind: Some(kind), ..Pattern::default() };
    hub.subscribe(client, id, pattern, on_slow).unwrap();
}

fn drain(hub: &mut Hub, client: ClientId) -> Vec<Outgoing> {
    std::iter::from_fn(|| hub.next(client)).map(|sent| sent.message).collect()
}

/// Feeds trades with these sequences of the live lane.
fn trades(hub: &mut Hub, sequences: impl IntoIterator<Item = u64>) {
    for seq in sequences {
        let (subject, payload) = trade(seq);
        hub.handle(&subject, Some((Arc::from("a"), 1, seq)), &payload);
    }
}

#[test]
fn events_go_to_whom_they_were_promised_and_are_numbered_per_subscription() {
    let mut hub = Hub::default();
    let (one, other) = (hub.join(limits(16)), hub.join(limits(16)));
    subscribe(&mut hub, one, 1, Kind::Trade, OnSlow::Skip);
    subscribe(&mut hub, one, 2, Kind::Book, OnSlow::Skip);
    trades(&mut hub, 1..=2);
    let symbol = Some("BTC-USDT".parse().unwrap());
    let pattern = Pattern { symbol, ..Pattern::default() };
    hub.subscribe(one, 3, pattern, OnSlow::Skip).unwrap();
    trades(&mut hub, 3..=3);
    let got: Vec<(u32, u64)> = drain(&mut hub, one)
        .into_iter()
        .map(|message| match message {
            Outgoing::Event { id, seq, .. } => (id, seq),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(got, [(1, 1), (1, 2), (1, 3), (3, 1)]);
    assert_eq!(drain(&mut hub, other), []);
    assert_eq!(hub.woken(), BTreeSet::from([one]));
}

#[test]
fn what_is_missing_in_the_live_lane_is_told_before_what_follows() {
    let mut hub = Hub::default();
    let client = hub.join(limits(16));
    subscribe(&mut hub, client, 1, Kind::Trade, OnSlow::Skip);
    trades(&mut hub, [1, 5]);
    let messages = drain(&mut hub, client);
    assert!(matches!(messages[0], Outgoing::Event { seq: 1, .. }), "{messages:?}");
    assert_eq!(messages[1], Outgoing::Gap { id: 1, seq: 1, skipped: 0, missed: 3 });
    assert!(matches!(messages[2], Outgoing::Event { seq: 2, .. }), "{messages:?}");
    assert_eq!(hub.totals().missed, 3);
    // Another run of the producer counts anew.
    let (subject, payload) = trade(1);
    hub.handle(&subject, Some((Arc::from("a"), 2, 900)), &payload);
    assert_eq!(drain(&mut hub, client).len(), 1);
}

#[test]
fn a_client_that_skips_is_told_how_much() {
    let mut hub = Hub::default();
    let client = hub.join(limits(16));
    subscribe(&mut hub, client, 1, Kind::Trade, OnSlow::Skip);
    trades(&mut hub, 1..=100);
    let messages = drain(&mut hub, client);
    let got = u64::try_from(messages.len() - 1).unwrap();
    assert!(got <= 16);
    let gap = Outgoing::Gap { id: 1, seq: 100, skipped: 100 - got, missed: 0 };
    assert_eq!(messages.last(), Some(&gap));
    trades(&mut hub, [101]);
    assert!(matches!(drain(&mut hub, client)[..], [Outgoing::Event { seq: 101, .. }]));
}

#[test]
fn a_client_that_wants_a_warning_is_warned_once_at_half_and_again_only_after_it_caught_up() {
    let mut hub = Hub::default();
    let client = hub.join(limits(16));
    subscribe(&mut hub, client, 1, Kind::Trade, OnSlow::Warn);
    let warnings = |messages: &[Outgoing]| {
        messages.iter().filter(|message| matches!(message, Outgoing::Warning { .. })).count()
    };
    trades(&mut hub, 1..=7);
    assert_eq!(warnings(&drain(&mut hub, client)), 0);
    trades(&mut hub, 8..=16);
    let first = hub.next(client).unwrap().message;
    assert_eq!(first, Outgoing::Warning { waiting: 9, of: 16 });
    trades(&mut hub, 17..=20);
    assert_eq!(warnings(&drain(&mut hub, client)), 0);
    trades(&mut hub, 21..=30);
    assert_eq!(warnings(&drain(&mut hub, client)), 1);
}

#[test]
fn a_client_that_wants_to_be_closed_is() {
    let mut hub = Hub::default();
    let client = hub.join(limits(16));
    subscribe(&mut hub, client, 1, Kind::Trade, OnSlow::Close);
    trades(&mut hub, 1..=15);
    assert_eq!(drain(&mut hub, client).len(), 15);
    assert!(hub.doomed().is_empty());
    trades(&mut hub, 16..=32);
    assert_eq!(hub.doomed(), BTreeSet::from([client]));
    assert_eq!(hub.next(client).unwrap().message, Outgoing::Close);
}

#[test]
fn bytes_are_bounded_and_a_single_large_message_still_passes() {
    let mut hub = Hub::default();
    let small = Limits { subscriptions: 4, messages: 1_000, bytes: 600 };
    let client = hub.join(small);
    subscribe(&mut hub, client, 1, Kind::Trade, OnSlow::Skip);
    trades(&mut hub, 1..=50);
    let messages = drain(&mut hub, client);
    assert!(messages.len() < 6, "{messages:?}");
    let tiny = hub.join(Limits { bytes: 1, ..small });
    subscribe(&mut hub, tiny, 1, Kind::Trade, OnSlow::Skip);
    trades(&mut hub, 51..=51);
    assert!(matches!(drain(&mut hub, tiny)[..], [Outgoing::Event { .. }]));
}

#[test]
fn nothing_of_a_subscription_comes_after_its_end() {
    let mut hub = Hub::default();
    let client = hub.join(limits(16));
    subscribe(&mut hub, client, 1, Kind::Trade, OnSlow::Skip);
    trades(&mut hub, 1..=3);
    hub.unsubscribe(client, 1).unwrap();
    trades(&mut hub, 4..=4);
    assert_eq!(drain(&mut hub, client), []);
    assert_eq!(hub.unsubscribe(client, 1), Err(Refused::IdUnknown));
    assert!(hub.wanted().is_empty());
    // What came while nobody listened was not missed by anybody.
    subscribe(&mut hub, client, 1, Kind::Trade, OnSlow::Skip);
    trades(&mut hub, [9]);
    assert!(matches!(drain(&mut hub, client)[..], [Outgoing::Event { seq: 1, .. }]));
}

#[test]
fn a_subscription_has_one_name_and_there_are_not_too_many() {
    let mut hub = Hub::default();
    let client = hub.join(limits(16));
    for (id, kind) in (1..=4).zip(Kind::ALL) {
        subscribe(&mut hub, client, id, *kind, OnSlow::Skip);
    }
    let any = Pattern::default();
    assert_eq!(hub.subscribe(client, 4, any.clone(), OnSlow::Skip), Err(Refused::IdInUse));
    assert_eq!(hub.subscribe(client, 5, any, OnSlow::Skip), Err(Refused::TooMany));
}

#[test]
fn two_broad_subscriptions_of_one_client_share_no_event() {
    let mut hub = Hub::default();
    let client = hub.join(limits(16));
    subscribe(&mut hub, client, 1, Kind::Trade, OnSlow::Skip);
    let venue = |kind| Pattern { kind, venue: Some(model::Venue::Okx), ..Pattern::default() };
    let refused = hub.subscribe(client, 2, venue(None), OnSlow::Skip);
    assert_eq!(refused, Err(Refused::Overlaps(1)));
    let refused = hub.subscribe(client, 2, venue(Some(Kind::Trade)), OnSlow::Skip);
    assert_eq!(refused, Err(Refused::Overlaps(1)));
    hub.subscribe(client, 2, venue(Some(Kind::Bbo)), OnSlow::Skip).unwrap();
    let symbol = Some("BTC-USDT".parse().unwrap());
    hub.subscribe(client, 3, Pattern { symbol, ..venue(None) }, OnSlow::Skip).unwrap();
    hub.unsubscribe(client, 1).unwrap();
    hub.subscribe(client, 1, venue(Some(Kind::Trade)), OnSlow::Skip).unwrap();
}

#[test]
fn every_kind_goes_to_whom_it_was_promised_and_the_latest_state_stands_for_those_before() {
    let mut hub = Hub::default();
    let (all, latest) = (hub.join(limits(64)), hub.join(limits(64)));
    hub.subscribe(all, 1, Pattern::default(), OnSlow::Skip).unwrap();
    hub.subscribe(latest, 1, Pattern::default(), OnSlow::Conflate).unwrap();
    let kinds = Kind::ALL.iter().filter(|kind| **kind != Kind::Book);
    for kind in kinds.clone() {
        let (subject, payload) = of(*kind);
        for _ in 0..3 {
            hub.handle(&subject, None, &payload);
        }
        let got = drain(&mut hub, all);
        assert_eq!(got.len(), 3, "{kind}");
        for message in got {
            let Outgoing::Event { payload: sent, .. } = message else { panic!("{message:?}") };
            assert_eq!(sent, payload, "{kind}: as it was");
        }
    }
    let is_conflated = |message: &Outgoing| matches!(message, Outgoing::Event { conflated: 2, .. });
    let conflated = drain(&mut hub, latest).iter().filter(|message| is_conflated(message)).count();
    assert_eq!(conflated, 6, "bbo, ticker, mark, funding, open interest, volatility index");
    assert_eq!(hub.totals().unreadable, 0);
}

#[test]
fn a_message_that_comes_twice_is_sent_once() {
    let mut hub = Hub::default();
    let client = hub.join(limits(16));
    subscribe(&mut hub, client, 1, Kind::Trade, OnSlow::Skip);
    trades(&mut hub, [1, 2, 2, 1, 3]);
    let messages = drain(&mut hub, client);
    assert!(matches!(messages[..], [.., Outgoing::Event { seq: 3, .. }]), "{messages:?}");
    assert_eq!(messages.len(), 3);
}

#[test]
fn what_is_no_json_or_stands_under_another_name_reaches_nobody() {
    let mut hub = Hub::default();
    let client = hub.join(limits(16));
    subscribe(&mut hub, client, 1, Kind::Trade, OnSlow::Skip);
    let (subject, payload) = trade(1);
    hub.handle("md.trade.binance.spot.ETH-USDT", None, &payload);
    hub.handle(&subject, None, &payload);
    for text in ["{}}", "{\"a\":1},{\"type\":\"bye\"}", "", "{\"a\":\"\u{1}\"}"] {
        hub.handle(&subject, None, &Bytes::from(text));
    }
    hub.handle(&subject, None, &Bytes::from_static(b"{\"a\":\"\xff\"}"));
    assert_eq!(drain(&mut hub, client).len(), 1);
    assert_eq!(hub.totals().unreadable, 6);
}

#[test]
fn topics_that_have_been_silent_the_longest_make_room_and_begin_anew() {
    let mut hub = Hub::with_topics(8);
    let client = hub.join(limits(64));
    hub.subscribe(client, 1, Pattern::default(), OnSlow::Skip).unwrap();
    let mut sent = 0;
    for round in 0..3 {
        for number in 0..20 {
            let (subject, payload) = trade_of(&format!("S{number}"));
            hub.handle(&subject, Some((Arc::from("a"), 1, round + 1)), &payload);
            // One that speaks all the time is never forgotten.
            trades(&mut hub, [round * 20 + number + 1]);
            sent += 2;
            assert_eq!(drain(&mut hub, client).len(), 2, "{round} {number}");
        }
    }
    let totals = hub.totals();
    assert_eq!((totals.delivered, totals.missed, totals.unreadable), (sent, 0, 0));
    assert!(hub.topics.behind(None).count() <= 8);
}

#[test]
fn what_waits_for_somebody_keeps_its_topic() {
    let mut hub = Hub::with_topics(4);
    let client = hub.join(limits(64));
    hub.subscribe(client, 1, Pattern::default(), OnSlow::Skip).unwrap();
    for number in 0..6 {
        let (subject, payload) = trade_of(&format!("S{number}"));
        hub.handle(&subject, None, &payload);
    }
    assert_eq!(hub.totals().unreadable, 2, "there is no room, and that is shown");
    assert_eq!(drain(&mut hub, client).len(), 4);
    let (subject, payload) = trade_of("S5");
    hub.handle(&subject, None, &payload);
    assert_eq!(drain(&mut hub, client).len(), 1);
}

#[test]
fn a_book_that_the_collector_lost_is_called_stale_until_it_is_whole() {
    let (mut hub, mut market) = (Hub::default(), Market::default());
    let client = hub.join(limits(64));
    subscribe(&mut hub, client, 1, Kind::Book, OnSlow::Skip);
    assert!(hub.wanted().contains(&Kind::Gap), "the word of it has to be received");
    let producer = || Some((Arc::from("a"), 1, 1));
    market.snapshot(&mut hub);
    assert_eq!(drain(&mut hub, client).len(), 1);
    market.diff(&mut hub, 1, 1, true);
    assert_eq!(drain(&mut hub, client).len(), 1);
    let (subject, payload) = gap(market.id() - 1);
    hub.handle(&subject, producer(), &payload);
    assert_eq!(drain(&mut hub, client), [], "it has been whole again since");
    let (subject, payload) = gap(market.id());
    hub.handle(&subject, Some((Arc::from("a"), 1, 2)), &payload);
    let messages = drain(&mut hub, client);
    assert!(matches!(messages[..], [Outgoing::Stale { .. }]), "{messages:?}");
    market.diff(&mut hub, 2, 1, true);
    assert_eq!(drain(&mut hub, client), []);
    market.snapshot(&mut hub);
    let messages = drain(&mut hub, client);
    assert!(matches!(messages[..], [Outgoing::Book { .. }]), "{messages:?}");
}

#[test]
fn nothing_is_kept_for_a_client_that_has_taken_everything() {
    let (mut hub, mut market) = (Hub::default(), Market::default());
    let client = hub.join(limits(64));
    hub.subscribe(client, 1, Pattern::default(), OnSlow::Conflate).unwrap();
    market.snapshot(&mut hub);
    for kind in Kind::ALL.iter().filter(|kind| **kind != Kind::Book) {
        let (subject, payload) = of(*kind);
        hub.handle(&subject, None, &payload);
        market.diff(&mut hub, 1, 1, true);
    }
    assert!(!drain(&mut hub, client).is_empty());
    assert!(hub.clients[&client].is_empty());
}

#[test]
fn a_newcomer_learns_whether_the_live_lane_is_there() {
    let mut hub = Hub::default();
    let early = hub.join(limits(16));
    let notice = Notice { live: false, reason: Some("disconnected".to_owned()) };
    hub.notify(notice.clone());
    let late = hub.join(limits(16));
    for client in [early, late] {
        assert_eq!(drain(&mut hub, client), [Outgoing::Notice(notice.clone())]);
    }
}

#[test]
fn a_book_begins_with_a_snapshot_that_was_asked_for_and_what_came_meanwhile() {
    let (mut hub, mut market) = (Hub::default(), Market::default());
    let client = hub.join(limits(64));
    subscribe(&mut hub, client, 1, Kind::Book, OnSlow::Skip);
    for level in 0..5 {
        market.diff(&mut hub, level, 1, true);
    }
    assert_eq!(drain(&mut hub, client), [], "diffs of a book without a beginning are no use");
    let (index, topic) = hub.waiting_book(None).unwrap();
    assert_eq!(topic.symbol.as_str(), "BTC-USDT");
    assert!(hub.waiting_book(Some(index)).is_none());
    let answer = market.book();
    for level in 5..9 {
        market.diff(&mut hub, level, 1, true);
    }
    hub.handle_answer(index, &answer, UnixNanos::new(1));
    assert!(hub.waiting_book(None).is_none());
    let mut reader = Reader::default();
    market.diff(&mut hub, 9, 1, true);
    reader.read(&mut hub, client, usize::MAX);
    assert_eq!(reader.book(), market.levels());
}

#[derive(Clone, Debug)]
enum Act {
    /// A diff of a level to a quantity; lost or not.
    Diff(u8, u8, bool),
    Snapshot,
    Answer,
    Trade,
    Take(usize, usize),
    Leave(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        20 => (0..12_u8, 0..4_u8, prop::bool::weighted(0.97))
            .prop_map(|(level, qty, arrives)| Act::Diff(level, qty, arrives)),
        1 => Just(Act::Snapshot),
        1 => Just(Act::Answer),
        3 => Just(Act::Trade),
        6 => (0..3_usize, 1..12_usize).prop_map(|(who, count)| Act::Take(who, count)),
        1 => (0..3_usize).prop_map(Act::Leave),
    ];
    prop::collection::vec(act, 1..400)
}

proptest! {
    #[test]
    fn what_a_client_puts_together_is_the_book(acts in acts()) {
        const POLICIES: [OnSlow; 3] = [OnSlow::Skip, OnSlow::Warn, OnSlow::Conflate];
        let (mut hub, mut market) = (Hub::default(), Market::default());
        let enter = |hub: &mut Hub, who: usize| {
            let client = hub.join(limits(16));
            subscribe(hub, client, 1, Kind::Book, POLICIES[who]);
            subscribe(hub, client, 2, Kind::Trade, POLICIES[who]);
            (client, Reader::default())
        };
        let mut clients: Vec<(ClientId, Reader)> = (0..3).map(|who| enter(&mut hub, who)).collect();
        for act in acts {
            match act {
                Act::Diff(level, qty, arrives) => market.diff(&mut hub, level, qty, arrives),
                Act::Snapshot => market.snapshot(&mut hub),
                Act::Answer => {
                    if let Some((index, _)) = hub.waiting_book(None) {
                        hub.handle_answer(index, &market.book(), UnixNanos::new(1));
                    }
                }
                Act::Trade => market.trade(&mut hub),
                Act::Take(who, count) => {
                    let (client, reader) = &mut clients[who];
                    reader.read(&mut hub, *client, count);
                }
                Act::Leave(who) => {
                    hub.leave(clients[who].0);
                    clients[who] = enter(&mut hub, who);
                }
            }
        }
        // Whatever is out of step is made whole, and everything is read.
        market.diff(&mut hub, 0, 1, true);
        market.snapshot(&mut hub);
        market.diff(&mut hub, 1, 1, true);
        market.trade(&mut hub);
        for (client, reader) in &mut clients {
            reader.read(&mut hub, *client, usize::MAX);
            prop_assert_eq!(reader.book(), market.levels());
            prop_assert_eq!(hub.next(*client).map(|sent| sent.message), None);
        }
    }
}

#[test]
fn a_message_that_is_no_event_is_counted_and_nothing_else() {
    let mut hub = Hub::default();
    let client = hub.join(limits(16));
    subscribe(&mut hub, client, 1, Kind::Trade, OnSlow::Skip);
    hub.handle("md.trade.binance.spot.X", None, &Bytes::from_static(b"{}"));
    assert_eq!(drain(&mut hub, client), []);
    assert_eq!(hub.totals().unreadable, 1);
}
