//! The numbers that stand for streams inside a table.

use catalog::StreamKey;
use std::collections::BTreeMap;

/// Numbers the streams of a table; the numbers mean nothing outside the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams {
    numbers: BTreeMap<StreamKey, u32>,
    keys: Vec<StreamKey>,
}

impl Streams {
    pub(crate) fn number(&self, key: &StreamKey) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    pub(crate) fn add(&mut self, key: &StreamKey) -> u32 {
        if let Some(number) = self.number(key) {
            return number;
        }
        let number = u32::try_from(self.keys.len()).expect("a market has fewer than 2^32 symbols");
        self.numbers.insert(key.clone(), number);
        self.keys.push(key.clone());
        number
    }

    pub(crate) fn key(&self, number: u32) -> &StreamKey {
        &self.keys[usize::try_from(number).expect("32 bits fit")]
    }

    /// All streams, in key order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&StreamKey, u32)> {
        self.numbers.iter().map(|(key, number)| (key, *number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_from_its_text() {
        let key: StreamKey = "binance/spot/币安人生USDT".parse().unwrap();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert!("binance/spot".parse::<StreamKey>().is_err());
        assert!("binance/spot/A/B".parse::<StreamKey>().is_err());
    }
}
