//! A market out of nothing: books that move, trades that hit them, all from one seed.
//!
//! The invariants of real venues hold: trade ids are contiguous per instrument, update ids rise,
//! each diff names the last, and a quote shows the book as of its update id.

use crate::candles::Candles;
use crate::dialect::{Dialect, binance_spot};
use crate::event::{Diff, Event, Level, Quote, Summary, Trade, What};
use crate::interval::Interval;
use crate::scale::Scale;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Levels a side is never thinner than.
const LEVELS_MIN: usize = 200;

/// Below this tick the price of a market does not fall: there must be room for all bids.
const FLOOR: u64 = 5 * LEVELS_MIN as u64;

/// A fifth of the largest quantity of a level, and the largest of a trade, in steps.
const STEPS: u64 = 100_000;

/// One generated instrument.
#[derive(Debug)]
struct Instrument {
    name: Arc<str>,
    trade_id: u64,
    update_id: u64,
    /// How far update ids are apart.
    id_step: u64,
    /// Fills of one trade at most.
    fills_max: u64,
    /// The first update id of the diff under way, and the last of the one before.
    diff_first: u64,
    diff_prev: u64,
    bids: BTreeMap<u64, u64>,
    asks: BTreeMap<u64, u64>,
    /// Levels changed since the last diff: `(is_bid, tick) → steps`.
    changed: BTreeMap<(bool, u64), u64>,
    candles: Candles,
    quoted: Option<(Level, Level)>,
    next_summary_ms: i64,
    volume: u64,
    last_tick: u64,
    open_tick: u64,
}

/// The generated market.
#[derive(Debug)]
pub struct Generator {
    dialect: Arc<dyn Dialect>,
    rng: SmallRng,
    instruments: Vec<Instrument>,
    /// Of the candles that are made.
    intervals: BTreeSet<Interval>,
    next: usize,
}

impl Generator {
    /// A spot market of Binance of the named instruments; the same seed gives the same market.
    #[must_use]
    pub fn new(names: &[String], seed: u64) -> Self {
        Self::of(binance_spot(), names, seed)
    }

    /// A market of the named instruments, in its own numbers.
    #[must_use]
    pub fn of(dialect: Arc<dyn Dialect>, names: &[String], seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let instrument = |name: &String| Instrument::new(name, &*dialect, &mut rng);
        let instruments = names.iter().map(instrument).collect();
        Self { dialect, rng, instruments, intervals: BTreeSet::new(), next: 0 }
    }

    /// Makes candles of an interval as well, of the trades from now on.
    pub fn want(&mut self, interval: Interval) {
        self.intervals.insert(interval);
    }

    /// How the venue speaks of it.
    #[must_use]
    pub const fn dialect(&self) -> &Arc<dyn Dialect> {
        &self.dialect
    }

    /// Numbers trades and updates anew, far below where they were.
    pub fn renumber(&mut self) {
        self.instruments.iter_mut().for_each(|instrument| instrument.number_from(0));
    }

    /// Every instrument's book before anything happens, or happens anew.
    #[must_use]
    pub fn opening_books(&self) -> Vec<OpeningBook> {
        let scale = self.dialect.scale();
        self.instruments.iter().map(|instrument| instrument.opening_book(&scale)).collect()
    }

    /// Makes one event, and with it the summary and the candles that fall due at `now_ms`.
    pub fn emit(&mut self, now_ms: i64, out: &mut Vec<Event>) {
        let at = self.next;
        self.next = (self.next + 1) % self.instruments.len();
        let instrument = &mut self.instruments[at];
        let mut push = |name: &Arc<str>, what| {
            out.push(Event { name: Arc::clone(name), time_ms: now_ms, what });
        };
        match self.rng.random_range(0..100_u32) {
            0..60 => {
                let trade = instrument.trade(&mut self.rng);
                instrument.candles.take(&self.intervals, &trade, now_ms);
                push(&instrument.name, What::Trade(trade));
            }
            60..85 => {
                instrument.mutate(&mut self.rng);
                let quote = instrument.quote();
                push(&instrument.name, What::Quote(quote));
            }
            _ => {
                for _ in 0..self.rng.random_range(1..8_u32) {
                    instrument.mutate(&mut self.rng);
                }
                let diff = instrument.diff();
                push(&instrument.name, What::Diff(diff));
            }
        }
        if now_ms >= instrument.next_summary_ms {
            instrument.next_summary_ms = now_ms + 1_000;
            push(&instrument.name, What::Summary(instrument.summary()));
            for candle in instrument.candles.tell(now_ms) {
                push(&instrument.name, What::Candle(candle));
            }
        }
    }
}

