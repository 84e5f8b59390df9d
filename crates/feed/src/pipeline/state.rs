//! What is kept of one instrument.

use crate::Lanes;
use crate::continuity::Continuity;
use crate::flow::{Flows, implied_by};
use crate::keeper::{Context, Keeper, Report};
use crate::recent::RecentIds;
use model::{Body, Kind};
use units::UnixNanos;

#[derive(Debug)]
pub(super) struct State {
    pub(super) wanted: bool,
    pub(super) trades: Continuity,
    pub(super) agg_trades: Continuity,
    pub(super) bbos: RecentIds,
    pub(super) keeper: Keeper,
    pub(super) flows: Flows,
}

impl State {
    pub(super) fn new(rule: book::Rule, wanted: bool) -> Self {
        Self {
            wanted,
            trades: Continuity::new(Kind::Trade),
            agg_trades: Continuity::new(Kind::AggTrade),
            bbos: RecentIds::default(),
            keeper: Keeper::new(rule),
            flows: Flows::default(),
        }
    }

    /// Takes it that nothing comes any more, or not at once.
    pub(super) fn disconnect(&mut self, context: &mut Context<'_>) -> Report {
        self.trades.handle_disconnect();
        self.agg_trades.handle_disconnect();
        self.keeper.handle_disconnect(context)
    }

    /// Whether the snapshot of a book is to be asked for of which nothing has come, nor of what would
    /// imply that it should.
    pub(super) fn rests(&self, now: UnixNanos) -> bool {
        let heard = |kind: &Kind| self.flows.get(*kind).heard;
        self.keeper.resting().is_some_and(|resting| {
            let last = implied_by(Kind::Book).iter().filter_map(heard).max();
            resting.ask_at <= now && last.is_none_or(|at| at <= resting.since)
        })
    }

    /// Takes it that the streams of trades were joined.
    pub(super) const fn handle_joined(&mut self, now: UnixNanos) {
        self.trades.handle_joined(now);
        self.agg_trades.handle_joined(now);
    }

    /// What is numbered without holes, by kind.
    pub(super) const fn numbered(&mut self) -> [(Kind, &mut Continuity); 2] {
        [(Kind::Trade, &mut self.trades), (Kind::AggTrade, &mut self.agg_trades)]
    }

    /// Takes it that nothing of a kind comes any more.
    pub(super) fn leave(&mut self, kind: Kind, context: &mut Context<'_>) -> Report {
        match kind {
            Kind::Trade => self.trades.handle_disconnect(),
            Kind::AggTrade => self.agg_trades.handle_disconnect(),
            Kind::Book => return self.keeper.handle_disconnect(context),
            Kind::Bbo
            | Kind::Ticker
            | Kind::Kline
            | Kind::Mark
            | Kind::Funding
            | Kind::OpenInterest
            | Kind::Liquidation
            | Kind::LongShortRatio
            | Kind::VolatilityIndex
            | Kind::Gap
            | Kind::Status => {}
        }
        Report::default()
    }

    /// Takes it that something of it may have been in a frame that was refused.
    pub(super) const fn handle_reject(&mut self) {
        self.trades.handle_reject();
        self.agg_trades.handle_reject();
        self.keeper.handle_reject();
    }

    pub(super) fn poll_timeout(&self) -> Option<UnixNanos> {
        [self.trades.poll_timeout(), self.agg_trades.poll_timeout(), self.keeper.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Declares the holes that are due by `until`.
    pub(super) fn declare(&mut self, until: UnixNanos, context: &mut Context<'_>) {
        let mut gaps = Vec::new();
        self.trades.handle_timeout(until, &mut gaps);
        self.agg_trades.handle_timeout(until, &mut gaps);
        for gap in gaps {
            context.push(Body::Gap(gap), None, Lanes::Both);
        }
    }
}
