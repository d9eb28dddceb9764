//! What comes is passed on as it is.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| landline::fuzzing::raw(bytes));
