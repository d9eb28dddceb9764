//! Messages behind their lengths are cut the same however they come.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| landline::fuzzing::length(bytes));
