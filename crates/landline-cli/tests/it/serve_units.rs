//! The units for systemd, as systemd reads them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{code, has, run, text};

/// Of ten; what systemd calls "OK" begins below five.
const EXPOSURE_MAX: f64 = 1.5;

#[test]
fn systemd_understands_every_word_of_the_units() {
    if !has("systemd-analyze", is_there()) {
        return;
    }
    // It looks for the program, too, so that has to be one that is there.
    let folder = std::env::temp_dir().join(format!("landline-units-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let service = std::fs::read_to_string(unit("landline.service")).unwrap();
    assert!(service.contains("ExecStart=/usr/bin/landline "), "{service}");
    let service = service.replace("/usr/bin/landline", env!("CARGO_BIN_EXE_landline"));
    std::fs::write(folder.join("landline.service"), service).unwrap();
    std::fs::copy(unit("landline.socket"), folder.join("landline.socket")).unwrap();
    let mut verify = analyze();
    verify.arg("verify").arg(folder.join("landline.service")).arg(folder.join("landline.socket"));
    let output = run(verify, Stdio::null());
    std::fs::remove_dir_all(&folder).unwrap();
    let said = text(&output.stderr);
    let about_ours: Vec<&str> = said.lines().filter(|line| line.contains("landline")).collect();
    assert_eq!((code(&output), about_ours), (0, Vec::new()), "{said}");
}

#[test]
fn the_service_is_exposed_as_little_as_systemd_can_have_it() {
    if !has("systemd-analyze", is_there()) {
        return;
    }
    let mut security = analyze();
    security.args(["security", "--offline=true"]).arg(unit("landline.service"));
    let output = run(security, Stdio::null());
    let said = text(&output.stdout);
    let overall = said.lines().find(|line| line.contains("Overall exposure level"));
    let level = overall.and_then(|line| line.split_once(".service: ")?.1.split(' ').next()?.parse().ok());
    let level: f64 = level.unwrap_or_else(|| panic!("{said}{}", text(&output.stderr)));
    assert!(level <= EXPOSURE_MAX, "{said}");
}

fn is_there() -> bool {
    analyze().arg("--version").stdout(Stdio::null()).status().is_ok()
}

fn analyze() -> Command {
    let mut command = Command::new("systemd-analyze");
    command.env("LC_ALL", "C.UTF-8").env("SYSTEMD_PAGER", "").env("SYSTEMD_COLORS", "0");
    command
}

fn unit(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd").join(name)
}
