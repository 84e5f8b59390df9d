//! Headers with keys and tokens, one a line, and the claims of a token.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::gateway_credentials(data);
});
