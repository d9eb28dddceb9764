//! `landline serve --trace`: each step of every socket, from socket and bind to FIN and TIME-WAIT.

use std::process::Stdio;

use rustix::process::Signal;

use crate::serve_config::Config;
use crate::serve_survival::{kill_worker, survivor};
use crate::serving::*;
use crate::support::{code, landline, run};

/// What was told of the first connection: without times, what the kernel has measured, and its number.
fn told(said: &[String]) -> Vec<String> {
    let lines = said.iter().filter_map(|line| line.split_once(" #1 "));
    lines.map(|(_, line)| without_measures(line)).collect()
}

/// The same, without what the kernel says of the state either, where that changes by itself meanwhile.
fn told_without_states(said: &[String]) -> Vec<String> {
    told(said).iter().map(|line| line.split(" [").next().unwrap().to_owned()).collect()
}

fn without_measures(line: &str) -> String {
    let mut line = line.to_owned();
    if let (Some(from), Some(to)) = (line.find(", rtt "), line.rfind(']')) {
        line.replace_range(from..to, "");
    }
    line
}

const ACCEPT: &str = "accept   SYN, SYN-ACK and ACK went to and fro, by the kernel; now the connection has a socket of its own";

/// Whether the kernel keeps a connection between these two in TIME-WAIT on the side of the first.
#[cfg(target_os = "linux")]
fn is_in_time_wait(port: u16, other: u16) -> bool {
    let connections = std::fs::read_to_string("/proc/net/tcp").unwrap();
    connections.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ends_with = |field: &str, port| field.ends_with(&format!(":{port:04X}"));
        ends_with(fields[1], port) && ends_with(fields[2], other) && fields[3] == "06"
    })
}

#[test]
fn a_caller_who_ends_first_is_followed_from_its_acceptance_to_time_wait_on_its_side() {
    let mut server = serve(&["--trace"]);
    let mut caller = server.call();
    let (name, callers, servers) = (caller.name(), caller.port(), server.port());
    caller.asks("hello");
    // Told before the caller goes on, so that the state is the one of that moment.
    server.says("#1 send");
    drop(caller);
    server.says("closed by client");
    let ended = server.stop();
    #[cfg(target_os = "linux")]
    assert!(is_in_time_wait(callers, servers) && !is_in_time_wait(servers, callers));
    let told = told(&ended.said);
    assert_eq!(
        told[..6],
        [
            format!("{name} connected (1 open)"),
            format!("{ACCEPT} [ESTABLISHED]"),
            "receive  5 B; TCP keeps their order, and no mark where messages end [ESTABLISHED]".into(),
            "send     5 B; the kernel has them now, and sees to it that they arrive [ESTABLISHED]".into(),
            "FIN      received: the client has nothing more to say, and may still listen [CLOSE-WAIT]".into(),
            "close    a FIN goes out; the client finished first, so TIME-WAIT is on its side [CLOSE-WAIT]"
                .into(),
        ]
    );
    assert!(told[6].starts_with("closed by client - 1 message - 5 B in, 5 B out"), "{told:#?}");
    assert_eq!((told.len(), ended.count("hello") + ended.count("HELLO")), (7, 0), "{ended:#?}");
}

#[test]
fn how_a_listener_came_to_be_is_told_before_anybody_calls() {
    let mut server = serve(&["--trace"]);
    let port = server.port();
    assert!(server.says(" socket ").ends_with("Z socket   a socket of TCP, which has no address yet"));
    assert!(server.says(" bind ").ends_with(&format!("Z bind     its address is 127.0.0.1:{port}")));
    let listen = server.says(" listen ");
    let words = "Z listen   from here on the kernel makes connections with whoever calls, and keeps up to ";
    assert!(listen.contains(words) && listen.ends_with(" until they are accepted [LISTEN]"), "{listen}");
    server.says("listening on");
    server.stop().in_order();
}

#[test]
fn a_server_that_ends_first_has_time_wait_on_its_side() {
    let mut server = serve(&["--trace"]);
    let mut caller = server.call();
    caller.asks("hello");
    server.signal(Signal::TERM);
    caller.hears_out("");
    server.says("closed by drain");
    let (callers, servers) = (caller.port(), server.port());
    drop(caller);
    let told = told_without_states(&server.end().said);
    #[cfg(target_os = "linux")]
    assert!(is_in_time_wait(servers, callers) && !is_in_time_wait(callers, servers));
    assert_eq!(
        told[4..6],
        [
            "FIN      sent: this end has nothing more to say, and still listens",
            "close    this end has finished first; the kernel waits for the client's FIN, and TIME-WAIT is on this \
             side",
        ]
    );
}

