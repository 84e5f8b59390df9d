//! What is known of the instruments: their names, contract sizes and indices.

use crate::contract::ContractSize;
use model::{Instrument, Market, Venue};
use std::collections::BTreeMap;
use std::sync::Arc;
use venue::{Instruments, ParseError, Slot};

/// The instruments met, and what a list said about them.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) instruments: Instruments,
    /// By slot; an instrument beyond the end was never listed.
    listed: Vec<Listed>,
    /// By the name of an index, the contracts on it.
    by_index: BTreeMap<Arc<str>, Vec<Slot>>,
}

/// What a list says about an instrument, as far as reading frames needs it.
#[derive(Debug, Clone)]
struct Listed {
    size: ContractSize,
    /// The index that the contract is on.
    index: Option<Arc<str>>,
    /// Whether it is priced in US dollars themselves.
    in_dollars: bool,
}

impl Known {
    pub(crate) fn new(market: Market) -> Self {
        Self {
            instruments: Instruments::new(Venue::Okx, market),
            listed: Vec::new(),
            by_index: BTreeMap::new(),
        }
    }

    /// Takes over an instrument list.
    pub(crate) fn set(&mut self, list: &[Instrument]) {
        self.instruments.set(list);
        for instrument in list {
            let Some(slot) = self.instruments.find_name(instrument.id.name.as_bytes()) else {
                continue;
            };
            if self.listed.len() <= slot.index() {
                self.listed.resize(slot.index() + 1, Listed::nothing());
            }
            self.listed[slot.index()] = Listed::of(instrument);
        }
        self.by_index.clear();
        for (slot, listed) in Slot::first(self.listed.len()).zip(&self.listed) {
            if let Some(index) = &listed.index {
                self.by_index.entry(Arc::clone(index)).or_default().push(slot);
            }
        }
    }

    /// The slot of a name, a new one if it was never met.
    pub(crate) fn slot(&mut self, name: &str) -> Result<Slot, ParseError> {
        self.instruments.slot(name)
    }

    /// The contract size of an instrument; one if no list gave it.
    #[inline]
    pub(crate) fn size(&self, name: &[u8]) -> ContractSize {
        self.listed(name).map_or(ContractSize::ONE, |listed| listed.size)
    }

    /// Whether an instrument is priced in US dollars themselves.
    pub(crate) fn in_dollars(&self, name: &[u8]) -> bool {
        self.listed(name).is_some_and(|listed| listed.in_dollars)
    }

    /// The index that a contract is on, if a list said so.
    pub(crate) fn index(&self, name: &[u8]) -> Option<&str> {
        self.listed(name)?.index.as_deref()
    }

    /// The names of the contracts on an index.
    pub(crate) fn on_index(&self, index: &str) -> impl Iterator<Item = Arc<str>> {
        let slots = self.by_index.get(index).into_iter().flatten();
        slots.map(|slot| Arc::clone(&self.instruments.get(*slot).name))
    }

    #[inline]
    fn listed(&self, name: &[u8]) -> Option<&Listed> {
        self.listed.get(self.instruments.find_name(name)?.index())
    }
}

impl Listed {
    const fn nothing() -> Self {
        Self { size: ContractSize::ONE, index: None, in_dollars: false }
    }

    fn of(instrument: &Instrument) -> Self {
        let Instrument { id, base, quote, contract_size, .. } = instrument;
        let index = match id.market {
            // The underlying of a linear or inverse contract is its index: `BTC-USDT`.
            Market::Perp | Market::Future => Some(Arc::from(format!("{base}-{quote}"))),
            // One price would become hundreds of events.
            Market::Option => None,
            Market::Spot | Market::Index => None,
        };
        Self { size: ContractSize::new(*contract_size), index, in_dollars: &**quote == "USD" }
    }
}
