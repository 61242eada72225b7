//! Bytes for `roadstead_properties::migration_facts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::migration_facts(bytes));
