//! A segment of the spool.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::spool_segment(data);
});
