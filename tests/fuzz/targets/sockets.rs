//! Bytes for `roadstead_properties::sockets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::sockets(bytes));
