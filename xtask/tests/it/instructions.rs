//! How many instructions the pure core takes for a message: a count, and so the same on a busy machine as on
//! an idle one.
//!
//! `xtask/instructions` does one thing so many times over, in the release build, under callgrind; and once
//! more, twice as many times. What the second run has more is exactly what it was asked for.
#![expect(clippy::unwrap_used, reason = "what a test can't go on without has failed it")]

use std::env;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A batch, as the program has it.
const BATCH: u32 = 16;
const ROUNDS: u32 = 1_000;

/// One thing that the program does, and what a message may take.
struct Case {
    name: &'static str,
    /// How many messages a round is.
    messages: u32,
    /// The most instructions a message may take: about a tenth above what was measured.
    bound: f64,
}

/// Measured with rustc 1.95 and valgrind 3.19 on x86-64; what was measured stands behind each.
///
/// memchr, which finds the ends of lines, and the raising of letters choose their code by the CPU that they
/// see. That is the one that valgrind shows them: AVX2, and nothing newer. The bounds are for it.
const CASES: [Case; 8] = [
    Case { name: "cut raw", messages: BATCH, bound: 49.5 }, // 44.6
    Case { name: "cut line", messages: BATCH, bound: 130.5 }, // 118.4
    Case { name: "cut length", messages: BATCH, bound: 34.5 }, // 31.0
    Case { name: "seal raw", messages: BATCH, bound: 12.0 }, // 11
    Case { name: "seal line", messages: BATCH, bound: 16.5 }, // 15
    Case { name: "seal length", messages: BATCH, bound: 25.0 }, // 23
    Case { name: "answer 64", messages: 1, bound: 1087.0 }, // 988
    Case { name: "answer 65536", messages: 1, bound: 28_200.0 }, // 25,627
];

const ADVICE: &str = "\
Look for what the library does now that it did not. If nothing of it is new but the compiler, the C library or
valgrind, put what is measured now into xtask/tests/it/instructions.rs, and the bounds a tenth above it.";

#[test]
fn a_message_takes_no_more_instructions_than_its_bound() {
    if !has("valgrind on x86-64", cfg!(target_arch = "x86_64") && is_on_path("valgrind")) {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if !std::arch::is_x86_feature_detected!("avx2") {
        // Not with `eprintln!`: the test runner would keep it to itself.
        let _ = writeln!(std::io::stderr(), "skipped: the bounds are for processors with AVX2");
        return;
    }
    let program = build();
    let mut exceeded = String::new();
    for Case { name, messages, bound } in CASES {
        let [once, twice] = [ROUNDS, 2 * ROUNDS].map(|rounds| instructions(&program, name, rounds));
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 are counted")]
        let each = (twice - once) as f64 / f64::from(ROUNDS * messages);
        println!("{name}: {each:.1} instructions a message, at most {bound}");
        if each > bound {
            // Writing to a string can't fail.
            let _ = writeln!(exceeded, "{name}: {each:.1} instructions a message, at most {bound}");
        }
    }
    assert!(exceeded.is_empty(), "\n{exceeded}{ADVICE}");
}

/// Builds the program as it would be released.
fn build() -> PathBuf {
    // target/PROFILE/deps/this
    let target = env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let cargo = env::var_os("CARGO").expect("cargo runs the tests");
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "--package", "instructions", "--target-dir"]).arg(&target);
    assert!(build.status().unwrap().success(), "the program that is counted does not build");
    target.join("release/instructions")
}

/// All instructions of one run, its start and its end among them.
fn instructions(program: &Path, case: &str, rounds: u32) -> u64 {
    let mut run = Command::new("valgrind");
    run.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    let output = run.args([case, &rounds.to_string()]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.unwrap_or_else(|| panic!("callgrind says no count: {said}"))
}

fn is_on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|at| at.join(program).is_file()))
}

/// Whether a test can have what it needs. If not, it says by name that it is skipped, or fails where none may
/// be.
fn has(need: &str, is_there: bool) -> bool {
    if is_there {
        return true;
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(env::var_os("LANDLINE_TESTS").is_none_or(|tests| tests != "all"), "{test} needs {need}");
    // Not with `eprintln!`: the test runner would keep it to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: it needs {need}");
    false
}
