//! The header of a proxy is read the same however it comes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| landline::fuzzing::proxy(bytes));
