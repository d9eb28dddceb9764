//! `landline call` with servers that are not ours: what others have built and everybody runs.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use socket2::{Domain, Socket, Type};

use crate::certificates::{Authority, Folder};
use crate::support::*;

/// Somebody else's server; it is killed when the test is over, however it ends.
struct Server {
    child: Child,
    address: String,
    /// Keeps the port for it, without listening there.
    _port: Socket,
}

impl Server {
    /// Starts what `command` makes of an address, if it is there; otherwise the test is skipped by name.
    fn start(program: &str, command: impl FnOnce(SocketAddr) -> Command) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there = |folder: std::path::PathBuf| folder.join(program).exists();
        if !has(program, std::env::split_paths(&path).any(is_there) || Path::new(program).exists()) {
            return None;
        }
        let port = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // Both have to allow it, and nobody may listen yet: these servers all do.
        port.set_reuse_address(true).unwrap();
        port.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = port.local_addr().unwrap().as_socket().unwrap();
        let mut command = command(address);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Some(Self { child, address: address.to_string(), _port: port })
    }

    /// Calls it, as soon as it is there.
    fn call(&self, arguments: &[&str], stdin: impl Into<Stdio>) -> Output {
        self.call_with(arguments, &[], stdin)
    }

    fn call_with(&self, flags: &[&str], messages: &[&str], stdin: impl Into<Stdio>) -> Output {
        self.is_there();
        let mut command = landline(["call"]);
        command.args(flags).arg(&self.address).args(messages);
        run(command, stdin)
    }

    /// Waits until it listens, which does not take a connection from those that take but one.
    fn is_there(&self) {
        let listens = || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let port: SocketAddr = self.address.parse().unwrap();
            let local = format!("0100007F:{:04X} 00000000:0000 0A", port.port());
            table.lines().any(|line| line.contains(&local))
        };
        let begun = std::time::Instant::now();
        while !listens() {
            assert!(begun.elapsed() < GUARD, "{} listens", self.address);
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

fn port(address: SocketAddr) -> String {
    address.port().to_string()
}

#[test]
fn redis_answers_inline_commands_in_one_shot_by_pipe_and_to_a_probe() {
    let Some(redis) = Server::start("redis-server", |address| {
        let port = port(address);
        command(&["redis-server", "--bind", "127.0.0.1", "--port", &port, "--save", "", "--daemonize", "no"])
    }) else {
        return;
    };
    let output = redis.call_with(&[], &["PING", "SET greeting hello", "INCR count"], Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "+PONG\r\n+OK\r\n:1\r\n".to_owned()));
    let output = redis.call(&[], given("GET greeting\nINCR count\nQUIT\n"));
    assert_eq!((code(&output), text(&output.stdout)), (0, "$5\r\nhello\r\n:2\r\n+OK\r\n".to_owned()));
    let output = redis.call_with(&["--probe", "--expect", "bytes:+PONG"], &["PING"], Stdio::null());
    assert_eq!(code(&output), 0, "{output:?}");
    let output = redis.call_with(&["--json"], &["NOSUCH"], Stdio::null());
    assert!(text(&output.stdout).contains(r#""reply":"-ERR unknown command"#), "{output:?}");
}

#[test]
fn memcached_stores_and_tells_lines_until_it_closes() {
    let Some(memcached) = Server::start("memcached", |address| {
        command(&["memcached", "-l", "127.0.0.1", "-p", &port(address), "-U", "0", "-u", "nobody"])
    }) else {
        return;
    };
    let output = memcached.call(&["--crlf"], given("set greeting 0 0 6\n你好\nget greeting\nquit\n"));
    let told = "STORED\r\nVALUE greeting 0 6\r\n你好\r\nEND\r\n";
    assert_eq!((code(&output), text(&output.stdout)), (0, told.to_owned()));
    let output = memcached.call_with(&["--crlf", "--until-eof"], &["get greeting"], Stdio::null());
    let told = "VALUE greeting 0 6\r\n你好\r\nEND\r\n";
    assert_eq!((code(&output), text(&output.stdout)), (0, told.to_owned()));
    let output = memcached.call_with(
        &["--timeout", "300ms", "--delimiter", r"\r\nEND\r\n"],
        &["get greeting\r"],
        Stdio::null(),
    );
    assert_eq!(code(&output), 5, "what is sent has to end as lines do there: {output:?}");
}

/// nginx with a page, in plain text or with TLS.
fn nginx(folder: &Folder, page: &[u8], tls: &str) -> Option<Server> {
    const NGINX: &str = "/usr/sbin/nginx";
    let root = folder.path().to_str().unwrap().to_owned();
    std::fs::write(folder.path().join("page"), page).unwrap();
    Server::start(NGINX, |address| {
        let listen = if tls.is_empty() { format!("{address}") } else { format!("{address} ssl") };
        let config = folder.file(
            "nginx.conf",
            &format!(
                "daemon off;\nmaster_process off;\npid {root}/pid;\nuser root;\nerror_log stderr;\n\
                 events {{ worker_connections 100; }}\n\
                 http {{\n access_log off;\n default_type text/plain;\n\
                 server {{ listen {listen}; root {root}; {tls} }}\n}}\n"
            ),
        );
        command(&[NGINX, "-e", "stderr", "-c", &config])
    })
}

/// A page of bytes of every kind.
fn page() -> Vec<u8> {
    (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect()
}

fn body(response: &[u8]) -> &[u8] {
    let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a header");
    &response[end + 4..]
}

#[test]
fn nginx_gives_a_page_by_pipe_byte_for_byte() {
    let (folder, page) = (Folder::new(), page());
    let Some(nginx) = nginx(&folder, &page, "") else { return };
    let output = nginx.call(&[], given("GET /page HTTP/1.0\r\n\r\n"));
    assert_eq!(code(&output), 0);
    assert!(output.stdout.starts_with(b"HTTP/1.1 200 OK\r\n") && body(&output.stdout) == page);
    // The same by hand, with the line endings that HTTP wants.
    let output = nginx.call(&["--crlf"], given("GET /page HTTP/1.0\n\n"));
    assert!(code(&output) == 0 && body(&output.stdout) == page);
    let output = nginx.call_with(&["--crlf", "--until-eof"], &["GET /nothing HTTP/1.0\n"], Stdio::null());
    assert!(text(&output.stdout).starts_with("HTTP/1.1 404 Not Found\r\n"), "{output:?}");
}

#[test]
fn nginx_gives_it_over_tls_to_whoever_trusts_its_authority_and_to_nobody_else() {
    let (folder, page, authority) = (Folder::new(), page(), Authority::new());
    let issued = authority.issue();
    let certificate = folder.file("server.pem", &issued.certificate.pem());
    let key = folder.file("server.key", &issued.key.serialize_pem());
    let tls = format!("ssl_certificate {certificate}; ssl_certificate_key {key};");
    let Some(nginx) = nginx(&folder, &page, &tls) else { return };
    let ca = folder.file("ca.pem", &authority.pem());
    let request = || given("GET /page HTTP/1.0\r\n\r\n");
    let output = nginx.call(&["--tls", "--cacert", &ca], request());
    assert!(code(&output) == 0 && body(&output.stdout) == page, "{}", text(&output.stderr));
    let output = nginx.call(&["--tls"], request());
    assert_eq!((code(&output), output.stdout.len()), (7, 0));
    // It speaks HTTP to whoever does not speak TLS there.
    let output = nginx.call(&[], request());
    assert!(String::from_utf8_lossy(&output.stdout).contains("400 Bad Request"), "{output:?}");
}

#[test]
fn a_mail_goes_out_by_pipe_and_every_line_of_it_arrives() {
    const PYTHON: &str = "/usr/bin/python3";
    const MAIL: &str = "Subject: 你好\n\nOne line,\n..one that began with a dot,\nand the last.";
    let has_aiosmtpd = Command::new(PYTHON).args(["-c", "import aiosmtpd"]).output();
    if !has("aiosmtpd", has_aiosmtpd.is_ok_and(|output| output.status.success())) {
        return;
    }
    let folder = Folder::new();
    let mailbox = folder.path().join("mailbox");
    let smtp = Server::start(PYTHON, |address| {
        let listen = address.to_string();
        let mailbox = mailbox.to_str().unwrap();
        // Stays the user that it is.
        command(&[PYTHON, "-m", "aiosmtpd", "-n", "-l", &listen, "-c", "aiosmtpd.handlers.Mailbox", mailbox])
    });
    let Some(smtp) = smtp else { return };
    let session =
        format!("HELO here\nMAIL FROM:<me@example.com>\nRCPT TO:<you@example.com>\nDATA\n{MAIL}\n.\nQUIT\n");
    let output = smtp.call(&["--crlf"], given(session));
    assert_eq!(code(&output), 0, "{output:?}");
    let codes: Vec<String> = text(&output.stdout).lines().map(|line| line[..3].to_owned()).collect();
    assert_eq!(codes, ["220", "250", "250", "250", "354", "250", "221"]);
    let mails: Vec<_> = std::fs::read_dir(mailbox.join("new")).unwrap().collect();
    assert_eq!(mails.len(), 1);
    let mail = std::fs::read_to_string(mails[0].as_ref().unwrap().path()).unwrap();
    assert!(mail.ends_with("\n\nOne line,\n.one that began with a dot,\nand the last.\n"), "{mail:?}");
}

#[test]
fn an_ssh_server_says_who_it_is_to_whoever_says_nothing() {
    const SSHD: &str = "/usr/sbin/sshd";
    let folder = Folder::new();
    let key = folder.path().join("key");
    if !has(SSHD, Path::new(SSHD).exists()) {
        return;
    }
    let made =
        command(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()]).status();
    assert!(made.unwrap().success());
    // What it confines itself to before anybody has logged in.
    let _ = std::fs::create_dir_all("/run/sshd");
    let sshd = Server::start(SSHD, |address| {
        let (key, port) = (key.to_str().unwrap(), port(address));
        let options = ["-o", "ListenAddress=127.0.0.1", "-o", "PidFile=none", "-o", "UsePAM=no"];
        let mut command = command(&[SSHD, "-D", "-e", "-f", "/dev/null", "-p", &port, "-h", key]);
        command.args(options);
        command
    });
    let Some(sshd) = sshd else { return };
    let output = sshd.call(&[], Stdio::null());
    assert!(text(&output.stdout).starts_with("SSH-2.0-OpenSSH_"), "{output:?}");
    let output = sshd.call_with(&["--expect", "regex:^SSH-2"], &["hello"], Stdio::null());
    assert_eq!(code(&output), 0, "{output:?}");
}

#[test]
fn ncat_answers_by_another_program_and_its_own_certificate_is_not_believed() {
    let Some(ncat) = Server::start("ncat", |address| {
        command(&["ncat", "-l", "-k", "127.0.0.1", &port(address), "-e", "/bin/cat"])
    }) else {
        return;
    };
    // Its one fault, to lose the reply of whoever half-closes, is no matter to whoever does not.
    ncat.is_there();
    let mut running = Running::start(landline(["call", &ncat.address]));
    running.send(b"one\ntwo\n");
    running.expect(b"one\ntwo\n");
    let output = ncat.call_with(&["--expect", "echo"], &["again"], Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "again\n".to_owned()));

    let Some(ncat) = Server::start("ncat", |address| {
        command(&["ncat", "--ssl", "-l", "-k", "127.0.0.1", &port(address), "-e", "/bin/cat"])
    }) else {
        return;
    };
    let output = ncat.call(&["--tls"], given("secret\n"));
    assert_eq!((code(&output), output.stdout.len()), (7, 0));
    let output = ncat.call(&["--tls", "--insecure"], given("not so secret\n"));
    assert_eq!((code(&output), text(&output.stdout)), (0, "not so secret\n".to_owned()), "{output:?}");
}

#[test]
fn socat_is_asked_over_tcp_and_over_a_unix_socket() {
    let Some(socat) = Server::start("socat", |address| {
        let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,reuseaddr,fork", address.port());
        command(&["socat", &listen, "EXEC:cat"])
    }) else {
        return;
    };
    let output = socat.call(&[], given("by tcp"));
    assert_eq!((code(&output), text(&output.stdout)), (0, "by tcp".to_owned()));

    let folder = Folder::new();
    let path = folder.path().join("socket");
    let mut socat =
        command(&["socat", &format!("UNIX-LISTEN:{}", path.display()), "EXEC:cat"]).spawn().unwrap();
    let address = format!("unix:{}", path.display());
    let flags = ["call", "--retry", "1000", "--interval", "10ms", &address, "by path"];
    let output = run(landline(flags), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (0, "by path\n".to_owned()));
    socat.wait().unwrap();
}
