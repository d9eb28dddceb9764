//! `landline bench`, against servers that do as they should and servers that do not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::serve_config::Config;
use crate::serving::serve;
use crate::support::*;

fn bench(address: SocketAddr, flags: &[&str]) -> Output {
    let mut command = landline(["bench", &address.to_string(), "--output-format", "json"]);
    command.args(flags);
    run(command, Stdio::null())
}

fn result(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A server that does the same to every caller, each on a thread of its own.
fn server(treat: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let treat = treat.clone();
            thread::spawn(move || treat(stream));
        }
    });
    address
}

/// Reads one request of 64 bytes; none when the caller has gone.
fn request(stream: &mut TcpStream) -> Option<[u8; 64]> {
    let mut request = [0; 64];
    stream.read_exact(&mut request).ok().map(|()| request)
}

#[test]
fn every_request_of_a_closed_loop_is_sent_answered_and_checked() {
    let server = serve(&["--framing", "line"]);
    for flags in [
        &["--expect", "upper"][..],
        &["--expect", "upper", "--pipeline", "16"],
        &["--expect", "upper", "--framing", "line", "--pipeline", "4", "--threads", "2"],
        &["--expect", "upper", "--framing", "line", "--churn", "3"],
        &[
            "--framing",
            "line",
            "--message",
            "{conn} {n} {random:8}",
            "--expect",
            "regex:^[0-9]+ [0-9]+ [0-9A-Z]{8}$",
        ],
    ] {
        // Of 'raw', the server's lines have to be lines all the same.
        let message = ["--message", "hello {conn} {n}\\n"];
        let flags = if flags.contains(&"line") { flags.to_vec() } else { [flags, &message].concat() };
        let output = bench(server.address, &[&flags[..], &["-n", "500", "-c", "7"]].concat());
        assert_eq!(code(&output), 0, "{flags:?}: {output:?}");
        let result = result(&output);
        assert_eq!((&result["requests"], &result["replies"]), (&500.into(), &500.into()), "{flags:?}");
        assert_eq!(result["errors"]["total"], 0);
        let least = if flags.contains(&"--churn") { 500 / 3 } else { 7 };
        assert!(result["connect"]["count"].as_u64().unwrap() >= least, "{flags:?}: {result}");
    }
    server.stop().in_order();
}

