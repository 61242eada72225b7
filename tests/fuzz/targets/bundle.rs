//! Bytes for `roadstead_properties::bundle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::bundle(bytes));