/// A book before the market opened, as the venue writes it.
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
    fn new(name: &str, dialect: &dyn Dialect, rng: &mut SmallRng) -> Self {
        let mid = dialect.opening_tick(rng.random_range(20_000..60_000_u64));
        let levels = LEVELS_MIN as u64 * 2;
        let first_id = rng.random_range(1_000_000_000..2_000_000_000_u64);
        let (update_id, id_step) = (first_id * 10, dialect.id_step());
        Self {
            name: Arc::from(name),
            trade_id: first_id,
            update_id,
            id_step,
            fills_max: dialect.fills_max(),
            diff_first: update_id + id_step,
            diff_prev: update_id,
            bids: (1..=levels).map(|i| (mid - i, steps(rng))).collect(),
            asks: (0..levels).map(|i| (mid + i, steps(rng))).collect(),
            changed: BTreeMap::new(),
            candles: Candles::default(),
            quoted: None,
            next_summary_ms: 0,
            volume: 0,
            last_tick: mid,
            open_tick: mid,
        }
    }

    /// Gives the next trade and the next update the numbers after these.
    fn number_from(&mut self, first_id: u64) {
        (self.trade_id, self.update_id) = (first_id, first_id * 10);
        (self.diff_first, self.diff_prev) = (self.update_id + self.id_step, self.update_id);
        self.changed.clear();
    }

    fn opening_book(&self, scale: &Scale) -> OpeningBook {
        let levels = |levels: Vec<Level>| scale.levels(&levels);
        OpeningBook {
            instrument: self.name.to_string(),
            last_id: self.update_id,
            bids: levels(self.bids.iter().rev().map(|(tick, steps)| (*tick, *steps)).collect()),
            asks: levels(self.asks.iter().map(|(tick, steps)| (*tick, *steps)).collect()),
        }
    }

    fn best_bid(&self) -> (u64, u64) {
        self.bids.last_key_value().map(|(p, q)| (*p, *q)).expect("a side is never empty")
    }

    fn best_ask(&self) -> (u64, u64) {
        self.asks.first_key_value().map(|(p, q)| (*p, *q)).expect("a side is never empty")
    }

    fn set(&mut self, is_bid: bool, tick: u64, steps: u64) {
        self.update_id += self.id_step;
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
        let is_low = is_bid && bid <= FLOOR;
        let remove = !thin && !improve && !is_low && rng.random_bool(0.3);
        self.set(is_bid, tick, if remove { 0 } else { steps(rng) });
    }

    fn trade(&mut self, rng: &mut SmallRng) -> Trade {
        let sells = rng.random_bool(0.5) && self.best_bid().0 > FLOOR;
        let (tick, available) = if sells { self.best_bid() } else { self.best_ask() };
        let taken = rng.random_range(1..=available.min(STEPS));
        self.set(sells, tick, available - taken);
        let side_len = if sells { self.bids.len() } else { self.asks.len() };
        if side_len < LEVELS_MIN {
            let deep = LEVELS_MIN as u64;
            let tick = if sells { self.best_bid().0 - deep } else { self.best_ask().0 + deep };
            self.set(sells, tick, steps(rng));
        }
        // Most takers meet one maker. Where no trade has several fills, no number is drawn for it.
        let fills = if self.fills_max > 1 && rng.random_bool(0.25) {
            let wanted = rng.random_range(1..=self.fills_max);
            (1..=wanted).rev().find(|fills| taken.is_multiple_of(*fills)).unwrap_or(1)
        } else {
            1
        };
        self.trade_id += fills;
        self.volume += taken;
        self.last_tick = tick;
        Trade { id: self.trade_id, tick, steps: taken, sells, fills }
    }

    fn quote(&mut self) -> Quote {
        let (bid, ask) = (self.best_bid(), self.best_ask());
        let is_new = self.quoted.replace((bid, ask)) != Some((bid, ask));
        Quote { id: self.update_id, bid, ask, is_new }
    }

    fn diff(&mut self) -> Diff {
        let (first, last, prev) = (self.diff_first, self.update_id, self.diff_prev);
        let side = |is_bid: bool| {
            let of_side = self.changed.iter().filter(|((bid, _), _)| *bid == is_bid);
            of_side.map(|((_, tick), steps)| (*tick, *steps)).collect()
        };
        let (bids, asks) = (side(true), side(false));
        (self.diff_first, self.diff_prev) = (last + self.id_step, last);
        self.changed.clear();
        Diff { first, last, prev, bids, asks }
    }

    fn summary(&self) -> Summary {
        Summary {
            last: self.last_tick,
            open: self.open_tick,
            volume: self.volume,
            bid: self.best_bid(),
            ask: self.best_ask(),
        }
    }
}

