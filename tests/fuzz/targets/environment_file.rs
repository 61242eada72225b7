//! Bytes for `roadstead_properties::environment_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::environment_file(bytes));
