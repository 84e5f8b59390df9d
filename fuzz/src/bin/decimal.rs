//! Decimals: the short way against the general one.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::decimal(data);
});
