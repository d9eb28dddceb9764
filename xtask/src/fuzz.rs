//! `cargo xtask fuzz`: coverage-guided search for input that whoever reads it can't stand. It needs a nightly
//! toolchain, which nothing else does.

use std::ffi::OsStr;

use crate::Outcome;
use crate::step::Step;
use crate::tools;

/// What there is to be fuzzed: `fuzz/fuzz_targets` has a file for each.
const TARGETS: [&str; 1] = ["memory"];
/// How long each is, in seconds, unless said otherwise.
const SECONDS: u32 = 60;

/// Fuzzes each target for so many seconds.
pub(crate) fn run(seconds: Option<&OsStr>) -> Outcome {
    let seconds = match seconds {
        None => SECONDS,
        Some(word) => word.to_str().and_then(|word| word.parse().ok()).ok_or("how many seconds?")?,
    };
    let path = tools::with_cargo_fuzz()?;
    for target in TARGETS {
        // Each round leaves views of the memory behind, on purpose: they are there for as long as a process.
        let limits = format!("-max_total_time={seconds} -detect_leaks=0 -timeout=10 -max_len=4096");
        // What cargo has set for this program would lead back to its own toolchain.
        let line = format!(
            "env -u CARGO -u RUSTUP_TOOLCHAIN PATH={path} cargo +nightly fuzz run {target} -- {limits}"
        );
        Step::new(&line).run()?;
    }
    Ok(())
}
