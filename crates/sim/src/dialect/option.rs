//! What the options of all venues have in common: strikes, sides, and figures that are made up.

/// What a coin is worth, and what it will be at the expiry, in dollars.
pub(super) const SPOT_PRICE: &str = "100000.0";
pub(super) const FORWARD_PRICE: &str = "100250.5";

/// What a tick of an option's price is worth, 10⁻⁴ of such a coin, in dollars.
const DOLLARS_PER_TICK: u64 = 10;

/// The lowest strike, and how far they are apart, in dollars.
const STRIKE_MIN: usize = 20_000;
const STRIKE_STEP: usize = 500;

/// The end of a name, `20000-C`: the strikes in turn, of each the call and the put.
pub(super) fn strike_and_side(number: usize) -> String {
    let side = if number.is_multiple_of(2) { 'C' } else { 'P' };
    format!("{}-{side}", STRIKE_MIN + number / 2 * STRIKE_STEP)
}

/// The price of an option that is worth so many dollars, in ticks.
pub(super) const fn tick(dollars: u64) -> u64 {
    dollars / DOLLARS_PER_TICK
}

/// What the name of an option says, from its end: `…-20000-C`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms<'a> {
    /// What stands before, with the expiry.
    pub(super) series: &'a str,
    /// In dollars.
    pub(super) strike: &'a str,
    /// `C` or `P`.
    pub(super) side: &'a str,
}

impl<'a> Terms<'a> {
    /// Reads a name; one that is none of an option has an empty strike and side.
    pub(super) fn of(name: &'a str) -> Self {
        let mut parts = name.rsplitn(3, '-');
        let parts = (parts.next(), parts.next(), parts.next());
        let (Some(side), Some(strike), Some(series)) = parts else {
            return Self { series: name, strike: "", side: "" };
        };
        Self { series, strike, side }
    }

    /// Whether it is the right to buy.
    pub(super) fn is_call(self) -> bool {
        self.side == "C"
    }

    /// The change of its price with the coin's: half of it, up or down.
    pub(super) fn delta(self) -> &'static str {
        if self.is_call() { "0.47736" } else { "-0.52264" }
    }
}

/// The implied volatility at a price, as a share of one with four places and no point: 40 to 60
/// percent.
pub(super) const fn volatility(tick: u64) -> u64 {
    4_000 + tick % 2_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strike_has_a_call_and_a_put() {
        let ends = [0, 1, 2, 399].map(strike_and_side);
        assert_eq!(ends, ["20000-C", "20000-P", "20500-C", "119500-P"]);
    }

    #[test]
    fn a_name_says_what_was_put_into_it() {
        let terms = Terms::of("BTC-USD-300329-20000-P");
        let expected = Terms { series: "BTC-USD-300329", strike: "20000", side: "P" };
        assert_eq!((terms, terms.is_call()), (expected, false));
        assert!(Terms::of("BTC-29MAR30-20500-C").is_call());
        assert_eq!(Terms::of("BTCUSDT").strike, "");
    }
}
