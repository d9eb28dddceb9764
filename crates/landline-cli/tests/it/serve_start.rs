//! A server that can't start says why, what to do, and exits with the number for it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::*;

/// Runs a server that does not start: the exit code, and what it says.
fn fails(args: &[&str]) -> (i32, String) {
    let mut command = landline(["serve"]);
    command.args(args);
    said(&run(command, Stdio::null()))
}

fn said(output: &Output) -> (i32, String) {
    assert_eq!(text(&output.stdout), "");
    (code(output), text(&output.stderr))
}

#[test]
fn a_port_in_use_exits_10_and_names_who_holds_it() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let name = fs::read_to_string(format!("/proc/{}/comm", std::process::id())).unwrap();
    let (code, said) = fails(&[&address.port().to_string()]);
    assert_eq!(code, 10);
    assert_eq!(
        said,
        format!(
            "landline: error: cannot listen on {address}: address already in use\n  \
             hint: {} (pid {}) listens there; stop it, or choose another port\n",
            name.trim(),
            std::process::id()
        )
    );
}

#[test]
fn a_port_that_takes_a_privilege_exits_10_with_a_hint() {
    let lowest = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let is_open = lowest.trim().parse::<u16>().unwrap() <= 80;
    let is_root = rustix::process::geteuid().is_root();
    if is_open && !has("root, as any user may have port 80 here", is_root) {
        return;
    }
    let program = Copy::new();
    // A new network has the kernel's own rule, and no address but `any` as long as nothing is up.
    let mut command = if is_open { Command::new("unshare") } else { Command::new(&program.0) };
    if is_open {
        command.args(["--net", "--setgid", "65534", "--setuid", "65534"]).arg(&program.0);
    } else if is_root {
        command.uid(65534).gid(65534);
    }
    let (code, said) = said(&run(command_with(command, &["serve", ":80"]), Stdio::null()));
    assert_eq!(code, 10, "{said}");
    assert!(said.starts_with("landline: error: cannot listen on "), "{said}");
    assert!(said.contains(":80: permission denied\n  hint: ports this low take a privilege"), "{said}");
}

fn command_with(mut command: Command, args: &[&str]) -> Command {
    command.args(args);
    command
}

/// A copy of the program that every user can run, wherever the program itself lies.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("landline-it-copy-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let copy = directory.join("landline");
        fs::copy(Path::new(env!("CARGO_BIN_EXE_landline")), &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        Self(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

#[test]
fn a_host_that_does_not_exist_exits_3() {
    let (code, said) = fails(&["nosuch.invalid:8081"]);
    assert_eq!(code, 3);
    assert!(said.starts_with("landline: error: cannot resolve nosuch.invalid: "), "{said}");
    assert!(said.contains("\n  hint: check the spelling"), "{said}");
}

#[test]
fn an_address_of_another_machine_exits_10() {
    let (code, said) = fails(&["192.0.2.1:8081"]);
    assert_eq!(code, 10);
    assert!(said.starts_with("landline: error: cannot listen on 192.0.2.1:8081: "), "{said}");
    assert!(said.contains("\n  hint: the address must be one of this machine's"), "{said}");
}

#[test]
fn a_flag_or_a_value_that_makes_no_sense_exits_2() {
    for args in [
        &["--nonsense"][..],
        &["nonsense"],
        &["65536"],
        &["0", "0"],
        &["--service", "lower"],
        &["--framing", "words"],
        &["--threads", "0"],
        &["--max-connections", "0"],
        &["--max-message", "64K"],
        &["--write-timeout", "5"],
        &["-q", "-v"],
    ] {
        let (code, said) = fails(args);
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(said.starts_with("error: "), "{args:?}: {said}");
    }
}

#[test]
fn more_connections_than_the_descriptor_limit_holds_exit_2_with_the_numbers() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 256 && exec \"$0\" serve 0 --threads 1 --max-connections 10k"]);
    shell.arg(env!("CARGO_BIN_EXE_landline"));
    let (code, said) = said(&run(shell, Stdio::null()));
    assert_eq!(code, 2);
    assert_eq!(
        said,
        "landline: error: cannot hold 10000 connections: the limit on open files is 256, \
         which is enough for 200\n  \
         hint: lower --max-connections, or raise the limit with 'ulimit -n'\n"
    );
}

#[test]
fn a_low_descriptor_limit_lowers_the_default_and_is_said() {
    let mut server = crate::serving::Serving::start(crate::serving::by_shell(
        "ulimit -n 256 && exec \"$@\"",
        &["--threads", "1"],
    ));
    server.says("up to 200 connections (the descriptor limit holds no more) - 1 thread");
    server.call().asks("hello");
    server.stop().in_order();
}
