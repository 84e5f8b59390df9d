//! What every adapter has to pass, whatever its venue's dialect is.
//!
//! The adapters' own tests call [`check`] with a list of instruments and frames of their venue.
//! What a frame means is theirs to test; here is what the collector relies on without knowing the
//! venue.

mod damage;
mod replan;

pub use damage::{Damage, damaged};

use crate::{
    Adapter, ConnectionPlan, Feed, FrameType, Message, ParseError, Reject, Request, RestAnswer,
    RestRequest, Slot, Snapshots,
};
use model::{Body, Instrument, InstrumentId, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use units::UnixNanos;

/// When the frames of a check are received.
const NOW: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

/// What a venue sends, for a check of its adapter.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// The answer to [`Adapter::instruments_request`], with at least two instruments.
    pub instruments: &'a [u8],
    /// Frames that the adapter reads, of every type that it knows.
    pub frames: &'a [&'a [u8]],
    /// The kinds of which the venue has streams, a candle's among them as `1m`.
    pub kinds: &'a [Kind],
}

/// Checks an adapter that knows no instruments yet.
///
/// # Panics
///
/// At the first thing that is not as the collector needs it.
pub fn check<A: Adapter + Clone>(adapter: &A, sample: &Sample<'_>) {
    constants_agree::<A>();
    let list = adapter.parse_instruments(sample.instruments).expect("the list can be read");
    assert!(list.len() >= 2, "the list has too few instruments for a check");
    let mut listed = adapter.clone();
    names_keep_their_slots(&mut listed, &list);
    let feeds = every_feed(&list);
    streams_are_of_the_kinds_said(&listed, &list, sample.kinds);
    every_interval_has_a_stream(&listed, &list, sample.kinds);
    for streams_max in [1, 3, 10, usize::MAX] {
        plans_cover_every_stream_once(&listed, &feeds, streams_max);
        replan::check(&listed, &feeds, streams_max);
    }
    let streams: Vec<String> = feeds.iter().flat_map(|feed| listed.streams(feed)).collect();
    requests_are_within_the_limits(&listed, &streams);
    answers_are_known_by_their_path(&mut listed, &list, sample);
    for frame in sample.frames {
        a_frame_is_read_alike_by_a_clone(&listed, frame);
        a_damaged_frame_leaves_no_event(&listed, frame);
    }
    what_is_no_frame_is_refused(&listed);
}

/// A venue that chains its books from a snapshot in the stream gives none beside it.
fn constants_agree<A: Adapter>() {
    let limits = A::LIMITS;
    assert!(limits.streams_per_connection > 0 && limits.frame_bytes_max > 0);
    assert!(limits.frames_per_second > 0 && limits.connects > 0);
    assert!(limits.connections != Some(0));
    assert!(limits.weight_per_minute > 0 && limits.trades_per_request > 0);
    if let Some(keepalive) = limits.keepalive {
        assert!(keepalive.after < limits.silence_max, "the keepalive comes too late");
    }
    let chained = A::RULE == book::Rule::Chained;
    assert_eq!(chained, A::SNAPSHOTS == Snapshots::Stream, "rule and snapshots do not agree");
}

fn names_keep_their_slots<A: Adapter>(adapter: &mut A, list: &[Instrument]) {
    let name = |instrument: &Instrument| instrument.id.name.to_string();
    // Names are met before their list, as in a recording; in the other order, so that a list that
    // dealt out slots anew would be noticed.
    let met: BTreeMap<String, Slot> = list
        .iter()
        .rev()
        .map(|instrument| (name(instrument), adapter.slot(&instrument.id.name).expect("a name")))
        .collect();
    assert_eq!(met.len(), list.len(), "a name is listed twice");
    for _ in 0..2 {
        adapter.set_instruments(list);
        for instrument in list {
            let slot = adapter.slot(&instrument.id.name).expect("a name");
            assert_eq!(met.get(&name(instrument)), Some(&slot), "{} moved", instrument.id);
            assert_eq!(adapter.instrument(slot), &instrument.id);
            assert_eq!(adapter.find(&instrument.id), Some(slot), "{}", instrument.id);
            assert_eq!((instrument.id.venue, instrument.id.market), (A::VENUE, A::MARKET));
        }
    }
    let symbols: BTreeSet<_> = list.iter().map(|instrument| &instrument.id.symbol).collect();
    assert_eq!(symbols.len(), list.len(), "two instruments have the same symbol");
}

fn feed_of(id: &Arc<InstrumentId>, kind: Kind) -> Feed {
    let interval = (kind == Kind::Kline).then(|| Arc::from("1m"));
    Feed { instrument: Arc::clone(id), kind, interval }
}

fn every_feed(list: &[Instrument]) -> Vec<Feed> {
    list.iter()
        .flat_map(|instrument| Kind::ALL.iter().map(|kind| feed_of(&instrument.id, *kind)))
        .collect()
}

