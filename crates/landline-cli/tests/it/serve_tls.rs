//! `serve` with TLS: what was agreed with clients, certificates that change, and what happens when the
//! process is killed.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::serve_config::Config;
use crate::serve_survival::{kill_worker, worker_of};
use crate::serving::Serving;
use crate::support::*;

/// A folder with what servers and clients need to know each other, and a configuration.
pub(crate) struct Place {
    pub(crate) config: Config,
    issuer: Issuer<'static, KeyPair>,
    authority: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let config = Config::new("");
        let key = KeyPair::generate().unwrap();
        let mut about = CertificateParams::new(Vec::new()).unwrap();
        about.distinguished_name.push(rcgen::DnType::CommonName, "authority");
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = about.self_signed(&key).unwrap().pem();
        fs::write(config.0.join("ca.pem"), &authority).unwrap();
        let place = Self { config, issuer: Issuer::new(about, key), authority };
        place.write("server", "localhost");
        place
    }

    /// Writes a certificate for a name, and its key.
    pub(crate) fn write(&self, file: &str, name: &str) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let about = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = about.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
        fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        certificate.der().clone()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.config.0.join(name).to_str().unwrap().to_owned()
    }

    /// Serves lines on a listener of which the file says more.
    pub(crate) fn serve(&self, said: &str, flags: &[&str]) -> Serving {
        let certificate =
            format!("tls_cert = '{}'\ntls_key = '{}'\n", self.path("server.pem"), self.path("server.key"));
        self.config.now_says(format!("[[listener]]\naddress = 0\nframing = 'line'\n{certificate}{said}"));
        self.config.serve(flags)
    }

    pub(crate) fn call(&self, address: SocketAddr) -> Caller {
        self.call_over(TcpStream::connect(address).unwrap())
    }

    /// Speaks TLS on a connection that is there.
    fn call_over(&self, stream: TcpStream) -> Caller {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        stream.set_read_timeout(Some(GUARD)).unwrap();
        stream.set_write_timeout(Some(GUARD)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        Caller(StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream))
    }
}

/// A caller within TLS.
pub(crate) struct Caller(pub(crate) StreamOwned<ClientConnection, TcpStream>);

impl Caller {
    pub(crate) fn asks(&mut self, line: &str) {
        self.0.write_all(line.as_bytes()).unwrap();
        let mut heard = vec![0; line.len()];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(text(&heard), line.to_ascii_uppercase());
    }

