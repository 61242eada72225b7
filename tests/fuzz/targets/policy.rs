//! Bytes for `roadstead_properties::policy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::policy(bytes));
