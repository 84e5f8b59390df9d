//! A segment of the archive, and the payload of a record whose checksums are right.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::archive_segment(data);
});
