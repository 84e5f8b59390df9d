//! Subscriptions that begin in the past.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::*;
use crate::stream::client::{Next, Past, Span};

const SPAN: Span = Span { since: 5, until: 9 };

/// A subscription to trades that begins in the past, and a time at which it may become live.
fn begin(hub: &mut Hub, client: ClientId, number: u64) -> (Ticket, Instant) {
    let (ticket, now) = (Ticket { client, id: 1, number }, Instant::now());
    let pattern = Pattern { kind: Some(Kind::Trade), ..Pattern::default() };
    hub.subscribe_from(ticket, pattern, OnSlow::Skip, now).unwrap();
    (ticket, now + Duration::from_secs(2))
}

/// Trades of the durable lane.
fn stored(seqs: impl IntoIterator<Item = u64>) -> VecDeque<Past> {
    let (mut decoder, producer) = (wire::Decoder::new(), Arc::from("a"));
    let read = |seq| {
        let (_, payload) = trade(seq);
        let event = decoder.decode(&payload).unwrap();
        Past::Event { mark: Mark::of(&event, Some(&producer)).unwrap(), payload: Some(payload) }
    };
    seqs.into_iter().map(read).collect()
}

/// What a client is told, in words.
fn story(messages: &[Outgoing]) -> Vec<String> {
    let tell = |message: &Outgoing| match message {
        Outgoing::Event { seq, payload, .. } => {
            let event = wire::Decoder::new().decode(payload).unwrap();
            format!("{seq}: trade {}", event.identity().major)
        }
        Outgoing::Replayed { seq, count, .. } => format!("{seq}: {count} were past"),
        Outgoing::Hole { seq, reason, .. } => format!("{seq}: {reason}"),
        other => panic!("{other:?}"),
    };
    messages.iter().map(tell).collect()
}

#[test]
fn the_past_comes_first_then_the_word_of_it_then_what_is_live_and_the_numbers_go_on() {
    let mut hub = Hub::default();
    let client = hub.join(limits(64));
    let (ticket, now) = begin(&mut hub, client, 1);
    assert_eq!((hub.totals().in_past, hub.wanted().contains(&Kind::Trade)), (1, true));
    trades(&mut hub, 3..=4);
    assert_eq!(drain(&mut hub, client), []);
    assert_eq!(hub.hand_on(ticket, &mut stored(1..=3)), Next::Read);
    assert_eq!(hub.hand_over(ticket, true, SPAN, now), Next::Read, "the fourth is on its way");
    trades(&mut hub, 5..=6);
    assert_eq!(hub.hand_on(ticket, &mut stored(3..=5)), Next::Read);
    assert_eq!(hub.hand_over(ticket, false, SPAN, now), Next::End);
    assert_eq!(hub.hand_on(ticket, &mut stored([7])), Next::End);
    trades(&mut hub, [7]);
    let expected = [
        "1: trade 1",
        "2: trade 2",
        "3: trade 3",
        "4: trade 4",
        "5: trade 5",
        "5: 5 were past",
        "6: trade 6",
        "7: trade 7",
    ];
    assert_eq!(story(&drain(&mut hub, client)), expected);
    assert!(hub.clients[&client].is_empty());
    assert_eq!(hub.totals().in_past, 0);
}

#[test]
fn what_the_live_lane_loses_meanwhile_comes_by_the_other() {
    let mut hub = Hub::default();
    let client = hub.join(limits(64));
    let (ticket, now) = begin(&mut hub, client, 1);
    trades(&mut hub, [1]);
    assert_eq!(hub.hand_over(ticket, true, SPAN, now), Next::Read);
    trades(&mut hub, [2, 4]);
    assert_eq!(hub.hand_on(ticket, &mut stored(1..=2)), Next::Read);
    assert_eq!(hub.hand_over(ticket, true, SPAN, now), Next::Read);
    assert_eq!(hub.hand_on(ticket, &mut stored(3..=4)), Next::Read);
    assert_eq!(hub.hand_over(ticket, true, SPAN, now), Next::End);
    let expected = ["1: trade 1", "2: trade 2", "3: trade 3", "4: trade 4", "4: 4 were past"];
    assert_eq!(story(&drain(&mut hub, client)), expected);
    assert_eq!(hub.totals().missed, 1);
}

#[test]
fn the_past_waits_for_room_and_leaves_some_to_what_is_live() {
    let mut hub = Hub::default();
    let client = hub.join(limits(16));
    subscribe(&mut hub, client, 2, Kind::Bbo, OnSlow::Skip);
    let (ticket, now) = begin(&mut hub, client, 1);
    let (mut past, mut got) = (stored(1..=10), Vec::new());
    while hub.hand_on(ticket, &mut past) == Next::Wait {
        let messages = drain(&mut hub, client);
        assert_eq!(messages.len(), 4);
        got.extend(story(&messages));
    }
    got.extend(story(&drain(&mut hub, client)));
    assert_eq!(got.len(), 10);
    let (subject, payload) = of(Kind::Bbo);
    for _ in 0..14 {
        hub.handle(&subject, None, &payload);
    }
    assert_eq!(hub.hand_over(ticket, true, SPAN, now), Next::Wait);
    assert_eq!(drain(&mut hub, client).len(), 14);
    assert_eq!(hub.hand_over(ticket, true, SPAN, now), Next::End);
    assert_eq!(story(&drain(&mut hub, client)), ["10: 10 were past"]);
}

#[test]
fn what_the_past_lacks_is_told() {
    let mut hub = Hub::default();
    let client = hub.join(limits(64));
    let (ticket, now) = begin(&mut hub, client, 1);
    trades(&mut hub, [7]);
    let mut past = stored([1]);
    past.push_back(Past::Gone(SPAN));
    past.extend(stored([5]));
    assert_eq!(hub.hand_on(ticket, &mut past), Next::Read);
    assert_eq!(hub.hand_over(ticket, true, SPAN, now), Next::Read);
    let later = now + Duration::from_secs(60);
    assert_eq!(hub.hand_over(ticket, true, SPAN, later), Next::End);
    let expected = ["1: trade 1", "1: trimmed", "2: trade 5", "2: not_stored", "2: 2 were past"];
    assert_eq!(story(&drain(&mut hub, client)), expected);
}

#[test]
fn a_replay_ends_with_its_subscription_also_if_another_has_its_id() {
    let mut hub = Hub::default();
    let client = hub.join(limits(64));
    let (first, now) = begin(&mut hub, client, 1);
    hub.unsubscribe(client, 1).unwrap();
    assert_eq!(hub.hand_on(first, &mut stored([1])), Next::End);
    let (second, _) = begin(&mut hub, client, 2);
    assert_eq!(hub.hand_on(first, &mut stored([1])), Next::End);
    assert_eq!(hub.hand_over(first, true, SPAN, now), Next::End);
    hub.begin_anew(first, now);
    assert_eq!(hub.hand_on(second, &mut stored([2])), Next::Read);
    assert_eq!(hub.hand_over(second, true, SPAN, now), Next::End);
    assert_eq!(story(&drain(&mut hub, client)), ["1: trade 2", "1: 1 were past"]);
    let (third, _) = {
        hub.unsubscribe(client, 1).unwrap();
        begin(&mut hub, client, 3)
    };
    hub.leave(client);
    assert_eq!(hub.hand_on(third, &mut stored([1])), Next::End);
    assert!(hub.wanted().is_empty());
}
