//! Bytes for `roadstead_properties::history`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::history(bytes));