#[test]
fn an_open_loop_sends_as_many_as_its_rate_says() {
    let server = serve(&[]);
    let output = bench(server.address, &["--rate", "1000", "-d", "1s", "--expect", "upper"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let result = result(&output);
    let requests = result["requests"].as_u64().unwrap();
    assert!(requests <= 1000 && result["mode"] == "open", "{result}");
    assert_eq!(result["replies"], requests);
    assert_eq!(result["slip"]["count"], requests);
    server.stop().in_order();
}

#[test]
fn the_time_of_the_warm_up_counts_for_nothing() {
    let server = serve(&[]);
    let pid = server.id().to_string();
    let flags = ["--warmup", "2s", "-d", "1s", "--pipeline", "16", "--expect", "upper", "--server-pid", &pid];
    let output = bench(server.address, &flags);
    assert_eq!(code(&output), 0, "{output:?}");
    let result = result(&output);
    // One thread has no more time than there is.
    let load = result["generator_load"].as_f64().unwrap();
    assert!(load > 0.0 && load < 1.2, "{result}");
    assert!(result["server_cpu_us"].as_f64().unwrap() > 0.0, "{result}");
    server.stop().in_order();
}

#[test]
fn each_way_in_which_a_server_fails_is_counted_under_its_name_and_has_its_exit_code() {
    let resets = server(|mut stream| {
        request(&mut stream);
        reset(stream);
    });
    let answers_half = server(|mut stream| {
        if let Some(request) = request(&mut stream) {
            let _ = stream.write_all(&request.to_ascii_uppercase()[..32]);
        }
    });
    let never_answers = server(|mut stream| while request(&mut stream).is_some() {});
    let answers_wrong = server(|mut stream| {
        while let Some(mut request) = request(&mut stream) {
            request[63] = b'!';
            let _ = stream.write_all(&request.to_ascii_uppercase());
        }
    });
    let answers_too_much = server(|mut stream| {
        while let Some(request) = request(&mut stream) {
            let _ = stream.write_all(&[&request.to_ascii_uppercase()[..], b"more"].concat());
        }
    });
    for (address, kind, exit, words) in [
        (resets, "reset", 6, "connection reset"),
        (answers_half, "closed_early", 6, "closed before the reply"),
        (never_answers, "reply_timeout", 5, "no reply in time"),
        (answers_wrong, "wrong_reply", 9, "wrong reply"),
        (answers_too_much, "extra_bytes", 9, "bytes that nobody asked for"),
    ] {
        let output = bench(address, &["-c", "2", "-n", "2", "--expect", "upper", "--timeout", "300ms"]);
        let said = text(&output.stderr);
        assert_eq!(code(&output), exit, "{kind}: {said}");
        assert!(said.starts_with("landline: error: ") && said.contains(words), "{kind}: {said}");
        let errors = &result(&output)["errors"];
        assert!(errors[kind].as_u64().unwrap() > 0, "{kind}: {errors}");
    }
}

#[test]
fn a_server_that_closes_at_once_is_a_lost_connection_whether_or_not_it_resets() {
    let output = bench(server(drop), &["-c", "2", "-n", "2", "--expect", "upper"]);
    assert_eq!(code(&output), 6, "{output:?}");
    assert_eq!(result(&output)["errors"]["total"], 2);
}

#[test]
fn a_server_that_reorders_its_replies_is_found_out() {
    let address = server(|mut stream| {
        while let (Some(first), Some(second)) = (request(&mut stream), request(&mut stream)) {
            let _ = stream.write_all(&[second.to_ascii_uppercase(), first.to_ascii_uppercase()].concat());
        }
    });
    let output = bench(address, &["-c", "1", "-n", "2", "--pipeline", "2", "--expect", "upper"]);
    assert_eq!(code(&output), 9, "{output:?}");
    assert_eq!(result(&output)["errors"]["wrong_reply"], 1);
}

#[test]
fn where_nobody_listens_there_is_nothing_to_measure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let output = bench(address, &[]);
    assert_eq!((code(&output), &*text(&output.stdout)), (4, ""));
    assert!(text(&output.stderr).contains("connection refused"), "{output:?}");
}

#[test]
fn a_unix_socket_is_measured_as_any_other_address() {
    let config = Config::new("");
    let socket = config.0.join("echo.sock");
    let target = format!("unix:{}", socket.display());
    config.now_says(format!(
        "[[listener]]\naddress = 0\n[[listener]]\naddress = '{target}'\nservice = 'echo'\n"
    ));
    let mut server = config.serve(&[]);
    server.says(&format!("listening on {target}"));
    let measure = |target: &str| {
        let mut command = landline(["bench", target, "--output-format", "json"]);
        command.args(["-n", "500", "-c", "7", "--pipeline", "4", "--churn", "20", "--expect", "echo"]);
        run(command, Stdio::null())
    };
    let output = measure(&target);
    assert_eq!(code(&output), 0, "{output:?}");
    let result = result(&output);
    assert_eq!((&result["target"], &result["replies"]), (&target.clone().into(), &500.into()), "{result}");
    assert!(result["tcp"].is_null(), "there is none: {result}");
    server.stop().in_order();
    let output = measure(&target);
    assert_eq!((code(&output), &*text(&output.stdout)), (4, ""), "{output:?}");
    assert!(text(&output.stderr).contains(&format!("cannot connect to {target}: ")), "{output:?}");
}

#[test]
fn a_condition_decides_how_it_ends() {
    let server = serve(&[]);
    let requests = ["-n", "50", "-c", "2", "--expect", "upper", "--fail-if"];
    let output = bench(server.address, &[&requests[..], &["p99>1h,errors>0"]].concat());
    assert_eq!(code(&output), 0, "{output:?}");
    let output = bench(server.address, &[&requests[..], &["p50>=1ns"]].concat());
    assert_eq!(code(&output), 9, "{output:?}");
    assert!(text(&output.stderr).starts_with("landline: error: p50 was "), "{output:?}");
    let told = &result(&output)["conditions"][0];
    assert_eq!((&told["fail_if"], &told["holds"]), (&"p50>=1ns".into(), &true.into()), "{told}");
    server.stop().in_order();
}

#[test]
fn ctrl_c_ends_a_run_early_and_tells_what_was_measured_by_then() {
    let mut server = serve(&[]);
    let mut command = landline(["bench", &server.port().to_string(), "--output-format", "json"]);
    command.args(["-d", "1h", "-c", "2", "--expect", "upper"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The first finds out where the server is; then the run begins.
    server.says("#2 127.0.0.1");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = wait(child);
    assert_eq!(code(&output), 130, "{output:?}");
    assert!(result(&output)["replies"].as_u64().unwrap() > 0);
    assert!(text(&output.stderr).contains("stopped by Ctrl-C"), "{output:?}");
    server.stop().in_order();
}

#[test]
fn orders_that_make_no_sense_are_refused_in_words() {
    for (flags, words) in [
        (&["--pipeline", "2"][..], "needs an --expect that says how long a reply is"),
        (&["--message", "{nope}"], "cannot use --message: at character 1: a field is one of"),
        (&["--file", "/nowhere/at/all"], "cannot read /nowhere/at/all: no such file or directory"),
        (&["--connections", "1M"], "cannot open 1000000 connections"),
        (&["--expect", "lower"], "upper, echo"),
        (&["--fail-if", "p99>soon"], "p99>soon"),
        (&["--message", "a", "--size", "3"], "cannot be used with"),
    ] {
        let output = bench(SocketAddr::from(([127, 0, 0, 1], 1)), flags);
        assert_eq!(code(&output), 2, "{flags:?}: {output:?}");
        assert!(text(&output.stderr).contains(words), "{words}: {}", text(&output.stderr));
    }
}

#[test]
fn a_report_is_one_page_and_the_series_has_a_row_for_each_second() {
    let server = serve(&[]);
    let path = std::env::temp_dir().join(format!("landline-report-{}.html", std::process::id()));
    let report = path.display().to_string();
    let mut command = landline(["bench", &server.port().to_string(), "--output-format", "csv"]);
    command.args(["-d", "1s", "--expect", "upper", "--report", &report]);
    let output = run(command, Stdio::null());
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(text(&output.stdout).lines().count() >= 2, "{output:?}");
    let page = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg"), "{}", &page[..200]);
    server.stop().in_order();
}

#[test]
fn two_servers_are_compared_in_turns() {
    let (one, other) = (serve(&[]), serve(&[]));
    let mut command = landline(["bench", &one.port().to_string(), "--versus", &other.port().to_string()]);
    command.args(["-n", "200", "-c", "2", "--expect", "upper"]);
    let output = run(command, Stdio::null());
    assert_eq!(code(&output), 0, "{output:?}");
    let said = text(&output.stdout);
    assert!(said.contains("6 pairs") && said.contains("p99 latency"), "{said}");
    // Besides the call that finds out where it is.
    for server in [one, other] {
        let ended = server.stop();
        assert_eq!(ended.code, 0);
    }
}
