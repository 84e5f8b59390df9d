//! Answers of ClickHouse in RowBinary: the kind of the rows in the first byte, the rows behind it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::clickhouse_answer(data);
});
