//! Bytes for `roadstead_properties::node`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::node(bytes));
