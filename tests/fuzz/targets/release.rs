//! Bytes for `roadstead_properties::release`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::release(bytes));
