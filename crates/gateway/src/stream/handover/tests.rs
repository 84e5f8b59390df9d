//! Ring 1: scripts of single cases, and a property: however the two lanes run, every event arrives
//! once and in order, but for what both have lost.

use model::{Kline, Side, Symbol, Trade, Venue};
use proptest::prelude::*;
use units::UnixNanos;

use super::*;

fn event(symbol: &str, body: Body) -> Event {
    let name = Arc::from(symbol);
    let (venue, market, symbol) =
        (Venue::Binance, model::Market::Spot, Symbol::new(symbol).unwrap());
    Event {
        instrument: Arc::new(InstrumentId { venue, market, symbol, name }),
        venue_time: None,
        recv_time: UnixNanos::new(1),
        origin: None,
        body,
    }
}

fn trade(symbol: &str, seq: u64) -> Event {
    let body = Body::Trade(Trade {
        seq,
        trade_id: seq.to_string().into(),
        price: "1".parse().unwrap(),
        qty: "1".parse().unwrap(),
        side: Side::Buy,
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    });
    event(symbol, body)
}

fn mark(symbol: &str, seq: u64, producer: &str) -> Mark {
    Mark::of(&trade(symbol, seq), Some(&Arc::from(producer))).unwrap()
}

fn payload(seq: u64) -> Bytes {
    Bytes::from(seq.to_string())
}

/// A hand-over that has been watched for long enough, and the time.
fn settled() -> (Handover, Instant) {
    let now = Instant::now();
    (Handover::new(1, 4, 1_000, now), now + SETTLE)
}

fn finished(count: u64, is_late: bool, live: &[u64]) -> Finished {
    Finished { count, is_late, live: live.iter().map(|seq| payload(*seq)).collect() }
}

#[test]
fn a_silent_stream_is_live_once_it_is_certain_that_nothing_is_on_its_way() {
    let now = Instant::now();
    let mut this = Handover::new(1, 4, 1_000, now);
    assert!(this.durable(&mark("A", 1, "a"), true));
    assert!(!this.durable(&mark("A", 0, "a"), false), "it is from before");
    assert!(!this.is_level(true, now));
    assert!(!this.is_level(false, now + SETTLE), "there is more to read");
    assert!(this.is_level(true, now + SETTLE));
    assert_eq!(this.finish(), finished(1, false, &[]));
}

#[test]
fn what_was_live_has_to_come_by_the_durable_lane_from_who_sent_it() {
    let (mut this, now) = settled();
    this.live(&mark("A", 7, "a"), &payload(7));
    this.live(&mark("B", 3, "a"), &payload(3));
    assert!(!this.is_level(true, now));
    assert!(this.durable(&mark("A", 7, "b"), true));
    assert!(this.durable(&mark("B", 3, "a"), true));
    assert!(!this.is_level(true, now), "the other may have gone ahead, and lack the sixth");
    assert!(this.durable(&mark("A", 6, "a"), true));
    assert!(!this.durable(&mark("A", 7, "a"), true));
    assert!(this.is_level(false, now), "the end does not matter any more");
    assert_eq!(this.finish(), finished(3, false, &[]));
}

#[test]
fn what_is_kept_follows_in_its_order_without_what_the_durable_lane_brought() {
    let (mut this, now) = settled();
    this.live(&mark("A", 1, "a"), &payload(1));
    assert!(!this.is_level(true, now));
    for (symbol, seq) in [("A", 2), ("B", 3), ("A", 4), ("A", 4)] {
        this.live(&mark(symbol, seq, "a"), &payload(seq));
    }
    assert_eq!(this.kept(), (3, 3));
    for seq in [1, 2] {
        assert!(this.durable(&mark("A", seq, "a"), true));
    }
    this.live(&mark("A", 2, "a"), &payload(2));
    assert!(this.is_level(false, now));
    assert_eq!(this.finish(), finished(2, false, &[3, 4]));
}

#[test]
fn what_may_not_be_kept_has_to_come_by_the_durable_lane() {
    let (mut this, now) = settled();
    this.live(&mark("B", 1, "a"), &payload(1));
    assert!(!this.is_level(true, now));
    for seq in 1..=5 {
        this.live(&mark("A", seq, "a"), &payload(seq));
    }
    assert_eq!(this.kept(), (0, 0), "four are the most");
    assert!(this.durable(&mark("B", 1, "a"), true));
    assert!(!this.is_level(true, now));
    for seq in 1..=5 {
        assert!(this.durable(&mark("A", seq, "a"), true));
    }
    assert!(this.is_level(true, now));
    let large = Bytes::from(vec![b'x'; 1_001]);
    this.live(&mark("A", 6, "a"), &large);
    assert!(!this.is_level(true, now));
    this.begin_anew(now);
    assert!(this.durable(&mark("A", 6, "a"), true));
    assert!(!this.is_level(true, now), "it was away, and what it brought then is not known");
    assert!(this.is_level(true, now + SETTLE));
}

