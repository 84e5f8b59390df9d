//! Which adapter reads which market.

use anyhow::bail;
use model::{Market, Venue};
use venue::Adapter;

/// The markets that there are adapters for.
pub(crate) const KNOWN: &str = "binance spot, perp, future; okx spot, perp, future, option; \
                                deribit perp, future, option, spot, index";

/// What is done with an adapter, whichever it is.
pub(crate) trait Visit {
    /// What comes of it.
    type Out;

    /// Does it.
    fn visit<A: Adapter + Clone + 'static>(self, adapter: A) -> Self::Out;
}

/// Hands over the adapter of a market.
///
/// # Errors
///
/// If there is none.
pub(crate) fn with<V: Visit>(venue: Venue, market: Market, visitor: V) -> anyhow::Result<V::Out> {
    Ok(match (venue, market) {
        (Venue::Binance, Market::Spot) => visitor.visit(venue_binance::Spot::new()),
        (Venue::Binance, Market::Perp) => visitor.visit(venue_binance::Perp::new()),
        (Venue::Binance, Market::Future) => visitor.visit(venue_binance::Future::new()),
        (Venue::Okx, Market::Spot) => visitor.visit(venue_okx::Spot::new()),
        (Venue::Okx, Market::Perp) => visitor.visit(venue_okx::Perp::new()),
        (Venue::Okx, Market::Future) => visitor.visit(venue_okx::Future::new()),
        (Venue::Okx, Market::Option) => visitor.visit(venue_okx::Options::new()),
        (Venue::Deribit, Market::Perp) => visitor.visit(venue_deribit::Perp::new()),
        (Venue::Deribit, Market::Future) => visitor.visit(venue_deribit::Futures::new()),
        (Venue::Deribit, Market::Option) => visitor.visit(venue_deribit::Options::new()),
        (Venue::Deribit, Market::Spot) => visitor.visit(venue_deribit::Spot::new()),
        (Venue::Deribit, Market::Index) => visitor.visit(venue_deribit::Index::new()),
        (venue, market) => {
            bail!("there is no adapter for {market} on {venue}; known: {KNOWN}")
        }
    })
}