#[test]
fn a_server_that_gives_up_first_still_hears_the_callers_fin() {
    let mut server = serve(&["--trace", "--framing", "line", "--max-message", "4B"]);
    let mut caller = server.call();
    caller.says("far too long");
    caller.hears_out("");
    drop(caller);
    server.says("message too long");
    let told = told_without_states(&server.stop().said);
    assert_eq!(
        told[3..6],
        [
            "FIN      sent: this end has nothing more to say, and still listens",
            "FIN      received: the client has nothing more to say, and may still listen",
            "close    both ends have finished, this one first: the kernel keeps the connection's addresses in \
             TIME-WAIT for a minute, so that nothing late gets into a later connection",
        ]
    );
}

#[test]
fn a_reset_is_told_once_for_what_it_is_on_the_wire() {
    let mut server = serve(&["--trace"]);
    let mut caller = server.call();
    caller.asks("hello");
    caller.resets();
    server.says("reset by client");
    let told = told_without_states(&server.stop().said);
    assert_eq!(
        told[4..6],
        [
            "reset    an RST came: the client has dropped the connection at once",
            "close    nothing is left of the connection",
        ]
    );
    assert!(told.len() == 7 && told[6].starts_with("reset by client"), "{told:#?}");
}

#[test]
fn keys_are_agreed_on_between_acceptance_and_the_first_plain_byte() {
    let mut server = serve(&["--trace", "--tls-self-signed"]);
    let address = server.address.to_string();
    let output = run(landline(["call", "--tls", "--insecure", &address, "hello"]), Stdio::null());
    assert_eq!(code(&output), 0);
    server.says("closed by client");
    let told = told_without_states(&server.stop().said);
    assert_eq!(
        told[1..4],
        [
            ACCEPT,
            "TLS      both ends have agreed on keys; all that follows is encrypted",
            "receive  6 B; TCP keeps their order, and no mark where messages end",
        ]
    );
}

#[test]
fn who_calls_by_a_unix_socket_hears_nothing_of_tcp() {
    let config = Config::new("");
    let path = config.0.join("socket");
    let address = format!("unix:{}", path.display());
    config.now_says(format!("[[listener]]\naddress = 0\n[[listener]]\naddress = '{address}'\n"));
    let mut server = config.serve(&["--trace"]);
    server.says(" socket   a socket for this machine alone, which has no name yet");
    let output = run(landline(["call", &address, "hello"]), Stdio::null());
    assert_eq!(code(&output), 0);
    server.says("closed by client");
    let said = server.stop().said;
    let told = told(&said);
    assert_eq!(told[1], "accept   the kernel had made the connection; now it has a socket of its own");
    assert_eq!(told[4], "end      received: the client has nothing more to say, and may still listen");
    assert_eq!(told[5], "close    the connection is over");
    assert!(!told.iter().any(|line| line.contains('[') || line.contains("FIN")), "{told:#?}");
}

#[test]
fn as_json_a_step_is_an_object_like_any_other_line() {
    let mut server = serve(&["--trace", "--log-format", "json"]);
    server.call().asks("hello");
    server.says("\"closed\"");
    let ended = server.stop();
    let objects: Vec<serde_json::Value> =
        ended.said.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let step = objects.iter().find(|object| object["step"] == "receive").unwrap();
    assert_eq!((&step["event"], &step["id"], &step["bytes"]), (&"step".into(), &1.into(), &5.into()));
    assert!(step["time"].is_string() && step["text"].as_str().unwrap().starts_with("5 B; "), "{step}");
    if cfg!(target_os = "linux") {
        assert!(step["state"].is_string() && step["rtt_ms"].is_f64() && step["mss"].is_u64(), "{step}");
    }
}

#[test]
fn a_process_that_takes_the_place_of_a_killed_one_traces_on() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut server = survivor(&["--trace"]);
    let mut caller = server.call();
    caller.asks("hello");
    // The log of a process that is killed is lost, unless it is written.
    server.says("#1 send");
    kill_worker(&mut server);
    caller.asks("again");
    server.says("#1 receive  5 B [ESTABLISHED");
    server.call().asks("hello");
    server.says("#2 accept");
    let ended = server.stop();
    assert_eq!((ended.count(" socket  "), ended.count("#1 accept")), (1, 1), "{ended:#?}");
}
