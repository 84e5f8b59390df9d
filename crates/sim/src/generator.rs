//! A market out of nothing: books that move, trades that hit them, all from one seed.
//!
//! The invariants of the real venue hold: trade ids are contiguous per instrument, update ids rise,
//! each diff begins one above the last, and a `bookTicker` shows the book as of its update id.

use crate::frame::Frame;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;

/// Levels a side is never thinner than.
const LEVELS_MIN: usize = 200;

/// Decimal places of the venue's texts.
const PLACES: u32 = 8;

/// Ticks per unit of price: a tick is 0.01.
const TICKS: u64 = 100;

/// Steps per unit of quantity: a step is 0.00001.
const STEPS: u64 = 100_000;

/// One generated instrument.
#[derive(Debug)]
struct Instrument {
    name: String,
    lower: String,
    trade_id: u64,
    update_id: u64,
    /// The first update id of the diff under way.
    diff_first: u64,
    bids: BTreeMap<u64, u64>,
    asks: BTreeMap<u64, u64>,
    /// Levels changed since the last diff: `(is_bid, tick) → steps`.
    changed: BTreeMap<(bool, u64), u64>,
    candle: Option<Candle>,
    next_ticker_ms: i64,
    volume: u64,
    last_tick: u64,
    open_tick: u64,
}

#[derive(Debug, Clone, Copy)]
struct Candle {
    open_ms: i64,
    first_id: u64,
    last_id: u64,
    open: u64,
    high: u64,
    low: u64,
    close: u64,
    volume: u64,
    trades: u64,
}

/// The generated market.
#[derive(Debug)]
pub struct Generator {
    rng: SmallRng,
    instruments: Vec<Instrument>,
    next: usize,
}

impl Generator {
    /// A market of the named instruments; the same seed gives the same market.
    #[must_use]
    pub fn new(names: &[String], seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let instruments = names.iter().map(|name| Instrument::new(name, &mut rng)).collect();
        Self { rng, instruments, next: 0 }
    }

    /// The answer of `GET /api/v3/depth` of every instrument before anything happened.
    #[must_use]
    pub fn opening_books(&self) -> Vec<OpeningBook> {
        self.instruments.iter().map(Instrument::opening_book).collect()
    }

    /// Makes one event, and with it the candles and tickers that fall due at `now_ms`.
    ///
    /// # Errors
    ///
    /// None that its own texts can cause; the frame's reader has the last word.
    pub fn emit(&mut self, now_ms: i64, out: &mut Vec<Frame>) -> anyhow::Result<()> {
        let at = self.next;
        self.next = (self.next + 1) % self.instruments.len();
        let instrument = &mut self.instruments[at];
        match self.rng.random_range(0..100_u32) {
            0..60 => out.push(instrument.trade(now_ms, &mut self.rng)?),
            60..85 => {
                instrument.mutate(&mut self.rng);
                out.push(instrument.book_ticker()?);
            }
            _ => {
                for _ in 0..self.rng.random_range(1..8_u32) {
                    instrument.mutate(&mut self.rng);
                }
                out.push(instrument.diff(now_ms)?);
            }
        }
        if now_ms >= instrument.next_ticker_ms {
            instrument.next_ticker_ms = now_ms + 1_000;
            out.push(instrument.ticker(now_ms)?);
            out.extend(instrument.kline(now_ms, false)?);
        }
        Ok(())
    }
}

/// A book before the market opened.
#[derive(Debug)]
pub struct OpeningBook {
    /// The venue's own name.
    pub instrument: String,
    /// Its update id.
    pub last_id: u64,
    /// Bids.
    pub bids: Vec<(String, String)>,
    /// Asks.
    pub asks: Vec<(String, String)>,
}

impl Instrument {
    fn new(name: &str, rng: &mut SmallRng) -> Self {
        let mid = rng.random_range(20_000..60_000_u64) * TICKS;
        let levels = LEVELS_MIN as u64 * 2;
        let first_id = rng.random_range(1_000_000_000..2_000_000_000_u64);
        Self {
            name: name.to_owned(),
            lower: name.to_lowercase(),
            trade_id: first_id,
            update_id: first_id * 10,
            diff_first: first_id * 10 + 1,
            bids: (1..=levels).map(|i| (mid - i, steps(rng))).collect(),
            asks: (0..levels).map(|i| (mid + i, steps(rng))).collect(),
            changed: BTreeMap::new(),
            candle: None,
            next_ticker_ms: 0,
            volume: 0,
            last_tick: mid,
            open_tick: mid,
        }
    }

    fn opening_book(&self) -> OpeningBook {
        let texts = |(tick, steps): (&u64, &u64)| (price(*tick), qty(*steps));
        OpeningBook {
            instrument: self.name.clone(),
            last_id: self.update_id,
            bids: self.bids.iter().rev().map(texts).collect(),
            asks: self.asks.iter().map(texts).collect(),
        }
    }

