//! Bytes for `roadstead_properties::order`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::order(bytes));
