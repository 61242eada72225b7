//! Bytes for `roadstead_properties::unit_text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::unit_text(bytes));
