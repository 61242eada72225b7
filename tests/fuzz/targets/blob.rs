//! Bytes for `roadstead_properties::blob`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::blob(bytes));
