//! `cargo xtask test`: every test, skipping none.

use std::ffi::OsString;

use crate::Outcome;
use crate::step::Step;
use crate::tools::on_path;

/// A program that tests need beyond cargo.
struct Need {
    program: &'static str,
    /// The Debian package that has it.
    package: &'static str,
    reason: &'static str,
}

const NEEDS: &[Need] = &[
    Need {
        program: "strace",
        package: "strace",
        reason: "the tests that watch system calls, or make them fail",
    },
    Need {
        program: "promtool",
        package: "prometheus",
        reason: "the tests of the metrics: it comes with prometheus",
    },
    Need {
        program: "valgrind",
        package: "valgrind",
        reason: "the test that counts the instructions of a message",
    },
];

/// Installs what is missing, then runs the tests with `extra` handed to `cargo test`.
///
/// With `LANDLINE_TESTS=all`, a test that lacks a tool or a privilege fails where it would otherwise name
/// itself as skipped. Plain `cargo test` runs unit, integration and documentation tests and builds the
/// examples; naming targets, as `--all-targets` does, would leave the documentation tests out.
pub(crate) fn run(extra: Vec<OsString>) -> Outcome {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| on_path(need.program).is_none()).collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    Step::new("cargo test --workspace --all-features").variable("LANDLINE_TESTS", "all").words(extra).run()
}

/// How this machine can install a package.
#[derive(Debug, Clone, Copy)]
struct Means {
    apt: bool,
    root: bool,
    sudo: bool,
}

impl Means {
    fn of_this_machine() -> Self {
        Self {
            apt: on_path("apt-get").is_some(),
            root: rustix::process::geteuid().is_root(),
            sudo: on_path("sudo").is_some(),
        }
    }
}

fn install(missing: &[&Need]) -> Outcome {
    for need in missing {
        eprintln!("{} is missing; it is for {}", need.program, need.reason);
    }
    let apt = apt_get(missing, Means::of_this_machine())?;
    let packages = missing.iter().map(|need| need.package);
    let install = apt.clone().words(["install", "--yes", "--no-install-recommends"]).words(packages);
    if install.run().is_ok() {
        return Ok(());
    }
    eprintln!("the package lists may be missing or out of date");
    apt.words(["update"]).run()?;
    install.run()
}

/// The start of the command line that installs packages, or the words for someone who has to do it.
fn apt_get(missing: &[&Need], means: Means) -> Outcome<Step> {
    const APT: &str = "env DEBIAN_FRONTEND=noninteractive apt-get";
    match means {
        Means { apt: false, .. } => {
            let programs: Vec<&str> = missing.iter().map(|need| need.program).collect();
            Err(format!("please install with this system's own means: {}", programs.join(", ")))
        }
        Means { root: true, .. } => Ok(Step::new(APT)),
        Means { sudo: true, .. } => Ok(Step::new("sudo").words(APT.split_whitespace())),
        Means { .. } => {
            let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
            Err(format!("please run as root: apt-get install {}", packages.join(" ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Means, NEEDS, Need, apt_get};

    fn way(apt: bool, root: bool, sudo: bool) -> Result<String, String> {
        let missing: Vec<&Need> = NEEDS.iter().collect();
        apt_get(&missing, Means { apt, root, sudo }).map(|step| step.to_string())
    }

    #[test]
    fn root_installs_directly_and_anyone_else_through_sudo() {
        let direct = "env DEBIAN_FRONTEND=noninteractive apt-get";
        assert_eq!(way(true, true, true), Ok(direct.to_owned()));
        assert_eq!(way(true, false, true), Ok(format!("sudo {direct}")));
    }

    #[test]
    fn whoever_may_not_install_is_told_the_line_to_run() {
        assert_eq!(
            way(true, false, false),
            Err("please run as root: apt-get install strace prometheus valgrind".to_owned())
        );
    }

    #[test]
    fn a_system_without_apt_is_told_what_is_missing() {
        let failure = way(false, true, true).unwrap_err();
        assert!(failure.ends_with(": strace, promtool, valgrind"), "{failure}");
    }
}
