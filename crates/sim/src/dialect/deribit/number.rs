//! Numbers as Deribit prints them: doubles, large and small ones with an exponent.

use crate::scale::Size;

/// Digits before the point of the largest number without an exponent, and zeros behind it of the
/// smallest: `999999.0`, `0.001`.
const WHOLE_MAX: usize = 6;
const ZEROS_MAX: usize = 2;

/// So many of a size: `10.0`, `1.0002e6`, `2.8e-4`.
pub(super) fn double(size: Size, count: u64) -> String {
    let text = size.text(count);
    let (whole, part) = text.split_once('.').unwrap_or((text.as_str(), ""));
    let part = part.trim_end_matches('0');
    let zeros = part.len() - part.trim_start_matches('0').len();
    let exponent = if whole.len() > WHOLE_MAX {
        format!("e{}", whole.len() - 1)
    } else if whole == "0" && zeros > ZEROS_MAX {
        format!("e-{}", zeros + 1)
    } else {
        return format!("{whole}.{}", or_zero(part));
    };
    let digits = format!("{whole}{part}");
    let digits = digits.trim_matches('0');
    let (first, rest) = digits.split_at(1);
    format!("{first}.{}{exponent}", or_zero(rest))
}

const fn or_zero(digits: &str) -> &str {
    if digits.is_empty() { "0" } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::Qty;

    #[test]
    fn large_and_small_numbers_have_an_exponent() {
        let tens =
            [1, 99_999, 100_000, 100_020, 4_500_000].map(|count| double(Size::new(10, 0), count));
        assert_eq!(tens, ["10.0", "999990.0", "1.0e6", "1.0002e6", "4.5e7"]);
        let parts = [0, 1, 28, 1_000, 15_000].map(|count| double(Size::new(1, 5), count));
        assert_eq!(parts, ["0.0", "1.0e-5", "2.8e-4", "0.01", "0.15"]);
        assert_eq!(double(Size::new(1, 5), 100), "0.001");
    }

    #[test]
    fn a_number_reads_back_as_what_it_was() {
        for (size, count) in [
            (Size::new(10, 0), 12_345_678),
            (Size::new(10, 0), 100_020),
            (Size::new(1, 4), 9),
            (Size::new(1, 4), 123_456_789_012),
            (Size::new(1, 1), 0),
        ] {
            let read = Qty::parse(double(size, count).as_bytes()).unwrap();
            assert_eq!(read.raw(), size.raw(count), "{size:?} {count}");
        }
    }
}
