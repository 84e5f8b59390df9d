//! OKX's dialect, API version 5.
//!
//! ```text
//! frame ──▶ fast (books, trades, best bid and offer, in the usual order of keys)
//!             │ anything else
//!             ▼
//!           general ──▶ channels ──▶ events
//!             └──────── books ─────▶ unnumbered (captures without sequence ids: CRC32)
//! ```
//!
//! [`Okx`] is one adapter for four markets; [`Spot`], [`Perp`], [`Future`] and [`Options`] name them.
//! Whatever the scanner does not recognise is left to a general JSON parser, and the two never
//! disagree.
//! Quantities of contracts are multiplied out by the contract sizes of the instrument list; without
//! a list they stay contracts.
//!
//! Source: <https://www.okx.com/docs-v5/en/>, read 2026-11.

mod books;
mod channels;
mod contract;
mod control;
mod fast;
mod fields;
mod general;
mod known;
pub mod market;
mod okx;
mod plan;
mod rest;
mod scan;
#[cfg(test)]
mod tests;
mod unnumbered;

pub use okx::{Future, Okx, Options, Perp, Spot};
