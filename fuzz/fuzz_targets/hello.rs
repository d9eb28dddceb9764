//! What a caller says first to a listener that speaks TLS is heard the same however it comes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| landline::fuzzing::hello(bytes));
