//! Event → JSON, by hand: it is on the hot path, and the layout is a contract.

use crate::VERSION;
use model::{
    Bbo, Body, Book, Event, Funding, Gap, Greeks, InstrumentId, Kline, Level, Liquidation,
    LongShortRatio, Mark, OpenInterest, Status, Ticker, Trade,
};
use units::{Notional, Price, Qty, Rate, UnixNanos};

/// Appends an event as one JSON object, without a newline.
///
/// Decimals are strings, times integers in nanoseconds; what the venue did not give is absent.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    let mut json = Object { out };
    json.common(event);
    match &event.body {
        Body::Trade(trade) | Body::AggTrade(trade) => json.trade(trade),
        Body::Book(book) => json.book(book),
        Body::Bbo(bbo) => json.bbo(bbo),
        Body::Ticker(ticker) => json.ticker(ticker),
        Body::Kline(kline) => json.kline(kline),
        Body::Mark(mark) => json.mark(mark),
        Body::Funding(funding) => json.funding(funding),
        Body::OpenInterest(interest) => json.open_interest(interest),
        Body::Liquidation(liquidation) => json.liquidation(liquidation),
        Body::LongShortRatio(ratio) => json.long_short_ratio(ratio),
        Body::VolatilityIndex(index) => json.rate(",\"value\":", index.value),
        Body::Gap(gap) => json.gap(gap),
        Body::Status(status) => json.status(status),
    }
    out.push(b'}');
}

/// Writes the members of one object; every key is a literal with its comma and colon in place.
struct Object<'a> {
    out: &'a mut Vec<u8>,
}

