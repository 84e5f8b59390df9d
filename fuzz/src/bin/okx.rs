//! Frames of OKX, one a line: the scanner against the general parser.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::okx(data);
});
