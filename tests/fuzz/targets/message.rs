//! Bytes for `roadstead_properties::message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::message(bytes));
