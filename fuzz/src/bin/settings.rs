//! The configuration: the main file and drop-ins, with form feeds between them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::settings(data);
});
