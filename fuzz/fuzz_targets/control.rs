//! The control socket answers whatever it is asked, in HTTP or not at all.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    landline_cli::fuzzing::control(bytes);
});
