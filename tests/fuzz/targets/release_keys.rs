//! Bytes for `roadstead_properties::release_keys`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::release_keys(bytes));
