//! From numbers of contracts to quantities.

#[cfg(test)]
mod tests;

use units::{Qty, SCALE};

/// What one contract stands for, as `units` · 10⁻`places`: the sizes that exist are short, so that
/// multiplying by one is exact and cheap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContractSize {
    units: i128,
    places: u32,
}

/// Powers of ten by exponent.
pub(crate) const POW10: [i128; SCALE as usize + 1] = {
    let mut table = [1_i128; SCALE as usize + 1];
    let mut i = 1;
    while i < table.len() {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

impl ContractSize {
    /// Quantities that are no contracts.
    pub(crate) const ONE: Self = Self { units: 1, places: 0 };

    /// The size that an instrument list gives; a size that is not positive is none.
    pub(crate) fn new(size: Option<Qty>) -> Self {
        let Some(size) = size.filter(|size| *size > Qty::ZERO) else { return Self::ONE };
        let (units, zeros) = strip_zeros(size.raw(), SCALE);
        Self { units, places: SCALE - zeros }
    }

    /// The quantity of `mantissa` · 10⁻`places` contracts; `None` if it is out of range or has more
    /// places than a quantity.
    #[inline]
    pub(crate) fn of(self, mantissa: u64, places: u32) -> Option<Qty> {
        let shift = SCALE.checked_sub(places + self.places)?;
        let units = i128::from(mantissa).checked_mul(self.units)?;
        units.checked_mul(POW10[shift as usize]).map(Qty::from_raw)
    }

    /// The quantity of so many contracts; `None` if it is out of range or has more places than a
    /// quantity.
    pub(crate) fn multiply(self, contracts: Qty) -> Option<Qty> {
        let (contracts, zeros) = strip_zeros(contracts.raw(), self.places);
        let product = contracts.checked_mul(self.units)?;
        let divisor = POW10[(self.places - zeros) as usize];
        (product % divisor == 0).then(|| Qty::from_raw(product / divisor))
    }
}

/// The number without at most `most` of its trailing zeros, and how many those were.
fn strip_zeros(mut number: i128, most: u32) -> (i128, u32) {
    let mut zeros = 0;
    while zeros < most && number % 10 == 0 {
        (number, zeros) = (number / 10, zeros + 1);
    }
    (number, zeros)
}
