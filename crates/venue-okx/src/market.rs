//! The markets, as types: an adapter's market is part of its type.

use crate::rest;
use model::Market;
use std::fmt;
use venue::Poll;

/// One of OKX's markets.
pub trait OkxMarket: fmt::Debug + Clone + Send + Sync + 'static {
    /// Our name for it.
    const MARKET: Market;
    /// OKX's name for it, in requests and in the instrument list.
    const INST_TYPE: &'static str;
    /// What has to be asked for again and again.
    const POLLS: &'static [Poll] = &[];
}

/// Immediate exchange.
#[derive(Debug, Clone, Copy)]
pub enum Spot {}

/// Perpetual swaps.
#[derive(Debug, Clone, Copy)]
pub enum Swap {}

/// Dated futures.
#[derive(Debug, Clone, Copy)]
pub enum Futures {}

/// Options.
#[derive(Debug, Clone, Copy)]
pub enum Options {}

impl OkxMarket for Spot {
    const MARKET: Market = Market::Spot;
    const INST_TYPE: &'static str = "SPOT";
}

impl OkxMarket for Swap {
    const MARKET: Market = Market::Perp;
    const INST_TYPE: &'static str = "SWAP";
    const POLLS: &'static [Poll] = &rest::RATIOS;
}

impl OkxMarket for Futures {
    const MARKET: Market = Market::Future;
    const INST_TYPE: &'static str = "FUTURES";
}

impl OkxMarket for Options {
    const MARKET: Market = Market::Option;
    const INST_TYPE: &'static str = "OPTION";
}