    fn best_bid(&self) -> (u64, u64) {
        self.bids.last_key_value().map(|(p, q)| (*p, *q)).expect("a side is never empty")
    }

    fn best_ask(&self) -> (u64, u64) {
        self.asks.first_key_value().map(|(p, q)| (*p, *q)).expect("a side is never empty")
    }

    fn set(&mut self, is_bid: bool, tick: u64, steps: u64) {
        self.update_id += 1;
        let side = if is_bid { &mut self.bids } else { &mut self.asks };
        if steps == 0 {
            side.remove(&tick);
        } else {
            side.insert(tick, steps);
        }
        self.changed.insert((is_bid, tick), steps);
    }

    /// Changes one level near the top, keeping the book uncrossed and thick enough.
    fn mutate(&mut self, rng: &mut SmallRng) {
        let is_bid = rng.random_bool(0.5);
        let distance = rng.random_range(0..20_u64) * rng.random_range(0..3_u64);
        let (bid, ask) = (self.best_bid().0, self.best_ask().0);
        let improve = ask - bid > 1 && rng.random_bool(0.3);
        let thin = if is_bid { self.bids.len() } else { self.asks.len() } < LEVELS_MIN;
        let tick = match (is_bid, improve) {
            (true, true) => bid + 1,
            (false, true) => ask - 1,
            (true, false) if thin => bid - LEVELS_MIN as u64 - distance,
            (false, false) if thin => ask + LEVELS_MIN as u64 + distance,
            (true, false) => bid - distance,
            (false, false) => ask + distance,
        };
        let remove = !thin && !improve && rng.random_bool(0.3);
        self.set(is_bid, tick, if remove { 0 } else { steps(rng) });
    }

    fn trade(&mut self, now_ms: i64, rng: &mut SmallRng) -> anyhow::Result<Frame> {
        let sells = rng.random_bool(0.5);
        let (tick, available) = if sells { self.best_bid() } else { self.best_ask() };
        let taken = rng.random_range(1..=available.min(STEPS));
        self.set(sells, tick, available - taken);
        let side_len = if sells { self.bids.len() } else { self.asks.len() };
        if side_len < LEVELS_MIN {
            let deep = LEVELS_MIN as u64;
            let tick = if sells { self.best_bid().0 - deep } else { self.best_ask().0 + deep };
            self.set(sells, tick, steps(rng));
        }
        self.trade_id += 1;
        self.volume += taken;
        self.last_tick = tick;
        self.count(now_ms, tick, taken);
        let Self { name, trade_id, .. } = self;
        let (p, q) = (price(tick), qty(taken));
        Frame::new(
            &format!("{}@trade", self.lower),
            format!(
                r#"{{"e":"trade","E":{now_ms},"s":"{name}","t":{trade_id},"p":"{p}","q":"{q}","T":{now_ms},"m":{sells},"M":true}}"#
            ),
        )
    }

    /// Adds a trade to the candle of its minute.
    fn count(&mut self, now_ms: i64, tick: u64, taken: u64) {
        let open_ms = now_ms - now_ms.rem_euclid(60_000);
        let id = self.trade_id;
        let candle = self.candle.get_or_insert(Candle {
            open_ms,
            first_id: id,
            last_id: id,
            open: tick,
            high: tick,
            low: tick,
            close: tick,
            volume: 0,
            trades: 0,
        });
        candle.last_id = id;
        candle.high = candle.high.max(tick);
        candle.low = candle.low.min(tick);
        candle.close = tick;
        candle.volume += taken;
        candle.trades += 1;
    }

