//! Bytes for `roadstead_properties::join_token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::join_token(bytes));
