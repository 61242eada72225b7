//! Bytes for `roadstead_properties::project`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::project(bytes));