    fn book_ticker(&self) -> anyhow::Result<Frame> {
        let ((bid, bid_qty), (ask, ask_qty)) = (self.best_bid(), self.best_ask());
        let (name, id) = (&self.name, self.update_id);
        let (b, bq, a, aq) = (price(bid), qty(bid_qty), price(ask), qty(ask_qty));
        Frame::new(
            &format!("{}@bookTicker", self.lower),
            format!(r#"{{"u":{id},"s":"{name}","b":"{b}","B":"{bq}","a":"{a}","A":"{aq}"}}"#),
        )
    }

    fn diff(&mut self, now_ms: i64) -> anyhow::Result<Frame> {
        let (name, first, last) = (&self.name, self.diff_first, self.update_id);
        let side = |is_bid: bool| {
            let of_side = self.changed.iter().filter(|((bid, _), _)| *bid == is_bid);
            let texts = of_side
                .map(|((_, tick), steps)| format!("[\"{}\",\"{}\"]", price(*tick), qty(*steps)));
            texts.collect::<Vec<_>>().join(",")
        };
        let (b, a) = (side(true), side(false));
        let data = format!(
            r#"{{"e":"depthUpdate","E":{now_ms},"s":"{name}","U":{first},"u":{last},"b":[{b}],"a":[{a}]}}"#
        );
        self.diff_first = self.update_id + 1;
        self.changed.clear();
        Frame::new(&format!("{}@depth@100ms", self.lower), data)
    }

    fn ticker(&self, now_ms: i64) -> anyhow::Result<Frame> {
        let ((bid, bid_qty), (ask, ask_qty)) = (self.best_bid(), self.best_ask());
        let (name, v) = (&self.name, qty(self.volume));
        let (last, open) = (price(self.last_tick), price(self.open_tick));
        let (b, bq, a, aq) = (price(bid), qty(bid_qty), price(ask), qty(ask_qty));
        Frame::new(
            &format!("{}@ticker", self.lower),
            format!(
                r#"{{"e":"24hrTicker","E":{now_ms},"s":"{name}","c":"{last}","b":"{b}","B":"{bq}","a":"{a}","A":"{aq}","o":"{open}","h":"{last}","l":"{open}","v":"{v}"}}"#
            ),
        )
    }

    /// The candle as it stands, preceded by the closed one if its minute is over.
    fn kline(&mut self, now_ms: i64, closed: bool) -> anyhow::Result<Vec<Frame>> {
        let Some(candle) = self.candle else { return Ok(Vec::new()) };
        let over = closed || now_ms >= candle.open_ms + 60_000;
        if over {
            self.candle = None;
        }
        let Candle { open_ms, first_id, last_id, trades, .. } = candle;
        let (name, close_ms) = (&self.name, open_ms + 59_999);
        let (o, h, l, c) =
            (price(candle.open), price(candle.high), price(candle.low), price(candle.close));
        let v = qty(candle.volume);
        let data = format!(
            r#"{{"e":"kline","E":{now_ms},"s":"{name}","k":{{"t":{open_ms},"T":{close_ms},"s":"{name}","i":"1m","f":{first_id},"L":{last_id},"o":"{o}","c":"{c}","h":"{h}","l":"{l}","v":"{v}","n":{trades},"x":{over},"q":"0","V":"0","Q":"0","B":"0"}}}}"#
        );
        Ok(vec![Frame::new(&format!("{}@kline_1m", self.lower), data)?])
    }
}

fn steps(rng: &mut SmallRng) -> u64 {
    rng.random_range(1..5 * STEPS)
}

fn price(tick: u64) -> String {
    fixed(tick, TICKS)
}

fn qty(steps: u64) -> String {
    fixed(steps, STEPS)
}

/// Writes `count / per` with the venue's eight places.
fn fixed(count: u64, per: u64) -> String {
    let scale = 10_u64.pow(PLACES) / per;
    let (whole, fraction) = (count / per, count % per * scale);
    format!("{whole}.{fraction:08}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Entry;

    fn run(seed: u64) -> Vec<Frame> {
        let names = ["BTCUSDT".to_owned(), "ETHUSDT".to_owned()];
        let mut market = Generator::new(&names, seed);
        let mut frames = Vec::new();
        for i in 0..20_000_i64 {
            market.emit(1_700_000_000_000 + i * 10, &mut frames).unwrap();
        }
        frames
    }

    #[test]
    fn the_venues_invariants_hold() {
        let mut trade_ids: BTreeMap<String, u64> = BTreeMap::new();
        let mut diffs: BTreeMap<String, u64> = BTreeMap::new();
        for frame in run(7) {
            match frame.entry {
                Some(Entry::Trade(trade)) => {
                    let last = trade_ids.insert(trade.instrument.to_string(), trade.seq);
                    assert!(last.is_none_or(|last| trade.seq == last + 1));
                }
                Some(Entry::Book(book)) => {
                    let last = diffs.insert(book.instrument.to_string(), book.last_id);
                    assert!(last.is_none_or(|last| book.first_id == last + 1));
                    assert!(book.first_id <= book.last_id);
                }
                Some(Entry::Bbo(_) | Entry::Fault(_)) | None => {}
            }
        }
        assert_eq!(trade_ids.len(), 2);
    }

    #[test]
    fn a_seed_names_a_market() {
        let texts = |seed| run(seed).iter().map(|f| f.data.to_string()).collect::<Vec<_>>();
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
    }

    #[test]
    fn closed_candles_appear_once_a_minute() {
        let closed = run(3).iter().filter(|frame| frame.data.contains("\"x\":true")).count();
        // 20,000 events 10 ms apart are 200 s: three whole minutes per instrument at least.
        assert!((4..=8).contains(&closed), "{closed}");
    }
}
