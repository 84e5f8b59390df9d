//! Frames of Binance's USD-M contracts, one a line: the scanner against the general parser.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::binance_usdm(data);
});