#[test]
fn what_never_comes_is_called_missing_after_a_while() {
    let (mut this, now) = settled();
    this.live(&mark("A", 1, "a"), &payload(1));
    this.live(&mark("B", 1, "a"), &payload(1));
    assert!(!this.is_level(true, now));
    let later = now + PATIENCE / 2;
    assert!(this.durable(&mark("B", 1, "a"), true));
    assert!(!this.is_level(true, later), "something came");
    assert!(!this.is_level(true, now + PATIENCE));
    assert!(!this.is_level(false, later + PATIENCE), "it may be in what is still to be read");
    this.live(&mark("B", 2, "a"), &payload(2));
    assert!(this.is_level(true, later + PATIENCE));
    assert_eq!(this.finish(), finished(1, true, &[2]));
}

#[test]
fn what_the_other_of_a_pair_brought_is_not_missing() {
    let (mut this, now) = settled();
    this.live(&mark("A", 1, "a"), &payload(1));
    assert!(!this.is_level(true, now));
    assert!(this.durable(&mark("A", 1, "b"), true));
    assert!(this.is_level(true, now + PATIENCE));
    assert_eq!(this.finish(), finished(1, false, &[]));
}

#[test]
fn a_candle_that_forms_is_of_the_live_lane_alone_and_each_length_is_a_strand() {
    let kline = |interval: &str, closed| {
        let price = || "1".parse().unwrap();
        let (open_time, close_time) = (UnixNanos::new(0), UnixNanos::new(1));
        let body = Body::Kline(Kline {
            interval: interval.into(),
            open_time,
            close_time,
            open: price(),
            high: price(),
            low: price(),
            close: price(),
            volume: "1".parse().unwrap(),
            quote_volume: None,
            trades: None,
            closed,
        });
        Mark::of(&event("A", body), None)
    };
    assert_eq!(kline("1m", false), None);
    let (minute, hour) = (kline("1m", true).unwrap(), kline("1h", true).unwrap());
    let (mut this, now) = settled();
    this.live(&minute, &payload(1));
    this.live(&hour, &payload(2));
    this.durable(&hour, true);
    assert!(!this.is_level(true, now));
    this.durable(&minute, true);
    assert!(this.is_level(true, now));
}

#[test]
fn only_the_latest_events_are_remembered() {
    let mut sent = Sent::new(2);
    let name = |seq| mark("A", seq, "a").name;
    assert!(sent.insert(&name(1)) && sent.insert(&name(2)) && !sent.insert(&name(1)));
    assert!(sent.insert(&name(3)));
    assert!(!sent.contains(&name(1)) && sent.contains(&name(2)) && sent.contains(&name(3)));
    assert_eq!((sent.order.len(), sent.names.len()), (2, 2));
}

const SYMBOLS: [&str; 3] = ["A", "B", "C"];
const PRODUCERS: [&str; 2] = ["a", "b"];

/// A symbol and the number of its trade.
type Id = (usize, u64);

#[derive(Clone, Debug)]
enum Act {
    /// The venue sends a trade, which the live lane loses or not.
    Trade(usize, bool),
    /// The other of the pair speaks on the live lane from now on.
    Takeover,
    /// A collector's next events reach the stream.
    Store(usize, usize),
    /// The hub takes some of what came live.
    Hear(usize),
    /// The replay reads on.
    Read(usize),
    /// All that was not read is removed from the stream.
    Trim,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        30 => (0..SYMBOLS.len(), prop::bool::weighted(0.02))
            .prop_map(|(symbol, is_lost)| Act::Trade(symbol, is_lost)),
        1 => Just(Act::Takeover),
        20 => (0..PRODUCERS.len(), 1..8_usize).prop_map(|(who, count)| Act::Store(who, count)),
        15 => (1..6_usize).prop_map(Act::Hear),
        20 => (1..8_usize).prop_map(Act::Read),
        1 => Just(Act::Trim),
    ];
    prop::collection::vec(act, 1..400)
}

/// A message of the live lane: the event, who sent it, its place in the sender's sequence.
type Message = (Id, usize, u64);

/// The venue, a pair of collectors, both lanes, and what a client has got.
struct World {
    trades: [u64; SYMBOLS.len()],
    leader: usize,
    sequences: [[u64; SYMBOLS.len()]; PRODUCERS.len()],
    /// What each collector has not stored yet.
    spools: [VecDeque<Id>; PRODUCERS.len()],
    live: VecDeque<Message>,
    /// The stream, and how far it was read.
    stream: Vec<(Id, usize)>,
    read: usize,
    /// Who sent the latest message of each symbol that was heard, and its place.
    heard: [Option<(usize, u64)>; SYMBOLS.len()],
    handover: Option<Handover>,
    now: Instant,
    got: Vec<Id>,
    lost: BTreeSet<Id>,
    trimmed: BTreeSet<Id>,
}

