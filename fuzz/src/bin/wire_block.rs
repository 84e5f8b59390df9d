//! A block of events: the fast way against the general parser.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::wire_block(data);
});
