//! Bytes for `roadstead_properties::wheel`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::wheel(bytes));