impl World {
    /// A market in which so much has happened; all of it is stored when somebody subscribes.
    fn new(past: usize) -> World {
        let (handover, now) = settled();
        let mut world = World {
            trades: [0; SYMBOLS.len()],
            leader: 0,
            sequences: [[0; SYMBOLS.len()]; PRODUCERS.len()],
            spools: Default::default(),
            live: VecDeque::new(),
            stream: Vec::new(),
            read: 0,
            heard: [None; SYMBOLS.len()],
            handover: Some(handover),
            now,
            got: Vec::new(),
            lost: BTreeSet::new(),
            trimmed: BTreeSet::new(),
        };
        for number in 0..past {
            world.trade(number % SYMBOLS.len(), false);
        }
        world.store_all();
        world.live.clear();
        world
    }

    fn trade(&mut self, symbol: usize, is_lost: bool) {
        self.trades[symbol] += 1;
        let id = (symbol, self.trades[symbol]);
        for spool in &mut self.spools {
            spool.push_back(id);
        }
        let sequence = &mut self.sequences[self.leader][symbol];
        *sequence += 1;
        if is_lost {
            self.lost.insert(id);
        } else {
            self.live.push_back((id, self.leader, *sequence));
        }
    }

    fn store(&mut self, who: usize, count: usize) {
        let count = count.min(self.spools[who].len());
        self.stream.extend(self.spools[who].drain(..count).map(|id| (id, who)));
    }

    fn store_all(&mut self) {
        for who in 0..PRODUCERS.len() {
            self.store(who, usize::MAX);
        }
    }

    fn hear(&mut self, count: usize) {
        for _ in 0..count {
            let Some(((symbol, seq), who, place)) = self.live.pop_front() else { return };
            let before = self.heard[symbol].replace((who, place));
            let is_hole = before.is_some_and(|(same, last)| same == who && place > last + 1);
            match &mut self.handover {
                Some(handover) => {
                    if is_hole {
                        handover.let_go();
                    }
                    handover
                        .live(&mark(SYMBOLS[symbol], seq, PRODUCERS[who]), &said((symbol, seq)));
                }
                None => self.got.push((symbol, seq)),
            }
        }
    }

    fn read(&mut self, count: usize) {
        let end = self.read.saturating_add(count).min(self.stream.len());
        let Some(handover) = &mut self.handover else { return };
        for ((symbol, seq), who) in &self.stream[self.read..end] {
            if handover.durable(&mark(SYMBOLS[*symbol], *seq, PRODUCERS[*who]), true) {
                self.got.push((*symbol, *seq));
            }
        }
        self.read = end;
        self.hear(usize::MAX);
        self.try_to_finish();
    }

    fn try_to_finish(&mut self) {
        let at_end = self.read == self.stream.len();
        let now = self.now;
        let is_level = self.handover.as_mut().is_some_and(|it| it.is_level(at_end, now));
        if let Some(handover) = self.handover.take_if(|_| is_level) {
            let Finished { count, is_late: _, live } = handover.finish();
            assert_eq!(usize::try_from(count), Ok(self.got.len()));
            self.got.extend(live.iter().map(heard));
        }
    }

    fn trim(&mut self) {
        if self.handover.is_some() {
            self.trimmed.extend(self.stream[self.read..].iter().map(|(id, _)| *id));
            self.read = self.stream.len();
        }
    }
}

fn said((symbol, seq): Id) -> Bytes {
    Bytes::from(format!("{symbol} {seq}"))
}

fn heard(payload: &Bytes) -> Id {
    let text = std::str::from_utf8(payload).unwrap();
    let (symbol, seq) = text.split_once(' ').unwrap();
    (symbol.parse().unwrap(), seq.parse().unwrap())
}

proptest! {
    #[test]
    fn every_event_arrives_once_and_in_order(past in 0..30_usize, acts in acts()) {
        let mut world = World::new(past);
        for act in acts {
            match act {
                Act::Trade(symbol, is_lost) => world.trade(symbol, is_lost),
                Act::Takeover => world.leader = 1 - world.leader,
                Act::Store(who, count) => world.store(who, count),
                Act::Hear(count) => world.hear(count),
                Act::Read(count) => world.read(count),
                Act::Trim => world.trim(),
            }
        }
        // Everything gets where it was going, and that is waited for.
        world.store_all();
        world.read(usize::MAX);
        world.now += PATIENCE;
        world.read(0);
        world.now += PATIENCE;
        world.read(0);
        prop_assert!(world.handover.is_none(), "it comes to an end");
        for symbol in 0..SYMBOLS.len() {
            world.trade(symbol, false);
        }
        world.hear(usize::MAX);
        for (symbol, last) in world.trades.into_iter().enumerate() {
            let got = world.got.iter().filter(|(of, _)| *of == symbol);
            let got: Vec<u64> = got.map(|(_, seq)| *seq).collect();
            let distinct: BTreeSet<u64> = got.iter().copied().collect();
            prop_assert_eq!(distinct.len(), got.len(), "twice: {:?}", got);
            if world.trimmed.is_empty() {
                prop_assert!(got.is_sorted(), "not in order: {:?}", got);
            }
            for seq in (1..=last).filter(|seq| !distinct.contains(seq)) {
                let id = (symbol, seq);
                let is_gone = world.lost.contains(&id) || world.trimmed.contains(&id);
                prop_assert!(is_gone, "{seq} of {symbol} is missing: {got:?}");
            }
        }
    }
}
