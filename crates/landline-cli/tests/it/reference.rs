//! `landline completions` and `landline man`: what is made of the definition of the command line.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::*;

const COMMANDS: [&str; 6] = ["serve", "call", "bench", "ctl", "completions", "man"];

fn completions(shell: &str) -> String {
    let output = run(landline(["completions", shell]), Stdio::null());
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    text(&output.stdout)
}

/// What bash offers after these words, the last of which is being typed.
fn bash_offers(words: &str) -> Vec<String> {
    let script = format!(
        "{}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
         _landline landline \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        completions("bash")
    );
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &script]);
    let output = run(bash, Stdio::null());
    assert_eq!(code(&output), 0, "{output:?}");
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_the_values_that_a_flag_can_have() {
    if !has("bash", Command::new("bash").arg("--version").output().is_ok()) {
        return;
    }
    assert_eq!(bash_offers("landline ca"), ["call"]);
    assert_eq!(bash_offers("landline ctl upg"), ["upgrade"]);
    assert_eq!(bash_offers("landline call --fra"), ["--framing"]);
    assert_eq!(bash_offers("landline call --framing ''"), ["raw", "line", "length"]);
}

#[test]
fn every_shell_is_told_of_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = completions(shell);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let output = run(landline(["completions", "cmd"]), Stdio::null());
    assert_eq!(code(&output), 2);
}

#[test]
fn each_command_has_a_man_page_with_its_flags_and_its_examples_line_by_line() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("man-pages");
    let output = run(landline(["man", "--dir", dir.to_str().unwrap()]), Stdio::null());
    assert_eq!(code(&output), 0, "{output:?}");
    for command in COMMANDS {
        let page = std::fs::read_to_string(dir.join(format!("landline-{command}.1"))).unwrap();
        assert!(page.contains(&format!(".TH landline-{command} 1")), "{page}");
        let printed = run(landline(["man", command]), Stdio::null());
        assert_eq!(text(&printed.stdout), page, "the same as a file and on stdout");
    }
    let call = std::fs::read_to_string(dir.join("landline-call.1")).unwrap();
    assert!(call.contains("\\-\\-connect\\-timeout"), "{call}");
    let (_, notes) = call.split_once(".SH NOTES\n.nf\n").unwrap();
    assert!(notes.contains("\n  landline call 8081 hello  ") && notes.ends_with(".fi\n"), "{notes}");
    assert!(dir.join("landline-ctl-list.1").exists() && dir.join("landline.1").exists());
}

#[test]
fn a_page_of_a_command_that_is_not_there_is_refused_with_those_that_are() {
    let output = run(landline(["man", "ctl", "lsit"]), Stdio::null());
    assert_eq!(code(&output), 2);
    let said = text(&output.stderr);
    assert!(said.starts_with("landline: error: there is no man page of 'ctl lsit'\n  hint: "), "{said}");
    assert!(said.contains("the commands of ctl are status, list, "), "{said}");
    let output = run(landline(["man", "--dir", "/proc/nowhere"]), Stdio::null());
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).contains("cannot write man pages into /proc/nowhere: "), "{output:?}");
}
