//! Bytes for `roadstead_properties::haproxy_stat`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::haproxy_stat(bytes));
