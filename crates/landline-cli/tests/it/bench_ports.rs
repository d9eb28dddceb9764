//! `landline bench` where ports run out: in a network of its own that has few.

use std::process::{Command, Output, Stdio};

use rustix::process::geteuid;

use crate::serving::Serving;
use crate::support::*;

/// So many ports may be taken for the near end of a connection in that network; the listener takes one of
/// them.
const PORTS: u64 = 10;
const SCRIPT: &str = "ip link set lo up && ip address add 192.0.2.1/32 dev lo &&
    echo '20000 20009' > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"";

/// What makes the network, and what enters it. Whoever is not root is root of a world of their own.
fn words() -> (&'static [&'static str], &'static [&'static str]) {
    if geteuid().is_root() {
        (&["--net"], &["--net"])
    } else {
        (&["--map-root-user", "--net"], &["--user", "--preserve-credentials", "--net"])
    }
}

/// Whether this user may have a network, and change it.
fn has_network() -> bool {
    let made = within(&Command::new("true")).stderr(Stdio::null()).status();
    has("ip, and a network namespace of its own", made.is_ok_and(|status| status.success()))
}

/// The command in a new network; it goes with the last process there.
fn within(command: &Command) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(words().0).args(["--", "sh", "-c", SCRIPT, "sh"]);
    pass(unshare, command)
}

/// Has one command run another, in its environment.
fn pass(mut by: Command, command: &Command) -> Command {
    by.arg(command.get_program()).args(command.get_args());
    by.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    by
}

/// A server at this address of a new network.
fn serve(host: &str) -> Serving {
    let mut server = within(&landline(["serve", &format!("{host}:0"), "--print-port", "--quiet"]));
    server.stderr(Stdio::piped());
    Serving::start(server)
}

/// Measures it from within its network, with more connections than one address has ports.
fn bench(server: &Serving, host: &str, flags: &[&str]) -> Output {
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &server.id().to_string()]).args(words().1).arg("--");
    let mut bench = landline(["bench", &format!("{host}:{}", server.port()), "--output-format", "json"]);
    bench.args(["-c", &(PORTS * 5 / 2).to_string(), "-n", "1000", "--expect", "upper"]).args(flags);
    run(pass(enter, &bench), Stdio::null())
}

#[test]
fn when_ports_run_out_a_measurement_of_this_machine_calls_from_more_addresses() {
    if !has_network() {
        return;
    }
    // A closed connection keeps its port for a minute, so that each needs one of its own.
    for (flags, connections) in [(&[][..], PORTS * 5 / 2), (&["--churn", "1"], 1000)] {
        let server = serve("127.0.0.1");
        let output = bench(&server, "127.0.0.1", flags);
        assert_eq!(code(&output), 0, "{flags:?}: {output:?}");
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(result["connect"]["count"].as_u64().unwrap() >= connections, "{result}");
        server.stop().in_order();
    }
}

#[test]
fn when_ports_run_out_for_good_that_is_told() {
    if !has_network() {
        return;
    }
    let server = serve("192.0.2.1");
    let output = bench(&server, "192.0.2.1", &[]);
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(text(&output.stderr).contains("no descriptor or port left on this machine"), "{output:?}");
    server.stop().in_order();
}
