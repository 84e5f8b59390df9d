//! The collector's checkpoint: what it had handed over.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::checkpoint(data);
});
