//! Notes beside the blocks in the collector's spool.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::spool_note(data);
});
