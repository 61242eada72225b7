//! Bytes for `roadstead_properties::parts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::parts(bytes));
