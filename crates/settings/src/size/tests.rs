//! Ring 1.

use super::Size;

#[test]
fn sizes_are_read_with_their_units() {
    for (text, bytes) in [
        ("0B", 0),
        ("512B", 512),
        ("32KiB", 32 << 10),
        ("64MiB", 64 << 20),
        ("1 GiB", 1 << 30),
        ("2TiB", 2 << 40),
        ("1MB", 1_000_000),
    ] {
        assert_eq!(text.parse::<Size>().unwrap().bytes(), bytes, "{text}");
    }
}

#[test]
fn what_is_no_size_is_refused() {
    for text in ["", "64", "MiB", "-1MiB", "1.5GiB", "1gib", "99999999999TiB"] {
        assert!(text.parse::<Size>().is_err(), "{text}");
    }
}

#[test]
fn what_is_written_reads_back() {
    for bytes in [0, 1, 1000, 1024, 1536, 64 << 20, u64::MAX] {
        let size = Size::new(bytes);
        assert_eq!(size.to_string().parse(), Ok(size), "{bytes}");
    }
    assert_eq!(Size::new(1536 << 20).to_string(), "1536MiB");
}
