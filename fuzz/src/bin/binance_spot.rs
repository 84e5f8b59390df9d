//! Frames of Binance's spot market, one a line: the scanner against the general parser.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::binance_spot(data);
});
