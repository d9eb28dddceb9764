//! Programs that tasks need beside cargo, from the packages of Debian and Ubuntu.

use crate::Outcome;
use crate::step::Step;
use crate::tools::on_path;

/// A program that a task needs.
#[derive(Debug)]
pub(crate) struct Need {
    /// Its name, or where its file is.
    pub(crate) program: &'static str,
    /// The Debian package that has it.
    pub(crate) package: &'static str,
    pub(crate) reason: &'static str,
}

/// Installs what is missing.
pub(crate) fn provide(needs: &[Need]) -> Outcome {
    let missing: Vec<&Need> = needs.iter().filter(|need| on_path(need.program).is_none()).collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
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
    use super::{Means, Need, apt_get};

    const NEEDS: [Need; 2] = [
        Need { program: "strace", package: "strace", reason: "one thing" },
        Need { program: "promtool", package: "prometheus", reason: "another" },
    ];

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
            Err("please run as root: apt-get install strace prometheus".to_owned())
        );
    }

    #[test]
    fn a_system_without_apt_is_told_what_is_missing() {
        let failure = way(false, true, true).unwrap_err();
        assert!(failure.ends_with(": strace, promtool"), "{failure}");
    }
}
