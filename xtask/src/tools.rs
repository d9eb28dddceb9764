//! The programs that the tasks need beside cargo: where they are, and how they get there.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::step::Step;

/// The series of cargo-deny that `deny.toml` is written for, and the release that is installed.
const DENY_SERIES: &str = "0.20.";
const DENY_RELEASE: &str = "0.20.2";

/// The release of cargo-fuzz that is installed.
const FUZZ_RELEASE: &str = "0.13.2";

/// The release of sslyze that is installed.
const SSLYZE_RELEASE: &str = "6.3.1";

/// Where tools are installed, seen from the workspace: out of the way of the user's own, and gone with `cargo
/// clean`.
const TOOLS: &str = "target/tools";

/// Fails unless the toolchain has a component, and says how to add it.
pub(crate) fn need_component(component: &str, subcommand: &str) -> Outcome {
    if Step::new("cargo").words([subcommand, "--version"]).succeeds_quietly() {
        return Ok(());
    }
    Err(format!("`cargo {subcommand}` does not run; add it with: rustup component add {component}"))
}

/// Fails unless a program is there, and says which Debian package has it.
pub(crate) fn need_program(program: &str, package: &str) -> Outcome {
    match on_path(program) {
        Some(_) => Ok(()),
        None => Err(format!("{program} is missing; on Debian and Ubuntu it is in {package}")),
    }
}

/// A cargo-deny that can read `deny.toml`: the one on PATH, or our own, installed when it is missing.
pub(crate) fn cargo_deny() -> Outcome<PathBuf> {
    let ours = Path::new(TOOLS).join("bin/cargo-deny");
    let found = on_path("cargo-deny").into_iter().chain([ours.clone()]).find(|path| is_our_series(path));
    if let Some(path) = found {
        return Ok(path);
    }
    let install = format!("cargo install cargo-deny --locked --version {DENY_RELEASE} --root {TOOLS}");
    Step::new(&install).run()?;
    Ok(ours)
}

/// An sslyze: the one on PATH, or our own, installed from the Python packages when it is missing.
pub(crate) fn sslyze() -> Outcome<PathBuf> {
    if let Some(path) = on_path("sslyze") {
        return Ok(path);
    }
    let here = env::current_dir().map_err(|error| format!("the current folder: {error}"))?;
    let folder = here.join(TOOLS).join("sslyze");
    let ours = folder.join("bin/sslyze");
    if !ours.is_file() {
        // One that was interrupted is begun anew.
        Step::new("python3 -m venv --clear").words([&folder]).run()?;
        let pip = folder.join("bin/pip");
        let release = format!("sslyze=={SSLYZE_RELEASE}");
        Step::new(&pip.display().to_string()).words(["install", "--quiet", &release]).run()?;
    }
    Ok(ours)
}

/// A search path on which there is a cargo-fuzz, installed when it is missing.
pub(crate) fn with_cargo_fuzz() -> Outcome<String> {
    let path = env::var("PATH").map_err(|error| format!("PATH: {error}"))?;
    let folder =
        env::current_dir().map_err(|error| format!("the current folder: {error}"))?.join(TOOLS).join("bin");
    if on_path("cargo-fuzz").is_none() && !folder.join("cargo-fuzz").is_file() {
        Step::new(&format!("cargo install cargo-fuzz --locked --version {FUZZ_RELEASE} --root {TOOLS}"))
            .run()?;
    }
    Ok(format!("{}:{path}", folder.display()))
}

/// The file that the shell would run for a program's name.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

fn is_our_series(program: &Path) -> bool {
    let Ok(output) = Command::new(program).arg("--version").output() else { return false };
    String::from_utf8_lossy(&output.stdout).starts_with(&format!("cargo-deny {DENY_SERIES}"))
}

#[cfg(test)]
mod tests {
    use super::{DENY_RELEASE, DENY_SERIES, is_our_series, need_component, need_program, on_path};
    use std::path::Path;

    #[test]
    fn the_release_that_is_installed_is_of_the_series_that_is_accepted() {
        assert!(DENY_RELEASE.starts_with(DENY_SERIES));
    }

    #[test]
    fn another_program_is_not_taken_for_cargo_deny() {
        assert!(!is_our_series(Path::new("/bin/true")));
        assert!(!is_our_series(Path::new("/no/such/program")));
    }

    #[test]
    fn a_program_is_found_on_the_path_or_not_at_all() {
        assert!(on_path("sh").is_some());
        assert!(on_path("no-such-program-anywhere").is_none());
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        assert_eq!(need_program("sh", "dash"), Ok(()));
        let failure = need_program("no-such-program", "no-such-package").unwrap_err();
        assert_eq!(failure, "no-such-program is missing; on Debian and Ubuntu it is in no-such-package");
    }

    #[test]
    fn a_missing_component_is_answered_with_the_line_that_adds_it() {
        let failure = need_component("no-such-component", "no-such-subcommand").unwrap_err();
        assert!(failure.ends_with("rustup component add no-such-component"), "{failure}");
    }
}
