//! The text formats of Prometheus and OpenMetrics.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::exposition(data);
});
