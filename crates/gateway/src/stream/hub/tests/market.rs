//! A market that knows its book, and a client that puts one together from what it is sent.

use std::collections::BTreeMap;

use model::{InstrumentId, Level, Side, Symbol, Trade, Venue};

use super::*;

/// Prices and quantities of both sides, as plain numbers.
pub(super) type Levels = BTreeMap<u8, u8>;

pub(super) fn limits(messages: usize) -> Limits {
    Limits { subscriptions: 4, messages, bytes: 1 << 20 }
}

fn instrument() -> Arc<InstrumentId> {
    Arc::new(InstrumentId {
        venue: Venue::Binance,
        market: model::Market::Spot,
        symbol: Symbol::new("BTC-USDT").unwrap(),
        name: Arc::from("BTCUSDT"),
    })
}

fn message(body: Body) -> (String, Bytes) {
    let event = Event {
        instrument: instrument(),
        venue_time: None,
        recv_time: UnixNanos::new(1),
        origin: None,
        body,
    };
    let mut json = Vec::new();
    wire::encode(&event, &mut json);
    (wire::live_subject(event.kind(), &event.instrument), json.into())
}

/// An event of a kind but books, and the message that it is.
pub(super) fn of(kind: Kind) -> (String, Bytes) {
    let members = match kind {
        Kind::Trade | Kind::AggTrade => {
            r#""seq":1,"trade_id":"1","price":"1","qty":"1","side":"buy""#
        }
        Kind::Book => panic!("books have a test of their own"),
        Kind::Bbo => r#""id":1,"bid_price":"1","bid_qty":"1","ask_price":"2","ask_qty":"1""#,
        Kind::Ticker => r#""last_price":"1""#,
        Kind::Kline => {
            r#""interval":"1m","open_time":1,"close_time":2,"open":"1","high":"1","low":"1",
               "close":"1","volume":"1","closed":false"#
        }
        Kind::Mark => r#""mark_price":"1""#,
        Kind::Funding => r#""funding_rate":"0.1""#,
        Kind::OpenInterest => r#""open_interest":"1""#,
        Kind::Liquidation => r#""side":"sell","price":"1","qty":"1""#,
        Kind::LongShortRatio => {
            r#""ratio_type":"all_account","period":"5m","long_short_ratio":"1.25""#
        }
        Kind::VolatilityIndex => r#""value":"50""#,
        Kind::Gap => r#""gap_id":"g","version":1,"of":"trade","cause":"sequence","state":"open""#,
        Kind::Status => r#""connection":"binance-spot-0","state":"connected""#,
    };
    let json = format!(
        r#"{{"v":1,"kind":"{kind}","venue":"binance","market":"spot","symbol":"BTC-USDT",
            "instrument":"BTCUSDT","recv_time":1,{members}}}"#
    );
    (wire::live_subject(kind, &instrument()), json.into())
}

/// The collector's word that it has lost its place in the book after this update.
pub(super) fn gap(after_id: u64) -> (String, Bytes) {
    message(Body::Gap(Gap {
        gap_id: Arc::from("g"),
        version: 1,
        of: Kind::Book,
        after_id: Some(after_id),
        before_id: None,
        since: None,
        until: None,
        cause: model::Cause::Disconnect,
        state: GapState::Open,
    }))
}

/// A trade of some other instrument.
pub(super) fn trade_of(symbol: &str) -> (String, Bytes) {
    let (subject, json) = trade(1);
    let text = String::from_utf8(json.to_vec()).unwrap();
    (subject.replace("BTC-USDT", symbol), text.replace("BTC-USDT", symbol).into())
}

pub(super) fn trade(seq: u64) -> (String, Bytes) {
    message(Body::Trade(Trade {
        seq,
        trade_id: seq.to_string().into(),
        price: "1".parse().unwrap(),
        qty: "1".parse().unwrap(),
        side: Side::Buy,
        id_range: None,
        count: None,
        liquidation: None,
        block: false,
    }))
}

/// A level of the bid side; asks stay empty, so that a book is never crossed.
fn level(price: u8, qty: u8) -> Level {
    ((u32::from(price) + 1).to_string().parse().unwrap(), qty.to_string().parse().unwrap())
}

/// The venue and the collector in one.
#[derive(Default)]
pub(super) struct Market {
    levels: Levels,
    /// The last update id of the book.
    id: u64,
    /// The last sequences on the live lane, of books and of trades.
    seqs: (u64, u64),
}

