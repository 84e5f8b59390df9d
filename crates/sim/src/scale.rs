//! Whole numbers of ticks and steps, and the decimals that they stand for.

use units::{Price, Qty, SCALE};

/// What one of them stands for: `mantissa` · 10⁻`places`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    mantissa: u64,
    places: u32,
}

impl Size {
    /// The size `mantissa` · 10⁻`places`; at most eighteen places.
    #[must_use]
    pub const fn new(mantissa: u64, places: u32) -> Self {
        Self { mantissa, places }
    }

    /// How many of them are one.
    #[must_use]
    pub const fn per_unit(self) -> u64 {
        10_u64.pow(self.places) / self.mantissa
    }

    /// So many of them, in units of the last place that a decimal has.
    #[must_use]
    pub fn raw(self, count: u64) -> i128 {
        i128::from(count) * i128::from(self.mantissa) * 10_i128.pow(SCALE - self.places)
    }

    /// How many of them a decimal is, in units of its last place.
    #[must_use]
    pub fn count(self, raw: i128) -> i128 {
        raw / self.raw(1)
    }

    /// So many of them with so many decimal places, or as many as they need.
    #[must_use]
    pub fn fixed(self, count: u64, places: u32) -> String {
        let places = places.max(self.places);
        let number =
            u128::from(count) * u128::from(self.mantissa) * 10_u128.pow(places - self.places);
        let per = 10_u128.pow(places);
        if places == 0 {
            return number.to_string();
        }
        format!("{}.{:0width$}", number / per, number % per, width = places as usize)
    }

    /// So many of them with the decimal places that the size has.
    #[must_use]
    pub fn text(self, count: u64) -> String {
        self.fixed(count, self.places)
    }
}

/// What the whole numbers of a market stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// A tick of the price.
    pub tick: Size,
    /// A step of the quantity, as the venue writes quantities.
    pub step: Size,
    /// The same step in the unit in which quantities are recorded: of a contract, what it stands
    /// for.
    pub unit: Size,
}

impl Scale {
    /// A price as it is recorded.
    #[must_use]
    pub fn price(&self, ticks: u64) -> Price {
        Price::from_raw(self.tick.raw(ticks))
    }

    /// A quantity as it is recorded.
    #[must_use]
    pub fn qty(&self, steps: u64) -> Qty {
        Qty::from_raw(self.unit.raw(steps))
    }

    /// A recorded quantity as the venue writes it.
    #[must_use]
    pub fn written(&self, qty: Qty) -> Qty {
        Qty::from_raw(self.unit.count(qty.raw()) * self.step.raw(1))
    }

    /// Levels as the venue writes them.
    #[must_use]
    pub fn levels(&self, levels: &[(u64, u64)]) -> Vec<(String, String)> {
        let level = |(tick, steps): &(u64, u64)| (self.tick.text(*tick), self.step.text(*steps));
        levels.iter().map(level).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_with_the_places_asked_for() {
        assert_eq!(Size::new(1, 2).fixed(6_173_763, 8), "61737.63000000");
        assert_eq!(Size::new(1, 1).text(840_935), "84093.5");
        assert_eq!(Size::new(5, 1).text(153_828), "76914.0");
        assert_eq!(Size::new(10, 0).text(12), "120");
        assert_eq!((Size::new(5, 1).per_unit(), Size::new(1, 2).per_unit()), (2, 100));
    }

    #[test]
    fn what_is_recorded_of_contracts_reads_back_as_their_number() {
        // A hundredth of a contract of a hundredth of a coin.
        let (tick, step) = (Size::new(1, 1), Size::new(1, 2));
        let scale = Scale { tick, step, unit: Size::new(1, 4) };
        assert_eq!(scale.qty(2_431).to_string(), "0.2431");
        assert_eq!(scale.written(scale.qty(2_431)).to_string(), "24.31");
        assert_eq!(scale.price(840_935).to_string(), "84093.5");
        assert_eq!(scale.levels(&[(10, 150)]), [("1.0".to_owned(), "1.50".to_owned())]);
    }
}
