//! `serve --proxy-from`, behind `HAProxy` and nginx.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::balancer::Balancer;
use crate::serve_survival::{kill_worker, survivor};
use crate::serving::*;
use crate::support::{GUARD, code, landline, run, text};

const CLIENT: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 8081\r\n";
const FROM_HERE: [&str; 2] = ["--proxy-from", "127.0.0.0/8"];

/// A server of its own control socket.
struct Proxied {
    server: Serving,
    control: String,
}

impl Proxied {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let control = format!("landline-proxied-{}-{count}", std::process::id());
        let control = std::env::temp_dir().join(control).to_str().unwrap().to_owned();
        let server = survivor(&[&FROM_HERE[..], &["--control", &control]].concat());
        Self { server, control }
    }

    fn lists(&self, client: &str) {
        let ctl = run(landline(["ctl", "--control", &self.control, "list"]), Stdio::null());
        assert_eq!(code(&ctl), 0, "{ctl:?}");
        assert!(text(&ctl.stdout).contains(client), "{client}: {ctl:?}");
    }

    /// Checks that a client of the balancer is who is connected, and goes on being so when the process is killed.
    fn knows_a_client_of(mut self, balancer: &Balancer) {
        let mut client = balancer.call();
        let name = client.name();
        client.asks("hello");
        self.server.says(&format!(" {name} connected by way of 127.0.0.1:"));
        self.lists(&name);
        kill_worker(&mut self.server);
        client.asks("again");
        self.lists(&name);
        client.half_closes();
        client.hears_out("");
        let ended = self.server.stop();
        assert_eq!(ended.count("closed by client"), 1, "{ended:#?}");
    }
}

#[test]
fn a_client_of_haproxy_is_the_caller_in_both_versions() {
    for version in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        let proxied = Proxied::new();
        let port = proxied.server.port();
        let config = |_: &Path, address: SocketAddr| {
            format!(
                "listen a\n bind {address}\n unique-id-format %rt\n server s 127.0.0.1:{port} {version}\n"
            )
        };
        let Some(balancer) = Balancer::haproxy(config) else { return };
        proxied.knows_a_client_of(&balancer);
    }
}

#[test]
fn a_client_of_nginx_is_the_caller() {
    let proxied = Proxied::new();
    let port = proxied.server.port();
    let config = |address| {
        format!("server {{ listen {address} reuseport; proxy_pass 127.0.0.1:{port}; proxy_protocol on; }}\n")
    };
    let Some(balancer) = Balancer::nginx(config) else { return };
    proxied.knows_a_client_of(&balancer);
}

#[test]
fn haproxy_that_looks_whether_the_server_is_there_calls_for_itself() {
    let mut server = serve(&[&FROM_HERE[..], &["--deny", "127.0.0.0/8"]].concat());
    let port = server.port();
    let config = |_: &Path, address: SocketAddr| {
        format!(
            "listen a\n bind {address}\n option tcp-check\n tcp-check send hello\n tcp-check expect string HELLO\n \
             server s 127.0.0.1:{port} send-proxy-v2 check-send-proxy check inter 500ms\n"
        )
    };
    let Some(_balancer) = Balancer::haproxy(config) else { return };
    let line = server.says(" connected");
    assert!(line.contains("127.0.0.1:") && line.contains(" connected, a proxy itself ("), "{line}");
    // HAProxy resets what it has heard enough of.
    server.says(" - 1 message - 21 B in, 5 B out - ");
}

#[test]
fn somebody_on_the_machine_of_haproxy_has_no_address_and_is_told_of_as_such() {
    for (version, words) in [
        ("send-proxy", "connected, a proxy that does not say for whom"),
        // HAProxy does not say that it is for somebody else.
        ("send-proxy-v2", "connected, a proxy itself"),
    ] {
        let mut server = serve(&FROM_HERE);
        let port = server.port();
        let config = |folder: &Path, _: SocketAddr| {
            let path = folder.join("a.sock");
            format!("listen a\n bind unix@{}\n server s 127.0.0.1:{port} {version}\n", path.display())
        };
        let Some(balancer) = Balancer::haproxy(config) else { return };
        let mut client = UnixStream::connect(balancer.has_made("a.sock")).unwrap();
        client.set_read_timeout(Some(GUARD)).unwrap();
        client.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"HELLO");
        server.says(words);
    }
}

#[test]
fn nothing_that_a_proxy_adds_to_its_header_gets_into_the_log() {
    let server = serve(&[&FROM_HERE[..], &["--verbose"]].concat());
    let mut caller = server.call();
    let authority = b"\x02\0\x12evil\n#9 \x1b[31mconn!";
    let addresses = [192, 0, 2, 7, 192, 0, 2, 1, 0x12, 0x67, 0x1f, 0x91];
    let len = u16::try_from(addresses.len() + authority.len()).unwrap().to_be_bytes();
    let header = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..], &len, &addresses, authority].concat();
    caller.says(header);
    caller.asks("hello");
    caller.half_closes();
    caller.hears_out("");
    let ended = server.stop();
    assert_eq!(ended.count("192.0.2.7:4711 connected by way of"), 1, "{ended:#?}");
    assert_eq!(ended.count("evil") + ended.count("\x1b[31mconn"), 0, "{ended:#?}");
}

#[test]
fn a_proxy_that_has_said_half_of_its_header_says_the_rest_to_whichever_process_serves_by_then() {
    let mut server = survivor(&[&FROM_HERE[..], &["--framing", "line", "--threads", "2"]].concat());
    let (header, rest) = CLIENT.split_at(CLIENT.len() / 2);
    let mut waiting: Vec<Caller> = (0..6).map(|_| server.call()).collect();
    for caller in &mut waiting {
        caller.says(header);
    }
    let mut within = server.call();
    within.says(format!("{CLIENT}one\ntw"));
    within.hears("ONE\n");
    kill_worker(&mut server);
    for caller in &mut waiting[..2] {
        caller.says(format!("{rest}hello\n"));
        caller.hears("HELLO\n");
    }
    server.signal(Signal::USR2);
    server.says("upgraded");
    for caller in &mut waiting[2..] {
        caller.says(format!("{rest}hello\n"));
        caller.hears("HELLO\n");
    }
    within.says("o\n");
    within.hears("TWO\n");
    drop((waiting, within));
    server.stop().in_order();
}
