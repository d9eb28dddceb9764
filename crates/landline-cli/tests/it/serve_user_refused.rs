//! `serve --user` where it can't be done: nothing is served, and it is said why.

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

use crate::serve_calls::{has_strace, traced};
use crate::serve_privilege::{NOBODY, OFF, ON, by_nobody, has_root, low_port, text_of};
use crate::serve_upgrade::Place;
use crate::serving::*;
use crate::support::*;

#[test]
fn a_low_port_that_comes_later_is_refused_and_all_goes_on_as_it_was() {
    let first_for_all = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let are_there = first_for_all.is_ok_and(|port| port.trim().parse().is_ok_and(|port: u16| port > 81));
    if !(has_root() && has("ports that are for root", are_there)) {
        return;
    }
    let place = Place::new();
    let (config, control, low) = (place.path("landline.toml"), place.path("ctl.sock"), low_port());
    let text = format!("user = 'nobody'\ncontrol = '{control}'\n[[listener]]\naddress = 0\n");
    fs::write(&config, &text).unwrap();
    let mut command = landline(["serve", "--config", &config, "--print-port"]);
    command.stderr(Stdio::piped());
    let server = Serving::start(command);
    fs::write(&config, format!("{text}[[listener]]\naddress = '{low}'\n")).unwrap();
    let said = text_of(&place.ctl(&["reload"]));
    assert!(said.contains(&format!("cannot listen on {low}: permission denied")), "{said}");
    assert!(said.contains("ports this low take a privilege"), "{said}");
    server.call().asks("hello");
    server.stop().in_order();
}

#[test]
fn a_step_that_fails_ends_the_server_before_it_serves() {
    if !(has_root() && has_strace()) {
        return;
    }
    for (call, words) in [
        ("setgroups:error=EPERM", "cannot become nobody: it can't have its groups: operation not permitted"),
        ("setresgid:error=EPERM", "cannot become nobody: it can't be in its group: operation not permitted"),
        ("setresuid:error=EPERM", "cannot become nobody: it can't be that user: operation not permitted"),
        ("setresuid:retval=0", "cannot become nobody for good: this process can become root again"),
        ("setuid:retval=0", "cannot become nobody for good: this process can become root again"),
        ("prctl:error=EPERM", "cannot give up privileges for good: operation not permitted"),
    ] {
        for survival in [&ON, &OFF] {
            let (name, inject) = (call.split_once(':').unwrap().0, format!("inject={call}"));
            let trace = format!("trace={name}");
            let options = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
            let flags = [&NOBODY[..], survival, &["--control", "none"]].concat();
            let ended = Serving::attempt(traced(&options, &flags)).map(Serving::stop).unwrap_err();
            assert_eq!((ended.code, ended.count(words)), (1, 1), "{call}: {ended:?}");
        }
    }
}

#[test]
fn only_root_can_become_somebody_else() {
    if !has_root() {
        return;
    }
    let place = Place::new();
    let program = place.copy();
    for user in ["daemon", "nobody:daemon"] {
        let mut command = by_nobody(&program);
        command.args(["serve", "0", "--user", user]);
        let said = text_of(&run(command, Stdio::null()));
        assert!(
            said.contains(&format!("cannot run as {user}: only root can become somebody else")),
            "{said}"
        );
        assert!(said.contains("start it as root, or leave out the user"), "{said}");
    }
    // Whoever is that user need not become it.
    let mut command = by_nobody(&program);
    command.args(["serve", "0", "--print-port", "--user", "nobody"]).stderr(Stdio::piped());
    let server = Serving::start(command);
    server.call().asks("hello");
    // In which groups it is was for whoever started it to say.
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    server.stop().in_order();
}

#[test]
fn a_user_who_makes_no_sense_is_refused_before_anything_is_listened_on() {
    let refused = |flags: &[&str], words: &str| {
        let mut command = landline(["serve", "0"]);
        command.args(flags);
        let output = run(command, Stdio::null());
        let said = text_of(&output);
        assert!(code(&output) == 2 && said.contains(words), "{flags:?}: {said}");
    };
    refused(&["--user", "nosuch"], "no user is called 'nosuch'");
    refused(&["--user", "nobody:nosuch"], "no group is called 'nosuch'");
    refused(&["--user", ":nobody"], "a user is USER or USER:GROUP");
    refused(&["--group", "daemon"], "a group without a user");
    refused(&["--user", "1:1", "--group", "1"], "the group is said twice");
    refused(&["--user", "4000000001"], "in which group");
    refused(&["--user", "root"], "can't give up its privileges to become root");
}

#[test]
fn what_only_root_may_do_and_can_t_is_said_with_its_hint() {
    if !has_root() {
        return;
    }
    let taken = TcpListener::bind(low_port()).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = landline(["serve", &address]);
    command.args(NOBODY).args(ON);
    let output = run(command, Stdio::null());
    let said = text_of(&output);
    assert_eq!(code(&output), 10, "{said}");
    assert!(said.contains(&format!("cannot listen on {address}: address already in use")), "{said}");
    assert!(said.contains("listens there; stop it"), "{said}");
}
