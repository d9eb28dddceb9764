//! What `--http` tells, asked with raw requests.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::serving::*;
use crate::support::{GUARD, code, given, has, landline, run, text};

/// Starts a server that tells about itself, and where it does.
pub(crate) fn telling(flags: &[&str]) -> (Serving, SocketAddr) {
    let flags: Vec<&str> = ["--http", "0"].iter().chain(flags).copied().collect();
    let mut server = serve(&flags);
    let line = server.says("metrics on http://127.0.0.1:");
    let (_, url) = line.split_once("http://").unwrap();
    let address = url.strip_suffix("/metrics").unwrap().parse().unwrap();
    (server, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream.set_write_timeout(Some(GUARD)).unwrap();
    stream
}

#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    head: String,
    pub(crate) body: String,
}

/// Sends the head of a request, lines separated by `|`, and reads up to the end of the connection.
pub(crate) fn request(address: SocketAddr, lines: &str) -> Answer {
    let mut stream = connect(address);
    stream.write_all(format!("{}\r\n\r\n", lines.replace('|', "\r\n")).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = request(address, &format!("GET {path} HTTP/1.1|Host: {address}"));
    (answer.status, answer.body)
}

#[track_caller]
fn shows(answer: &Answer, lines: &[&str]) {
    for line in lines {
        assert!(answer.body.lines().any(|found| found == *line), "no {line:?} in {answer:#?}");
    }
}

const PLAIN: &str = "GET /metrics HTTP/1.1|Host: localhost";
const OPENMETRICS: &str = "GET /metrics HTTP/1.1|Host: localhost|\
    Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";

/// A server that has let one caller in, answered it, and refused another.
fn after_traffic() -> (Serving, SocketAddr) {
    let (mut server, http) = telling(&["--max-connections", "1"]);
    let mut caller = server.call();
    caller.asks("hello");
    let mut refused = server.call();
    refused.hears_out("busy\n");
    server.says("refused: busy");
    let before = request(http, PLAIN);
    shows(&before, &["landline_connections_open 1", "landline_messages_total 1", "landline_serving 1"]);
    drop(caller);
    server.says("closed by client");
    (server, http)
}

#[test]
fn traffic_and_refusals_show_in_both_formats() {
    let (server, http) = after_traffic();
    let (plain, openmetrics) = (request(http, PLAIN), request(http, OPENMETRICS));
    for answer in [&plain, &openmetrics] {
        let numbers = [
            "landline_connections_opened_total 1",
            "landline_connections_open 0",
            "landline_connections_max 1",
            "landline_connections_closed_total{reason=\"peer_closed\"} 1",
            "landline_connections_closed_total{reason=\"peer_reset\"} 0",
            "landline_connections_refused_total{reason=\"busy\"} 1",
            "landline_messages_total 1",
            "landline_received_bytes_total 5",
            "landline_sent_bytes_total 5",
            "landline_connection_duration_seconds_count 1",
            "landline_log_lines_dropped_total 0",
        ];
        shows(answer, &numbers);
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("\r\nconnection: close"), "{answer:#?}");
    }
    let content = "\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n";
    assert!(plain.head.contains(content), "{plain:#?}");
    shows(&plain, &["# TYPE landline_messages_total counter"]);
    let content = "\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(openmetrics.head.contains(content), "{openmetrics:#?}");
    shows(&openmetrics, &["# TYPE landline_messages counter"]);
    assert!(openmetrics.body.ends_with("\n# EOF\n"), "{openmetrics:#?}");
    server.stop().in_order();
}

#[test]
fn prometheus_takes_the_numbers_and_finds_nothing_to_complain_of() {
    let is_there = Command::new("promtool").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !has("promtool", is_there) {
        return;
    }
    let (server, http) = after_traffic();
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    let output = run(promtool, given(request(http, PLAIN).body));
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    server.stop().in_order();
}

#[test]
fn a_drain_makes_it_unready_and_leaves_it_healthy_to_the_end() {
    let (mut server, http) = telling(&["--framing", "line", "--drain-timeout", "1h"]);
    let mut busy = server.call();
    busy.says("one\nhalf");
    busy.hears("ONE\n");
    assert_eq!(get(http, "/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(get(http, "/healthz"), (200, "ok\n".to_owned()));
    server.signal(Signal::TERM);
    server.says("stopping: 1 of 1 still in a message");
    assert_eq!(get(http, "/readyz"), (503, "draining\n".to_owned()));
    assert_eq!(get(http, "/healthz"), (200, "ok\n".to_owned()));
    shows(&request(http, PLAIN), &["landline_draining 1", "landline_serving 0"]);
    busy.says(" and half\n");
    busy.hears_out("HALF AND HALF\n");
    drop(busy);
    server.end().in_order();
}

#[test]
fn what_is_not_there_or_not_allowed_is_refused_by_number() {
    let (server, http) = telling(&[]);
    let status = |lines: &str| request(http, lines).status;
    assert_eq!(status("GET / HTTP/1.1|Host: localhost"), 404);
    assert_eq!(status("POST /nothing HTTP/1.1|Host: localhost|Content-Length: 0"), 404);
    let posted = request(http, "POST /metrics HTTP/1.1|Host: localhost|Content-Length: 0");
    assert_eq!(posted.status, 405);
    assert!(posted.head.contains("\r\nallow: get"), "{posted:#?}");
    assert_eq!(status("GET /metrics HTTP/1.1|Host: example.com"), 403);
    assert_eq!(status("GET /metrics HTTP/1.1|Host: localhost|Host: example.com"), 403);
    assert_eq!(status("GET http://example.com/metrics HTTP/1.1|Host: localhost"), 403);
    assert_eq!(status("GET /metrics HTTP/1.0"), 200);
    assert_eq!(status("GET /readyz HTTP/1.1|Host: example.com"), 200);
    assert_eq!(status("GET /healthz HTTP/1.0"), 200);
    assert_eq!(status("nonsense"), 400);
    server.stop().in_order();
}

#[test]
fn whoever_stalls_is_cut_and_others_are_answered_meanwhile() {
    let (server, http) = telling(&[]);
    let mut silent = connect(http);
    let mut stalled = connect(http);
    stalled.write_all(b"GET /metrics HTTP/1.1\r\nHost: local").unwrap();
    assert_eq!(get(http, "/healthz").0, 200);
    let mut heard = Vec::new();
    stalled.read_to_end(&mut heard).unwrap();
    silent.read_to_end(&mut heard).unwrap();
    assert!(!text(&heard).contains("200"), "{heard:?}");
    assert_eq!(get(http, "/healthz").0, 200);
    server.stop().in_order();
}

#[test]
fn more_callers_than_there_are_places_for_are_answered_in_turn() {
    let (server, http) = telling(&[]);
    // One more than there are places.
    let stalled: Vec<TcpStream> = (0..17).map(|_| connect(http)).collect();
    assert_eq!(get(http, "/healthz").0, 200);
    drop(stalled);
    server.stop().in_order();
}

/// A file with a token; it is taken away again.
struct TokenFile(PathBuf);

const TOKEN: &str = "correct-horse-battery-staple";

impl TokenFile {
    fn new(name: &str, text: &str, mode: u32) -> Self {
        let path = std::env::temp_dir().join(format!("landline-token-{name}-{}", std::process::id()));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn other_machines_are_told_the_numbers_for_the_token_and_all_are_told_that_it_lives() {
    let file = TokenFile::new("open", &format!("{TOKEN}\n"), 0o600);
    let mut server = serve(&["--http", "0.0.0.0:0", "--http-token-file", file.path()]);
    let line = server.says("metrics on http://0.0.0.0:");
    let port = line.rsplit_once(':').unwrap().1.strip_suffix("/metrics").unwrap();
    let http = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    let ask = |path: &str, more: &str| request(http, &format!("GET {path} HTTP/1.1|Host: example.com{more}"));
    let refused = ask("/metrics", "");
    assert_eq!(refused.status, 401);
    assert!(refused.head.contains("\r\nwww-authenticate: bearer"), "{refused:#?}");
    assert!(!refused.body.contains("landline"), "{refused:#?}");
    assert_eq!(ask("/metrics", "|Authorization: Bearer correct-horse-battery").status, 401);
    let told = ask("/metrics", &format!("|Authorization: Bearer {TOKEN}"));
    assert_eq!(told.status, 200);
    shows(&told, &["landline_serving 1"]);
    assert_eq!((ask("/healthz", "").status, ask("/readyz", "").status), (200, 200));
    server.stop().in_order();
}

#[test]
fn a_token_holds_on_this_machine_too_if_there_is_one() {
    let file = TokenFile::new("local", TOKEN, 0o400);
    let (server, http) = telling(&["--http-token-file", file.path()]);
    assert_eq!(request(http, PLAIN).status, 401);
    assert_eq!(request(http, &format!("{PLAIN}|Authorization: bearer {TOKEN}")).status, 200);
    server.stop().in_order();
}

#[test]
fn a_page_from_elsewhere_is_refused_all_but_the_probes() {
    let (server, http) = telling(&[]);
    let status = |path: &str, origin: &str| {
        request(http, &format!("GET {path} HTTP/1.1|Host: {http}|Origin: {origin}")).status
    };
    for path in ["/metrics", "/nothing"] {
        assert_eq!((status(path, "http://example.com"), status(path, "null")), (403, 403));
    }
    assert_eq!(status("/metrics", &format!("http://{http}")), 200);
    for probe in ["/healthz", "/readyz"] {
        assert_eq!(status(probe, "http://example.com"), 200);
    }
    server.stop().in_order();
}

#[test]
fn unknown_methods_and_heads_without_end_are_refused_and_others_are_answered() {
    let (server, http) = telling(&[]);
    assert_eq!(request(http, "BREW /metrics HTTP/1.1|Host: localhost").status, 405);
    assert_eq!(request(http, "HEAD /healthz HTTP/1.1|Host: localhost").status, 405);
    let one = format!("{PLAIN}|X-Long: {}", "x".repeat(32 << 10));
    assert_eq!(request(http, &one).status, 431);
    let many = format!("{PLAIN}{}", "|X-Short: x".repeat(2000));
    assert_eq!(request(http, &many).status, 431);
    assert_eq!(get(http, "/healthz").0, 200);
    server.stop().in_order();
}

#[test]
fn an_address_that_other_machines_reach_takes_a_token() {
    for address in [":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:9100"] {
        let output = run(landline(["serve", "0", "--http", address]), Stdio::null());
        let said = text(&output.stderr);
        assert_eq!(code(&output), 2, "{said}");
        assert!(said.contains("without a token") && said.contains("hint: add --http-token-file"), "{said}");
    }
}

#[test]
fn a_token_that_will_not_do_is_refused_with_its_file_and_the_reason() {
    let read_by_all = TokenFile::new("mode", TOKEN, 0o644);
    let short = TokenFile::new("short", "  short\n", 0o600);
    let two_words = TokenFile::new("words", "two words are no token", 0o600);
    let long = TokenFile::new("long", &"x".repeat(5000), 0o600);
    for (path, cause) in [
        ("/nowhere/token", "no such file or directory"),
        (read_by_all.path(), "its mode is 0644"),
        (short.path(), "it has 5 characters, and 16 are the least"),
        (two_words.path(), "a character that is not printable ASCII, or a space"),
        (long.path(), "over 4096 bytes"),
    ] {
        let command = landline(["serve", "0", "--http", "0", "--http-token-file", path]);
        let output = run(command, Stdio::null());
        let said = text(&output.stderr);
        assert_eq!(code(&output), 2, "{said}");
        assert!(said.contains(path) && said.contains(cause) && !said.contains(TOKEN), "{said}");
    }
}

#[test]
fn a_port_in_use_is_named_and_exits_10() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let output = run(landline(["serve", "0", "--http", &address]), Stdio::null());
    let said = text(&output.stderr);
    assert_eq!(code(&output), 10, "{said}");
    assert!(said.contains(&format!("cannot listen on {address}: address already in use")), "{said}");
}
