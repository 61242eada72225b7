//! Bytes for `roadstead_properties::request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::request(bytes));
