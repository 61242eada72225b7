//! Bytes for `roadstead_properties::django_settings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::django_settings(bytes));
