//! Bytes for `roadstead_properties::static_names`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::static_names(bytes));
