//! Bytes for `roadstead_properties::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::manifest(bytes));
