//! Bytes for `roadstead_properties::vault_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::vault_answer(bytes));
