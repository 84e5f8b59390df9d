//! Answers of the venues to REST requests: the path in the first line, the body behind it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::answers(data);
});
