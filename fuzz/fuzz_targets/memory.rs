//! What a program before this one has left in memory is read to its end, whatever it is.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| landline::fuzzing::memory(bytes));
