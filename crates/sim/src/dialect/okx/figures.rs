//! What OKX says every second: tickers, prices of mark and index, funding, open interest, and the
//! figures of options.

use super::{Okx, frame};
use crate::dialect::option::{FORWARD_PRICE, SPOT_PRICE, Terms, volatility};
use crate::event::{Summary, Trade};
use crate::frame::{Frame, figure_entry};
use model::Market;
use units::Rate;

/// What a funding rate is paid for, in milliseconds.
const FUNDING_MS: i64 = 8 * 3_600_000;

/// A frame of a channel of a family of options.
fn family_frame(channel: &str, family: &str, more: &str, data: &str) -> Frame {
    let text = format!(
        r#"{{"arg":{{"channel":"{channel}",{more}"instFamily":"{family}"}},"data":[{data}]}}"#
    );
    Frame::new(&format!("{channel}:{family}"), text)
}

impl Okx {
    /// Tickers, and of contracts what there is beside them.
    pub(super) fn summary(self, name: &str, summary: &Summary, now_ms: i64, out: &mut Vec<Frame>) {
        let inst_type = self.inst_type;
        let (last, open) = (self.price(summary.last), self.price(summary.open));
        let (bid, bid_size) = (self.price(summary.bid.0), self.qty(summary.bid.1));
        let (ask, ask_size) = (self.price(summary.ask.0), self.qty(summary.ask.1));
        let (vol, currency) = (self.qty(summary.volume), self.scale.qty(summary.volume));
        let ticker = format!(
            r#"{{"instType":"{inst_type}","instId":"{name}","last":"{last}","lastSz":"1","askPx":"{ask}","askSz":"{ask_size}","bidPx":"{bid}","bidSz":"{bid_size}","open24h":"{open}","high24h":"{last}","low24h":"{open}","sodUtc0":"{open}","sodUtc8":"{open}","volCcy24h":"{currency}","vol24h":"{vol}","ts":"{now_ms}"}}"#
        );
        out.push(frame("tickers", name, "", &ticker));
        if self.is_spot() {
            return;
        }
        let mark = self.price(summary.mark());
        let of_name = format!(r#""instId":"{name}","instType":"{inst_type}""#);
        let data = format!(r#"{{{of_name},"markPx":"{mark}","ts":"{now_ms}"}}"#);
        out.push(frame("mark-price", name, "", &data));
        let data = format!(
            r#"{{{of_name},"oi":"{vol}","oiCcy":"{currency}","oiUsd":"609736.12133","ts":"{now_ms}"}}"#
        );
        out.push(frame("open-interest", name, "", &data));
        if self.is_option() {
            out.push(self.option_summary(name, summary, now_ms));
            return;
        }
        out.push(self.index(name, summary, now_ms));
        if self.market.market == Market::Perp {
            out.push(funding(name, &of_name, now_ms));
        }
    }

    fn index(self, name: &str, summary: &Summary, now_ms: i64) -> Frame {
        let (pair, index) = (self.pair(name), self.price(summary.index()));
        let open = self.price(summary.open);
        let data = format!(
            r#"{{"instId":"{pair}","idxPx":"{index}","high24h":"{index}","low24h":"{open}","open24h":"{open}","sodUtc0":"{open}","sodUtc8":"{open}","ts":"{now_ms}"}}"#
        );
        let index = self.scale.price(summary.index());
        let entry = figure_entry(&self.market, name, "index_price", index, now_ms);
        frame("index-tickers", pair, "", &data).noted(entry)
    }

    /// The greeks and implied volatilities of an option: those named after Black and Scholes are in
    /// dollars, the others in the coin.
    ///
    /// Source: <https://www.okx.com/docs-v5/en/#public-data-websocket-option-summary-channel>.
    fn option_summary(self, name: &str, summary: &Summary, now_ms: i64) -> Frame {
        let family = self.pair(name);
        let delta = Terms::of(name).delta();
        let [mark, bid, ask] = [summary.mark(), summary.bid.0, summary.ask.0].map(volatility);
        let data = format!(
            r#"{{"instType":"OPTION","instId":"{name}","uly":"{family}","delta":"{delta}","gamma":"2.2361957091","vega":"0.0001843602","theta":"-0.0021749347","lever":"8.465747567","markVol":"0.{mark:04}","bidVol":"0.{bid:04}","askVol":"0.{ask:04}","realVol":"","deltaBS":"{delta}","gammaBS":"0.0000280000","thetaBS":"-217.4934700000","vegaBS":"18.4360200000","ts":"{now_ms}","fwdPx":"{FORWARD_PRICE}","volLv":"0.{mark:04}"}}"#
        );
        // In percent it has two places, of the eighteen that a rate has.
        let mark_iv = Rate::from_raw(i128::from(mark) * 10_i128.pow(16));
        let entry = figure_entry(&self.market, name, "mark_iv", mark_iv, now_ms);
        family_frame("opt-summary", family, "", &data).noted(entry)
    }

    /// A trade in the words of the channel of all options of a family.
    ///
    /// Source: <https://www.okx.com/docs-v5/en/#public-data-websocket-option-trades-channel>.
    pub(super) fn option_trade(self, name: &str, trade: &Trade, now_ms: i64) -> Frame {
        let Trade { id, tick, steps, .. } = trade;
        let (px, sz, side) = (self.price(*tick), self.qty(*steps), trade.side());
        let (family, kind, vol) = (self.pair(name), Terms::of(name).side, volatility(*tick));
        let data = format!(
            r#"{{"fillVol":"0.{vol:04}","fwdPx":"{FORWARD_PRICE}","idxPx":"{SPOT_PRICE}","instFamily":"{family}","instId":"{name}","markPx":"{px}","optType":"{kind}","px":"{px}","side":"{side}","sz":"{sz}","tradeId":"{id}","ts":"{now_ms}"}}"#
        );
        family_frame("option-trades", family, r#""instType":"OPTION","#, &data)
    }
}

fn funding(name: &str, of_name: &str, now_ms: i64) -> Frame {
    let next = now_ms - now_ms.rem_euclid(FUNDING_MS) + FUNDING_MS;
    let after = next + FUNDING_MS;
    let data = format!(
        r#"{{"formulaType":"withRate","fundingRate":"0.0000500000000000","fundingTime":"{next}",{of_name},"method":"current_period","nextFundingRate":"","nextFundingTime":"{after}","ts":"{now_ms}"}}"#
    );
    frame("funding-rate", name, "", &data)
}
