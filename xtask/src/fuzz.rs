//! `cargo xtask fuzz`: coverage-guided search for input that whoever reads it can't stand. It needs a nightly
//! toolchain, which nothing else does.

use std::ffi::OsStr;
use std::fs;

use crate::Outcome;
use crate::step::Step;
use crate::tools;

/// What there is to be fuzzed: `fuzz/fuzz_targets` has a file for each.
const TARGETS: [&str; 7] = ["memory", "line", "length", "raw", "proxy", "hello", "control"];
/// How long each is, in seconds, unless said otherwise.
const SECONDS: u32 = 60;

/// Fuzzes each target for so many seconds; the first finding ends it.
pub(crate) fn run(seconds: Option<&OsStr>) -> Outcome {
    let seconds = match seconds {
        None => SECONDS,
        Some(word) => word.to_str().and_then(|word| word.parse().ok()).ok_or("how many seconds?")?,
    };
    let path = tools::with_cargo_fuzz()?;
    for target in TARGETS {
        // What is found goes to the first folder, and what is worth keeping is taken over by hand.
        let found = format!("target/fuzz/{target}");
        fs::create_dir_all(&found).map_err(|error| format!("cannot make {found}: {error}"))?;
        // Each round leaves an arena behind, on purpose: one is there for as long as a process. And what
        // cargo has set for this program would lead back to its own toolchain.
        let line = format!(
            "env -u CARGO -u RUSTUP_TOOLCHAIN ASAN_OPTIONS=detect_leaks=0 PATH={path} cargo +nightly fuzz run {target} \
             {found} fuzz/corpus/{target} -- -max_total_time={seconds} -timeout=10 -max_len=4096"
        );
        Step::new(&line).run().map_err(|error| {
            format!(
                "{error}\nwhat it found is in fuzz/artifacts/{target}: cargo +nightly fuzz run {target} FILE"
            )
        })?;
    }
    Ok(())
}