impl Object<'_> {
    fn raw(&mut self, bytes: &str) {
        self.out.extend_from_slice(bytes.as_bytes());
    }

    fn text(&mut self, key: &str, value: &str) {
        self.raw(key);
        self.out.push(b'"');
        escape(value, self.out);
        self.out.push(b'"');
    }

    fn unsigned(&mut self, key: &str, value: u64) {
        self.raw(key);
        self.raw(itoa::Buffer::new().format(value));
    }

    fn time(&mut self, key: &str, value: UnixNanos) {
        self.raw(key);
        self.raw(itoa::Buffer::new().format(value.as_i64()));
    }

    fn price(&mut self, key: &str, value: Price) {
        self.raw(key);
        self.out.push(b'"');
        value.write_to(self.out);
        self.out.push(b'"');
    }

    fn qty(&mut self, key: &str, value: Qty) {
        self.raw(key);
        self.out.push(b'"');
        value.write_to(self.out);
        self.out.push(b'"');
    }

    fn rate(&mut self, key: &str, value: Rate) {
        self.raw(key);
        self.out.push(b'"');
        value.write_to(self.out);
        self.out.push(b'"');
    }

    fn notional(&mut self, key: &str, value: Notional) {
        self.raw(key);
        self.out.push(b'"');
        value.write_to(self.out);
        self.out.push(b'"');
    }

    fn levels(&mut self, key: &str, levels: &[Level]) {
        self.raw(key);
        self.out.push(b'[');
        for (i, (price, qty)) in levels.iter().enumerate() {
            self.raw(if i == 0 { "[\"" } else { ",[\"" });
            price.write_to(self.out);
            self.raw("\",\"");
            qty.write_to(self.out);
            self.raw("\"]");
        }
        self.out.push(b']');
    }

    fn common(&mut self, event: &Event) {
        let InstrumentId { venue, market, symbol, name } = &*event.instrument;
        self.unsigned("{\"v\":", u64::from(VERSION));
        self.text(",\"kind\":", event.kind().as_str());
        self.text(",\"venue\":", venue.as_str());
        self.text(",\"market\":", market.as_str());
        self.text(",\"symbol\":", symbol.as_str());
        self.text(",\"instrument\":", name);
        if let Some(time) = event.venue_time {
            self.time(",\"venue_time\":", time);
        }
        self.time(",\"recv_time\":", event.recv_time);
        if let Some(origin) = event.origin {
            self.text(",\"origin\":", origin.as_str());
        }
    }

    fn trade(&mut self, trade: &Trade) {
        self.unsigned(",\"seq\":", trade.seq);
        self.text(",\"trade_id\":", &trade.trade_id);
        self.price(",\"price\":", trade.price);
        self.qty(",\"qty\":", trade.qty);
        self.text(",\"side\":", trade.side.as_str());
        if let Some((first, last)) = trade.id_range {
            self.unsigned(",\"first_id\":", first);
            self.unsigned(",\"last_id\":", last);
        }
        if let Some(count) = trade.count {
            self.unsigned(",\"count\":", count);
        }
        if let Some(liquidated) = trade.liquidation {
            self.text(",\"liquidation\":", liquidated.as_str());
        }
        if trade.block {
            self.raw(",\"block\":true");
        }
    }

    fn book(&mut self, book: &Book) {
        self.text(",\"type\":", book.book_type.as_str());
        if let Some(id) = book.first_id {
            self.unsigned(",\"first_id\":", id);
        }
        self.unsigned(",\"last_id\":", book.last_id);
        if let Some(id) = book.prev_id {
            self.unsigned(",\"prev_id\":", id);
        }
        if book.part > 0 {
            self.unsigned(",\"part\":", u64::from(book.part));
        }
        self.levels(",\"bids\":", &book.bids);
        self.levels(",\"asks\":", &book.asks);
    }

    fn bbo(&mut self, bbo: &Bbo) {
        self.unsigned(",\"id\":", bbo.id);
        self.price(",\"bid_price\":", bbo.bid_price);
        self.qty(",\"bid_qty\":", bbo.bid_qty);
        self.price(",\"ask_price\":", bbo.ask_price);
        self.qty(",\"ask_qty\":", bbo.ask_qty);
    }

    fn ticker(&mut self, ticker: &Ticker) {
        let prices = [
            (",\"last_price\":", ticker.last_price),
            (",\"open_price\":", ticker.open_price),
            (",\"high_price\":", ticker.high_price),
            (",\"low_price\":", ticker.low_price),
            (",\"bid_price\":", ticker.bid_price),
            (",\"ask_price\":", ticker.ask_price),
        ];
        for (key, price) in prices {
            if let Some(price) = price {
                self.price(key, price);
            }
        }
        let quantities = [
            (",\"volume\":", ticker.volume),
            (",\"quote_volume\":", ticker.quote_volume),
            (",\"bid_qty\":", ticker.bid_qty),
            (",\"ask_qty\":", ticker.ask_qty),
        ];
        for (key, qty) in quantities {
            if let Some(qty) = qty {
                self.qty(key, qty);
            }
        }
        if let Some(greeks) = &ticker.greeks {
            self.greeks(greeks);
        }
    }

    fn greeks(&mut self, greeks: &Greeks) {
        let rates = [
            (",\"mark_iv\":", greeks.mark_iv),
            (",\"bid_iv\":", greeks.bid_iv),
            (",\"ask_iv\":", greeks.ask_iv),
            (",\"delta\":", greeks.delta),
            (",\"gamma\":", greeks.gamma),
            (",\"vega\":", greeks.vega),
            (",\"theta\":", greeks.theta),
            (",\"rho\":", greeks.rho),
        ];
        for (key, rate) in rates {
            if let Some(rate) = rate {
                self.rate(key, rate);
            }
        }
        if let Some(price) = greeks.underlying_price {
            self.price(",\"underlying_price\":", price);
        }
    }

    fn kline(&mut self, kline: &Kline) {
        self.text(",\"interval\":", &kline.interval);
        self.time(",\"open_time\":", kline.open_time);
        self.time(",\"close_time\":", kline.close_time);
        self.price(",\"open\":", kline.open);
        self.price(",\"high\":", kline.high);
        self.price(",\"low\":", kline.low);
        self.price(",\"close\":", kline.close);
        self.qty(",\"volume\":", kline.volume);
        if let Some(volume) = kline.quote_volume {
            self.qty(",\"quote_volume\":", volume);
        }
        if let Some(trades) = kline.trades {
            self.unsigned(",\"trades\":", trades);
        }
        self.raw(if kline.closed { ",\"closed\":true" } else { ",\"closed\":false" });
    }

    fn mark(&mut self, mark: &Mark) {
        if let Some(price) = mark.mark_price {
            self.price(",\"mark_price\":", price);
        }
        if let Some(price) = mark.index_price {
            self.price(",\"index_price\":", price);
        }
    }

    fn funding(&mut self, funding: &Funding) {
        self.rate(",\"funding_rate\":", funding.funding_rate);
        if let Some(time) = funding.next_funding_time {
            self.time(",\"next_funding_time\":", time);
        }
        if let Some(hours) = funding.interval_hours {
            self.unsigned(",\"interval_hours\":", u64::from(hours));
        }
    }

    fn open_interest(&mut self, interest: &OpenInterest) {
        self.qty(",\"open_interest\":", interest.open_interest);
        if let Some(value) = interest.open_interest_value {
            self.notional(",\"open_interest_value\":", value);
        }
    }

    fn liquidation(&mut self, liquidation: &Liquidation) {
        self.text(",\"side\":", liquidation.side.as_str());
        self.price(",\"price\":", liquidation.price);
        self.qty(",\"qty\":", liquidation.qty);
        if let Some(price) = liquidation.average_price {
            self.price(",\"average_price\":", price);
        }
        if liquidation.ordinal > 0 {
            self.unsigned(",\"ordinal\":", u64::from(liquidation.ordinal));
        }
    }

    fn long_short_ratio(&mut self, ratio: &LongShortRatio) {
        self.text(",\"ratio_type\":", ratio.ratio_type.as_str());
        self.text(",\"period\":", &ratio.period);
        if let Some(share) = ratio.long_ratio {
            self.rate(",\"long_ratio\":", share);
        }
        if let Some(share) = ratio.short_ratio {
            self.rate(",\"short_ratio\":", share);
        }
        self.rate(",\"long_short_ratio\":", ratio.long_short_ratio);
    }

    fn gap(&mut self, gap: &Gap) {
        self.text(",\"gap_id\":", &gap.gap_id);
        self.unsigned(",\"version\":", u64::from(gap.version));
        self.text(",\"of\":", gap.of.as_str());
        for (key, id) in [(",\"after_id\":", gap.after_id), (",\"before_id\":", gap.before_id)] {
            if let Some(id) = id {
                self.unsigned(key, id);
            }
        }
        for (key, time) in [(",\"since\":", gap.since), (",\"until\":", gap.until)] {
            if let Some(time) = time {
                self.time(key, time);
            }
        }
        self.text(",\"cause\":", gap.cause.as_str());
        self.text(",\"state\":", gap.state.as_str());
    }

    fn status(&mut self, status: &Status) {
        self.text(",\"connection\":", &status.connection);
        self.text(",\"state\":", status.state.as_str());
        if let Some(reason) = &status.reason {
            self.text(",\"reason\":", reason);
        }
    }
}

/// Appends a string's content with what RFC 8259 §7 wants escaped.
fn escape(text: &str, out: &mut Vec<u8>) {
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
}
