//! Bytes for `roadstead_properties::memory`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::memory(bytes));
