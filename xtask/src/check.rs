//! `cargo xtask check`: everything that can be judged without running the product.

use std::path::Path;
use std::time::Duration;

use crate::Outcome;
use crate::step::Step;
use crate::tools;

/// A fetch that takes longer is taken for a network that is not there.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// Runs the checks in order, the quick ones first; the first failure ends it.
pub(crate) fn run() -> Outcome {
    tools::need_component("rustfmt", "fmt")?;
    tools::need_component("clippy", "clippy")?;
    Step::new("cargo fmt --all --check").run()?;
    Step::new("cargo clippy --workspace --all-targets --all-features -- -D warnings").run()?;
    Step::new("cargo doc --workspace --no-deps --all-features")
        .variable("RUSTDOCFLAGS", "-D warnings")
        .run()?;

    let deny = tools::cargo_deny()?;
    cargo_deny(&deny, "--all-features check licenses bans sources").run()?;
    let advisories = advisories(&deny)?;

    eprintln!("\ncheck: passed\n{advisories}");
    Ok(())
}

/// Asks whether a dependency has a known weakness, where the database of advisories can be had.
///
/// cargo-deny exits with 1 both when it finds an advisory and when it cannot fetch the database. So that the
/// two are never confused, the fetch is a step of its own, and the check after it stays off the network.
fn advisories(deny: &Path) -> Outcome<&'static str> {
    // Without this git would ask a terminal for a name and a password.
    let fetch = cargo_deny(deny, "fetch db").variable("GIT_TERMINAL_PROMPT", "0");
    if let Err(failure) = fetch.run_within(FETCH_LIMIT) {
        eprintln!("{failure}");
        return Ok("advisories: not checked: the advisory database could not be fetched");
    }
    cargo_deny(deny, "--offline --all-features check advisories").run()?;
    Ok("advisories: none known")
}

fn cargo_deny(program: &Path, arguments: &str) -> Step {
    Step::new("").words([program]).words(arguments.split_whitespace())
}
