//! Bytes for `roadstead_properties::metrics`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::metrics(bytes));