fn streams_are_of_the_kinds_said<A: Adapter>(adapter: &A, list: &[Instrument], kinds: &[Kind]) {
    for instrument in list {
        for kind in Kind::ALL {
            let streams = adapter.streams(&feed_of(&instrument.id, *kind));
            let said = kinds.contains(kind);
            assert_eq!(!streams.is_empty(), said, "{kind} of {}: {streams:?}", instrument.id);
        }
    }
    for poll in A::POLLS {
        assert!(!kinds.contains(&poll.kind), "{} is streamed and asked for", poll.kind);
        assert!(!poll.interval.is_zero() && poll.weight > 0, "{}", poll.path);
        let mut others = A::POLLS.iter().filter(|other| other.kind == poll.kind);
        assert!(others.all(|other| other.rank == poll.rank), "{} has two ranks", poll.kind);
    }
}

/// A market without candles has no intervals.
fn every_interval_has_a_stream<A: Adapter>(adapter: &A, list: &[Instrument], kinds: &[Kind]) {
    assert_eq!(A::INTERVALS.is_empty(), !kinds.contains(&Kind::Kline));
    for interval in A::INTERVALS {
        let instrument = Arc::clone(&list[0].id);
        let feed = Feed { instrument, kind: Kind::Kline, interval: Some(Arc::from(*interval)) };
        assert_eq!(adapter.streams(&feed).len(), 1, "{interval}");
    }
}

fn plans_cover_every_stream_once<A: Adapter>(adapter: &A, feeds: &[Feed], streams_max: usize) {
    let plans: Vec<ConnectionPlan> = adapter.connections(feeds, streams_max);
    let planned: Vec<&String> = plans.iter().flat_map(|plan| &plan.streams).collect();
    let wanted: BTreeSet<String> = feeds.iter().flat_map(|feed| adapter.streams(feed)).collect();
    let once: BTreeSet<String> = planned.iter().map(|stream| (*stream).clone()).collect();
    assert_eq!(once, wanted, "with {streams_max} streams a connection");
    assert_eq!(planned.len(), once.len(), "a stream is planned twice");
    let most = streams_max.min(A::LIMITS.streams_per_connection);
    let mut names = BTreeSet::new();
    for plan in &plans {
        assert!(names.insert(&plan.name), "two connections are called {}", plan.name);
        assert!(!plan.streams.is_empty() && plan.streams.len() <= most, "{}", plan.name);
        assert!(plan.path.is_empty() || plan.path.starts_with('/'), "{}", plan.path);
        let instruments: BTreeSet<_> = plan.instruments.iter().collect();
        assert_eq!(instruments.len(), plan.instruments.len(), "{}", plan.name);
        for stream in &plan.streams {
            // The collector finds a feed's connection by its streams and its instrument.
            if let [instrument] = carried(adapter, feeds, stream).as_slice() {
                assert!(instruments.contains(instrument), "{}: {stream}", plan.name);
            }
        }
    }
    assert!(adapter.connections(&[], streams_max).is_empty());
}

/// The instruments that a stream tells of; some streams tell of a whole market.
fn carried<A: Adapter>(adapter: &A, feeds: &[Feed], stream: &String) -> Vec<Arc<InstrumentId>> {
    let carries = |feed: &&Feed| adapter.streams(feed).contains(stream);
    let mut instruments: Vec<_> =
        feeds.iter().filter(carries).map(|feed| Arc::clone(&feed.instrument)).collect();
    instruments.sort();
    instruments.dedup();
    instruments
}

/// Words requests about streams.
type Ask<A> = fn(&A, &[String], &mut u64) -> Vec<Request>;

fn requests_are_within_the_limits<A: Adapter>(adapter: &A, streams: &[String]) {
    let mut next_id = 1;
    let within = |requests: &[Request]| {
        for request in requests {
            let bytes = request.frame.len();
            assert!((1..=A::LIMITS.frame_bytes_max).contains(&bytes), "a frame of {bytes} bytes");
        }
    };
    within(&adapter.greeting(&mut next_id));
    within(adapter.probe_answer(&mut next_id).as_slice());
    for (ask, is_join) in [(A::subscribe as Ask<A>, true), (A::unsubscribe as Ask<A>, false)] {
        let first_id = next_id;
        let requests = ask(adapter, streams, &mut next_id);
        within(&requests);
        assert!(!requests.is_empty() && next_id > first_id, "nothing is asked, or without an id");
        assert!(requests.iter().all(|request| request.id.is_some()), "no answer is waited for");
        let ids: BTreeSet<_> = requests.iter().map(|request| request.id).collect();
        assert_eq!(ids.len(), requests.len(), "two requests have one number");
        let joins: Vec<&String> = requests.iter().flat_map(|request| &request.joins).collect();
        // Whoever leaves streams joins none.
        let expected: Vec<&String> = if is_join { streams.iter().collect() } else { Vec::new() };
        assert_eq!(joins, expected);
        assert!(ask(adapter, &[], &mut next_id).is_empty(), "nothing is to be asked for");
    }
}

