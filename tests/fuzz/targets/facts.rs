//! Bytes for `roadstead_properties::facts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::facts(bytes));
