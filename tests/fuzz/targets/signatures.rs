//! Bytes for `roadstead_properties::signatures`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::signatures(bytes));
