//! Frames of Deribit, one a line: the scanner against the general parser.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::deribit(data);
});