    pub(crate) fn server(&self) -> CertificateDer<'static> {
        self.0.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

/// Whether OpenSSL is there, without which its test is skipped.
pub(crate) fn has_openssl() -> bool {
    has("openssl", Command::new("openssl").arg("version").output().is_ok())
}

/// OpenSSL's client.
fn client(address: SocketAddr, flags: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    let address = address.to_string();
    command.args(["s_client", "-connect", &address, "-servername", "localhost", "-verify_return_error"]);
    command.args(flags);
    command
}

/// The same to its end, with what it is given as its input.
pub(crate) fn openssl(address: SocketAddr, flags: &[&str], said: &[u8]) -> Output {
    run(client(address, flags), given(said))
}

/// The same, which asks and is answered before it ends.
fn asks(address: SocketAddr, flags: &[&str]) {
    let mut client = Running::start(client(address, flags));
    client.send(b"hello\nworld\n");
    client.expect(b"HELLO\nWORLD\n");
    drop(client.stdin.take());
    let (code, said) = client.end();
    assert_eq!(code, 0, "{said}");
}

#[test]
fn another_programs_client_is_answered_within_either_version() {
    if !has_openssl() {
        return;
    }
    let place = Place::new();
    let server = place.serve("tls_alpn = ['line/1']\n", &[]);
    let ca = place.path("ca.pem");
    for version in ["-tls1_2", "-tls1_3"] {
        asks(server.address, &[version, "-CAfile", &ca, "-quiet", "-no_ign_eof", "-alpn", "line/1"]);
    }
    server.stop().in_order();
}

#[test]
fn clients_have_to_show_a_certificate_where_that_is_asked_for() {
    if !has_openssl() {
        return;
    }
    let place = Place::new();
    place.write("client", "client");
    let ca = place.path("ca.pem");
    let mut server = place.serve(&format!("tls_client_ca = '{ca}'\n"), &[]);
    let (certificate, key) = (place.path("client.pem"), place.path("client.key"));
    let with = ["-CAfile", &ca, "-quiet", "-no_ign_eof", "-cert", &certificate, "-key", &key];
    asks(server.address, &with);
    let output = openssl(server.address, &with[..4], b"hello\n");
    assert!(!text(&output.stdout).contains("HELLO"), "{output:?}");
    server.says("handshake failed: the client showed no certificate, and one is required");
    server.stop().in_order();
}

#[test]
fn a_self_signed_certificate_is_made_and_its_fingerprint_said_and_both_outlive_a_kill() {
    let mut command =
        crate::serving::command(&["--tls-self-signed", "--framing", "line", "--crash-survival", "on"]);
    command.env("NO_COLOR", "1");
    let mut server = Serving::start(command);
    let said = server.says("self-signed certificate of 127.0.0.1:0: SHA-256 ");
    let (_, fingerprint) = said.split_once("SHA-256 ").unwrap();
    assert_eq!(fingerprint.len(), 32 * 3 - 1, "{said}");
    server.says("if its process is killed");
    let before = shown(server.address);
    kill_worker(&mut server);
    assert_eq!(shown(server.address), before);
    server.stop().in_order();
}

/// The certificate that a server shows to somebody who trusts nobody.
fn shown(address: SocketAddr) -> Vec<u8> {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    #[derive(Debug)]
    struct Anything;
    impl ServerCertVerifier for Anything {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config =
        config.dangerous().with_custom_certificate_verifier(Arc::new(Anything)).with_no_client_auth();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut caller = Caller(StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream));
    caller.asks("hello\n");
    caller.server().to_vec()
}

#[test]
fn certificates_in_files_are_taken_when_they_change_and_refused_when_they_are_no_good() {
    let place = Place::new();
    let mut server = place.serve("", &[]);
    let mut live = place.call(server.address);
    live.asks("hello\n");
    let second = place.write("server", "localhost");
    server.says("new certificates on 127.0.0.1:");
    live.asks("still here\n");
    let mut caller = place.call(server.address);
    caller.asks("hello\n");
    assert_eq!(caller.server(), second);
    fs::write(place.path("server.key"), "half of it").unwrap();
    server.says("cannot take new certificates on 127.0.0.1:");
    let mut caller = place.call(server.address);
    caller.asks("hello\n");
    assert_eq!(caller.server(), second);
    // A reload says so, too, and changes nothing.
    server.signal(Signal::HUP);
    server.says("server.key: there is no private key in it");
    place.call(server.address).asks("hello\n");
    let third = place.write("server", "localhost");
    server.signal(Signal::HUP);
    server.says("reloaded: 1 listener");
    let mut caller = place.call(server.address);
    caller.asks("hello\n");
    assert_eq!(caller.server(), third);
    live.asks("still here\n");
    server.stop();
}

#[test]
fn after_a_kill_the_next_process_serves_by_the_certificates_of_before_whatever_lies_on_the_disk() {
    let place = Place::new();
    let mut server = place.serve("", &["--crash-survival", "on"]);
    server.says("if its process is killed");
    let mut before = place.call(server.address);
    before.asks("hello\n");
    let second = place.write("server", "localhost");
    server.says("new certificates on 127.0.0.1:");
    fs::remove_file(place.path("server.key")).unwrap();
    fs::write(place.path("server.pem"), "half edited").unwrap();
    // Nobody has spoken on this one: it begins in the next process.
    let mut untouched = place.call(server.address);
    kill_worker(&mut server);
    untouched.asks("hello\n");
    assert_eq!(untouched.server(), second);
    server.says("cannot take new certificates on 127.0.0.1:");
    // The keys of this one are gone.
    assert!(matches!(before.0.read(&mut [0]), Ok(0) | Err(_)));
    let ended = server.stop();
    assert_eq!(ended.count("its process died within a message"), 1, "{ended:#?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_key_that_only_root_can_read_serves_before_and_after_a_kill_when_root_is_given_up() {
    use std::os::unix::fs::PermissionsExt;
    if !crate::serve_privilege::has_root() {
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.path("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let flags = ["--crash-survival", "on", "--control", "none", "--user", "nobody"];
    let mut server = place.serve("", &flags);
    server.says("if its process is killed");
    place.call(server.address).asks("hello\n");
    kill_worker(&mut server);
    place.call(server.address).asks("hello\n");
    // The next one can't be read any more; the server says so and serves on.
    fs::write(place.path("server.key"), "another").unwrap();
    server.says("cannot take new certificates on 127.0.0.1:");
    place.call(server.address).asks("hello\n");
    server.stop().in_order();
}

#[test]
fn certificates_are_read_anew_in_a_sandbox() {
    let place = Place::new();
    let mut command = landline(["serve", "--sandbox", "on", "--config", "landline.toml", "--check-config"]);
    place.config.now_says("[[listener]]\naddress = 0\n");
    command.current_dir(&place.config.0);
    let output = run(command, Stdio::null());
    if !has("Landlock", output.status.success()) {
        return;
    }
    let mut server = place.serve("", &["--sandbox", "on"]);
    place.call(server.address).asks("hello\n");
    let second = place.write("server", "localhost");
    server.says("new certificates on 127.0.0.1:");
    let mut caller = place.call(server.address);
    caller.asks("hello\n");
    assert_eq!(caller.server(), second);
    server.stop();
}

#[test]
fn a_caller_by_way_of_a_proxy_speaks_tls_after_its_header_and_begins_anew_after_a_kill() {
    let place = Place::new();
    let mut server = place.serve("proxy_from = '127.0.0.1'\n", &["--crash-survival", "on"]);
    server.says("if its process is killed");
    let by_proxy = || {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 8081\r\n").unwrap();
        stream
    };
    place.call_over(by_proxy()).asks("hello\n");
    let stream = by_proxy();
    server.says("#1 192.0.2.7:4711 connected by way of");
    server.says("#2 192.0.2.7:4711 connected by way of");
    kill_worker(&mut server);
    place.call_over(stream).asks("hello\n");
    server.stop().in_order();
}

#[test]
fn an_upgrade_leaves_connections_with_tls_to_the_process_before_until_they_end() {
    let place = Place::new();
    let control = place.path("ctl.sock");
    let mut server = place.serve("", &["--crash-survival", "on", "--control", &control]);
    server.says("if its process is killed");
    let mut half = place.call(server.address);
    half.asks("hello\n");
    half.0.write_all(b"hal").unwrap();
    // It has arrived once something after it was answered; the part of a line is in the server's hands then.
    let mut untouched = place.call(server.address);
    let worker = worker_of(server.id());
    let mut command = landline(["ctl", "--control", &control]);
    command.arg("upgrade");
    let output = run(command, Stdio::null());
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(
        text(&output.stdout).contains(&format!("pid {worker} before it - 1 connection to end there")),
        "{output:?}"
    );
    server.says("upgrade 1");
    untouched.asks("hello\n");
    place.call(server.address).asks("hello\n");
    half.0.write_all(b"f\n").unwrap();
    let mut heard = String::new();
    half.0.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "HALF\n", "and then its end, said in TLS");
    server.stop().in_order();
}

#[test]
fn what_is_checked_without_serving_is_the_certificates_too() {
    let place = Place::new();
    let check = |said: &str| {
        place.config.now_says(format!("[[listener]]\naddress = 0\n{said}"));
        let mut command = landline(["serve", "--config", "landline.toml", "--check-config"]);
        command.current_dir(Path::new(&place.config.0));
        run(command, Stdio::null())
    };
    let good = "tls_cert = 'server.pem'\ntls_key = 'server.key'\n";
    let output = check(good);
    assert_eq!(text(&output.stdout), "landline.toml: in order, 1 listener\n", "{output:?}");
    for (said, words) in [
        ("tls_cert = 'server.pem'\n", "line 1: there have to be as many private keys as certificates"),
        ("tls_cert = 'server.pem'\ntls_key = 'ca.pem'\n", "cannot use ca.pem: there is no private key in it"),
        (
            "tls_cert = 'ca.pem'\ntls_key = 'server.key'\n",
            "cannot use server.key: its private key does not belong",
        ),
        ("tls_cert = 'none.pem'\ntls_key = 'server.key'\n", "cannot use none.pem: no such file or directory"),
        ("tls_client_ca = 'ca.pem'\n", "line 1: what is said of TLS has no meaning where it is not spoken"),
        (
            "tls_self_signed = 'on'\ntls_crl = 'x.pem'\n",
            "line 1: lists of revoked certificates have no meaning",
        ),
        ("tls_min_version = 1.2\n", "line 3: tls_min_version can't be 1.2: a fraction won't do"),
    ] {
        let output = check(said);
        assert_eq!(code(&output), 2, "{output:?}");
        let text = text(&output.stderr);
        assert!(text.contains(words) && text.contains("\n  hint: ") | said.contains("min"), "{text}");
    }
}
