//! Subjects, block ids, stream keys, and the headers of dead letters.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::wire_names(data);
});
