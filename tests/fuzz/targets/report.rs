//! Bytes for `roadstead_properties::report`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::report(bytes));
