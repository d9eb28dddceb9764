//! `landline call --tls` against `openssl s_server`.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::certificates::*;
use crate::support::*;

/// A server that sends lines back in reverse, until it is dropped.
struct OpenSsl {
    child: Child,
    /// It ends when its own stdin does.
    _stdin: ChildStdin,
    address: String,
}

impl OpenSsl {
    fn start(issued: &Issued, folder: &Folder, more: &[&str]) -> Self {
        let both = issued.in_one_file(folder);
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-rev", "-cert", &both, "-key", &both]);
        command.args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = in_time(move || {
            let address = lines.find_map(|line| line.unwrap().strip_prefix("ACCEPT ").map(str::to_owned));
            // It goes on talking to a pipe that nobody may close.
            std::thread::spawn(move || lines.for_each(drop));
            address.expect("it says where it listens")
        });
        Self { child, _stdin: stdin, address: address.unwrap() }
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn has_openssl() -> bool {
    let asked = Command::new("openssl").arg("version").stdout(Stdio::null()).status();
    has("openssl", asked.is_ok_and(|status| status.success()))
}

#[test]
fn openssl_is_asked_and_piped_through_in_both_versions() {
    if !has_openssl() {
        return;
    }
    let (authority, folder) = (Authority::new(), Folder::new());
    let cacert = folder.file("ca.pem", &authority.pem());
    for version in ["-tls1_2", "-tls1_3"] {
        let server = OpenSsl::start(&authority.issue(), &folder, &[version]);
        let call = ["call", "--tls", "--cacert", &cacert, &server.address];
        let output = run(landline(call), given(b"hello\nworld\n"));
        assert_eq!((code(&output), text(&output.stderr)), (0, String::new()), "{version}");
        assert_eq!(text(&output.stdout), "olleh\ndlrow\n");
        let mut command = landline(call);
        command.args(["hello", "world"]);
        let output = run(command, Stdio::null());
        assert_eq!((code(&output), text(&output.stdout)), (0, "olleh\ndlrow\n".to_owned()), "{version}");
    }
}

#[test]
fn openssl_that_requires_a_certificate_lets_in_whoever_has_one_and_no_other() {
    if !has_openssl() {
        return;
    }
    let (authority, folder) = (Authority::new(), Folder::new());
    let cacert = folder.file("ca.pem", &authority.pem());
    let own = Folder::new();
    let cert = authority.issue().in_one_file(&own);
    for version in ["-tls1_2", "-tls1_3"] {
        let requires = [version, "-Verify", "1", "-verify_return_error", "-CAfile", &cacert];
        let server = OpenSsl::start(&authority.issue(), &folder, &requires);
        let call = ["call", "--tls", "--cacert", &cacert, &server.address, "hello"];
        let output = run(landline(call), Stdio::null());
        assert_eq!(code(&output), 7, "{version} {output:?}");
        let said = text(&output.stderr);
        assert!(said.contains("the server asks for a certificate of ours\n  hint: "), "{said}");
        let mut command = landline(call);
        command.args(["--cert", &cert]);
        let output = run(command, Stdio::null());
        assert_eq!((code(&output), text(&output.stdout)), (0, "olleh\n".to_owned()), "{version}");
    }
}

#[test]
fn openssl_has_no_word_for_plain_text_and_the_hint_is_there_all_the_same() {
    if !has_openssl() {
        return;
    }
    let folder = Folder::new();
    let server = OpenSsl::start(&Authority::new().issue(), &folder, &[]);
    let output = run(landline(["call", &server.address, "hello, is anybody there?"]), Stdio::null());
    assert_eq!((code(&output), text(&output.stdout)), (6, String::new()));
    assert!(text(&output.stderr).ends_with("\n  hint: if it speaks TLS, add --tls\n"), "{output:?}");
}

#[test]
fn openssl_that_shares_no_application_protocol_says_so() {
    if !has_openssl() {
        return;
    }
    let (authority, folder) = (Authority::new(), Folder::new());
    let cacert = folder.file("ca.pem", &authority.pem());
    let server = OpenSsl::start(&authority.issue(), &folder, &["-alpn", "h2"]);
    for (offered, expected) in [("h2,x", 0), ("x,y", 7)] {
        let call = ["call", "--tls", "--cacert", &cacert, "--alpn", offered, &server.address, "hello"];
        let output = run(landline(call), Stdio::null());
        assert_eq!(code(&output), expected, "{output:?}");
    }
}