fn steps(rng: &mut SmallRng) -> u64 {
    rng.random_range(1..5 * STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64) -> Vec<Event> {
        let names = ["BTCUSDT".to_owned(), "ETHUSDT".to_owned()];
        let mut market = Generator::new(&names, seed);
        market.want(Interval::minutes(1));
        market.want(Interval::minutes(3));
        let mut events = Vec::new();
        for i in 0..20_000_i64 {
            market.emit(1_700_000_000_000 + i * 10, &mut events);
        }
        events
    }

    #[test]
    fn the_venues_invariants_hold() {
        let mut trade_ids: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        let mut diffs: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for Event { name, what, .. } in run(7) {
            match what {
                What::Trade(trade) => {
                    let last = trade_ids.insert(name, trade.id);
                    assert!(last.is_none_or(|last| trade.id == last + 1));
                }
                What::Diff(diff) => {
                    let last = diffs.insert(name, diff.last);
                    assert!(last.is_none_or(|last| diff.prev == last && diff.first == last + 1));
                    assert!(diff.first <= diff.last);
                }
                What::Quote(_) | What::Summary(_) | What::Candle(_) => {}
            }
        }
        assert_eq!(trade_ids.len(), 2);
    }

    #[test]
    fn trades_of_several_fills_take_as_many_ids_and_divide_their_quantity() {
        let dialect: Arc<dyn Dialect> = Arc::new(crate::dialect::okx::Okx::PERP);
        let mut market = Generator::of(dialect, &["BTC-USDT-SWAP".to_owned()], 7);
        let mut events = Vec::new();
        for i in 0..5_000_i64 {
            market.emit(1_700_000_000_000 + i * 10, &mut events);
        }
        let trades = events.iter().filter_map(|event| match event.what {
            What::Trade(trade) => Some(trade),
            What::Quote(_) | What::Diff(_) | What::Summary(_) | What::Candle(_) => None,
        });
        let trades: Vec<Trade> = trades.collect();
        let fills: Vec<Trade> = trades.iter().flat_map(Trade::each).collect();
        assert!(fills.windows(2).all(|pair| pair[0].id + 1 == pair[1].id));
        assert!(fills.iter().all(|fill| fill.fills == 1 && fill.steps > 0));
        let steps = |trades: &[Trade]| trades.iter().map(|trade| trade.steps).sum::<u64>();
        assert_eq!(steps(&fills), steps(&trades));
        let counts: BTreeSet<u64> = trades.iter().map(|trade| trade.fills).collect();
        assert_eq!(counts, (1..=5).collect());
    }

    #[test]
    fn a_market_that_numbers_anew_goes_on_from_its_book() {
        let mut market = Generator::new(&["BTCUSDT".to_owned()], 7);
        let mut events = Vec::new();
        (0..1_000).for_each(|now_ms| market.emit(now_ms, &mut events));
        market.renumber();
        assert_eq!(market.opening_books()[0].last_id, 0);
        events.clear();
        (0..1_000).for_each(|now_ms| market.emit(now_ms, &mut events));
        let (mut trades, mut diffs) = (Vec::new(), Vec::new());
        for Event { what, .. } in events {
            match what {
                What::Trade(trade) => trades.push(trade.id),
                What::Diff(diff) => diffs.push(diff.prev),
                What::Quote(_) | What::Summary(_) | What::Candle(_) => {}
            }
        }
        assert!(trades.iter().copied().eq(1..=trades.len() as u64), "{trades:?}");
        assert_eq!(diffs.first(), Some(&0));
    }

    #[test]
    fn a_seed_names_a_market() {
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn candles_that_are_closed_are_those_of_their_trades() {
        let (mut trades, mut closed) = (Vec::new(), Vec::new());
        for Event { name, time_ms, what } in run(3) {
            match what {
                What::Trade(trade) => trades.push((name, time_ms, trade)),
                What::Candle(candle) if candle.closed => closed.push((name, candle)),
                What::Candle(_) | What::Quote(_) | What::Diff(_) | What::Summary(_) => {}
            }
        }
        // 200 s from 22:13:20 on: three whole minutes of each instrument, and one of three minutes.
        assert_eq!(closed.len(), 2 * (3 + 1));
        for (name, candle) in closed {
            let end_ms = candle.open_ms + candle.interval.length_ms();
            let inside = trades
                .iter()
                .filter(|(of, at_ms, _)| *of == name && (candle.open_ms..end_ms).contains(at_ms));
            let inside: Vec<&Trade> = inside.map(|(_, _, trade)| trade).collect();
            let ids = inside.first().zip(inside.last()).map(|(a, b)| (a.id, b.id));
            assert_eq!(ids, Some((candle.first_id, candle.last_id)));
            let volume: u64 = inside.iter().map(|trade| trade.steps).sum();
            assert_eq!((candle.volume, candle.trades), (volume, inside.len() as u64));
            let highest = inside.iter().map(|trade| trade.tick).max();
            let lowest = inside.iter().map(|trade| trade.tick).min();
            assert_eq!((Some(candle.high), Some(candle.low)), (highest, lowest));
        }
    }

    #[test]
    fn a_price_that_is_low_falls_no_further() {
        let mut rng = SmallRng::seed_from_u64(7);
        let mut low = Instrument::new("LOW", &*binance_spot(), &mut rng);
        low.bids = (FLOOR - 300..=FLOOR + 100).map(|tick| (tick, steps(&mut rng))).collect();
        low.asks = (FLOOR + 101..FLOOR + 500).map(|tick| (tick, steps(&mut rng))).collect();
        let mut lowest = u64::MAX;
        for _ in 0..200_000 {
            low.trade(&mut rng);
            low.mutate(&mut rng);
            low.diff();
            lowest = lowest.min(low.best_bid().0);
        }
        assert!(lowest > FLOOR - LEVELS_MIN as u64, "{lowest}");
    }
}
