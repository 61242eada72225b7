//! Bytes for `roadstead_properties::names`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::names(bytes));
