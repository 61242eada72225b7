//! Bytes for `roadstead_properties::journal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::journal(bytes));