impl Market {
    pub(super) fn levels(&self) -> Levels {
        self.levels.clone()
    }

    /// Changes a level; what does not arrive is lost on the live lane.
    pub(super) fn diff(&mut self, hub: &mut Hub, price: u8, qty: u8, arrives: bool) {
        if qty == 0 {
            self.levels.remove(&price);
        } else {
            self.levels.insert(price, qty);
        }
        self.id += 1;
        let diff = Book {
            book_type: BookType::Diff,
            first_id: Some(self.id),
            last_id: self.id,
            prev_id: None,
            part: 0,
            bids: vec![level(price, qty)],
            asks: Vec::new(),
        };
        self.send(hub, diff, arrives);
    }

    pub(super) fn snapshot(&mut self, hub: &mut Hub) {
        self.send(hub, self.book(), true);
    }

    pub(super) fn trade(&mut self, hub: &mut Hub) {
        self.seqs.1 += 1;
        let (subject, payload) = trade(self.seqs.1);
        hub.handle(&subject, Some((Arc::from("a"), 1, self.seqs.1)), &payload);
    }

    /// The last update id.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The whole book as it is now.
    pub(super) fn book(&self) -> Book {
        let bids = self.levels.iter().rev().map(|(price, qty)| level(*price, *qty)).collect();
        Book {
            book_type: BookType::Snapshot,
            first_id: None,
            last_id: self.id,
            prev_id: None,
            part: 0,
            bids,
            asks: Vec::new(),
        }
    }

    fn send(&mut self, hub: &mut Hub, book: Book, arrives: bool) {
        self.seqs.0 += 1;
        if arrives {
            let (subject, payload) = message(Body::Book(book));
            hub.handle(&subject, Some((Arc::from("a"), 1, self.seqs.0)), &payload);
        }
    }
}

/// A client that trusts nothing.
#[derive(Default)]
pub(super) struct Reader {
    decoder: wire::Decoder,
    seqs: BTreeMap<SubscriptionId, u64>,
    book: Option<(u64, Levels)>,
}

impl Reader {
    /// The book as put together.
    pub(super) fn book(&self) -> Levels {
        self.book.clone().expect("no snapshot has come").1
    }

    /// Takes messages, and checks that they continue what came before.
    pub(super) fn read(&mut self, hub: &mut Hub, client: ClientId, most: usize) {
        for _ in 0..most {
            let Some(sent) = hub.next(client) else { return };
            match sent.message {
                Outgoing::Event { id, seq, conflated, payload } => {
                    self.count(id, seq, 1 + conflated);
                    let event = self.decoder.decode(&payload).unwrap();
                    self.apply(&event);
                }
                Outgoing::Book { id, seq, conflated, .. } => {
                    self.count(id, seq, 1 + conflated);
                    self.apply(&sent.book.unwrap());
                }
                Outgoing::Gap { id, seq, skipped, missed } => {
                    assert!(skipped + missed > 0);
                    self.count(id, seq, skipped);
                }
                Outgoing::Stale { .. } => self.book = None,
                Outgoing::Warning { .. } | Outgoing::Notice(_) => {}
                Outgoing::Close => panic!("nobody wanted to be closed"),
                Outgoing::Hole { .. } | Outgoing::Replayed { .. } => {
                    panic!("nobody is in the past")
                }
            }
        }
    }

    fn count(&mut self, id: SubscriptionId, seq: u64, events: u64) {
        let last = self.seqs.entry(id).or_default();
        assert_eq!(seq, *last + events, "the sequence of subscription {id} does not add up");
        *last = seq;
    }

    fn apply(&mut self, event: &Event) {
        let Body::Book(update) = &event.body else { return };
        if update.book_type == BookType::Snapshot {
            self.book = Some((update.last_id, Levels::new()));
        }
        let (last, levels) = self.book.as_mut().expect("a diff came before the snapshot");
        if update.book_type == BookType::Diff {
            assert_eq!(update.first_id, Some(*last + 1), "there is a seam");
            *last = update.last_id;
        }
        for (price, qty) in &update.bids {
            let number = |text: String| text.parse::<u8>().unwrap();
            let (price, qty) = (number(price.to_string()) - 1, number(qty.to_string()));
            if qty == 0 {
                levels.remove(&price);
            } else {
                levels.insert(price, qty);
            }
        }
    }
}
