//! Bytes for `roadstead_properties::secret_ref`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_properties::secret_ref(bytes));