fn answers_are_known_by_their_path<A: Adapter>(
    adapter: &mut A,
    list: &[Instrument],
    sample: &Sample<'_>,
) {
    let path = adapter.instruments_request().path;
    let answer = adapter.parse_rest(&path, sample.instruments).expect("the list can be read");
    assert_eq!(answer, RestAnswer::Instruments(list.to_vec()));
    for RestRequest { path, weight } in adapter.volumes_requests() {
        assert!(path.starts_with('/') && weight <= A::LIMITS.weight_per_minute, "{path}");
        adapter.parse_volumes(b"<html>").expect_err("no answer of the venue");
    }
    let mut paths = Vec::new();
    for Instrument { id, .. } in list {
        if A::SNAPSHOTS == Snapshots::Rest {
            let (small, deep) =
                (adapter.snapshot_request(id, 1), adapter.snapshot_request(id, usize::MAX));
            assert!(small.weight <= deep.weight && deep.weight <= A::LIMITS.weight_per_minute);
            paths.extend([small.path, deep.path]);
        }
        paths.extend(trades_paths(adapter, id));
        paths.extend(A::POLLS.iter().map(|poll| poll.request(id).path));
    }
    for path in paths {
        assert!(path.starts_with('/') && path.is_ascii(), "{path}");
        let error = adapter.parse_rest(&path, b"<html>").expect_err("no answer of the venue");
        assert!(matches!(error.reason, Reject::Malformed | Reject::WrongType), "{path}: {error}");
    }
    let error = adapter.parse_rest("/nobody/asks?for=it", b"{}").expect_err("not asked for");
    assert_eq!(error.reason, Reject::UnknownPath);
}

/// The paths at which trades can be asked for: from an id on, and the newest.
fn trades_paths<A: Adapter>(adapter: &A, id: &InstrumentId) -> Vec<String> {
    let mut paths = Vec::new();
    for kind in Kind::ALL {
        let request = adapter.trades_request(id, *kind, 7, usize::MAX);
        let trades = matches!(kind, Kind::Trade | Kind::AggTrade);
        assert!(trades || request.is_none(), "{kind} cannot be asked for by id");
        let newest = adapter.newest_request(id, *kind);
        assert_eq!(newest.is_some(), request.is_some(), "{kind}");
        paths.extend(request.into_iter().chain(newest).map(|request| request.path));
    }
    paths
}

/// What a frame is read as.
type Read = (Result<FrameType, ParseError>, Vec<Message>);

fn read<A: Adapter + Clone>(adapter: &A, frame: &[u8]) -> Read {
    let mut out = Vec::new();
    (adapter.clone().parse(frame, NOW, &mut out), out)
}

fn a_frame_is_read_alike_by_a_clone<A: Adapter + Clone>(adapter: &A, frame: &[u8]) {
    let text = String::from_utf8_lossy(frame);
    let mut reader = adapter.clone();
    let mut out = Vec::new();
    let frame_type = reader.parse(frame, NOW, &mut out);
    assert!(frame_type.is_ok(), "{frame_type:?}: {text}");
    assert_eq!(read(adapter, frame), (frame_type.clone(), out.clone()), "{text}");
    let data = matches!(frame_type, Ok(FrameType::Data(_)));
    assert_eq!(data, !out.is_empty(), "{frame_type:?} with {} events: {text}", out.len());
    for Message { slot, event } in out {
        assert_eq!(reader.instrument(slot), &event.instrument, "{text}");
        assert_eq!((event.instrument.venue, event.instrument.market), (A::VENUE, A::MARKET));
        assert_eq!((event.recv_time, event.origin), (NOW, None), "{text}");
        assert!(!matches!(event.body, Body::Gap(_) | Body::Status(_)), "{text}");
    }
}

/// A frame that is cut off, or has a byte too many, is refused or harmless; never half read.
fn a_damaged_frame_leaves_no_event<A: Adapter + Clone>(adapter: &A, frame: &[u8]) {
    let cut = (0..frame.len()).map(|end| frame[..end].to_vec());
    let longer = (0..=frame.len()).flat_map(|at| {
        [b'"', b'0', b'{', b'\\', 0xff].map(|byte| {
            let mut frame = frame.to_vec();
            frame.insert(at, byte);
            frame
        })
    });
    for damaged in cut.chain(longer) {
        if let (Err(error), out) = read(adapter, &damaged) {
            assert!(out.is_empty(), "{error}: {}", String::from_utf8_lossy(&damaged));
        }
    }
}

fn what_is_no_frame_is_refused<A: Adapter + Clone>(adapter: &A) {
    let deep = vec![b'['; 100_000];
    let long = vec![b'7'; 100_000];
    let frames: [&[u8]; 12] = [
        b"",
        b" ",
        b"{}",
        b"[]",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b"{\"surprise\":{\"nested\":[1,2.5,\"x\",null]}}",
        b"{\"e\":\"surprise\",\"method\":\"surprise\",\"event\":\"surprise\",\"arg\":{}}",
        b"<html>503</html>",
        &deep,
        &long,
    ];
    for frame in frames {
        let (result, out) = read(adapter, frame);
        let text = String::from_utf8_lossy(&frame[..frame.len().min(80)]).into_owned();
        let error = result.expect_err(&text);
        assert!(!error.detail.is_empty() && out.is_empty(), "{error}: {text}");
    }
}
