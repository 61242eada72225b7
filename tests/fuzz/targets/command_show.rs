//! Bytes for `roadstead_properties::command_show`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::command_show(bytes));
