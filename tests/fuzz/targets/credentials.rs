//! Bytes for `roadstead_properties::credentials`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::credentials(bytes));
