//! `landline call --tls`

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Output, Stdio};

use rustls::version::{TLS12, TLS13};

use crate::certificates::*;
use crate::support::*;
use crate::terminal::Terminal;

/// Answers one line in upper case, then ends in order.
fn upper_line(mut stream: Tls) {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    stream.write_all(&line.to_ascii_uppercase()).unwrap();
    close(stream);
}

/// The outcome of `landline call --tls --cacert … ADDR hello`.
fn ask(authority: &Authority, address: &str, more: &[&str]) -> Output {
    let folder = Folder::new();
    let cacert = folder.file("ca.pem", &authority.pem());
    let mut command = landline(["call", "--tls", "--cacert", &cacert]);
    command.args(more).args([address, "hello"]);
    run(command, Stdio::null())
}

fn assert_refused(output: &Output, said: &str) {
    assert_eq!((code(output), text(&output.stdout)), (7, String::new()), "{output:?}");
    assert_eq!(text(&output.stderr), said);
}

#[test]
fn a_server_is_asked_in_every_version_that_is_safe() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let server = tls_server(authority.issue().server_for(None, &[version]), upper_line);
        let output = ask(&authority, &format!("localhost:{}", server.address.port()), &[]);
        assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\n".to_owned()), "{output:?}");
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn a_server_of_an_authority_that_is_not_trusted_is_told_by_its_cause() {
    let server = failing_server(Authority::new().issue().server());
    let output = ask(&Authority::new(), &server.typed(), &[]);
    assert_refused(
        &output,
        &format!(
            "landline: error: cannot trust {}: nobody who is trusted here has issued the certificate\n  \
             hint: --cacert names a file with the authority to trust\n",
            server.address
        ),
    );
}

#[test]
#[cfg(target_os = "linux")]
fn whom_the_system_trusts_is_trusted_unless_others_are_named() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let system = folder.file("system.pem", &authority.pem());
    let asks = |system: &str, server: &Server<()>| {
        let mut command = landline(["call", "--tls", &server.typed(), "hello"]);
        command.env("SSL_CERT_FILE", system).env("SSL_CERT_DIR", "/nonexistent");
        run(command, Stdio::null())
    };
    let server = tls_server(authority.issue().server(), upper_line);
    let output = asks(&system, &server);
    assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\n".to_owned()), "{output:?}");

    let server = crate::support::server(drop);
    let output = asks("/dev/null", &server);
    assert_eq!(code(&output), 7, "{output:?}");
    assert!(text(&output.stderr).contains("this system has no certificates of authorities"), "{output:?}");
}

#[test]
fn a_certificate_for_other_names_is_told_with_them_and_they_are_escaped() {
    let authority = Authority::new();
    let params = named(&["example.com", "\x1b[2Jevil\r\n.example", "*.example.net"]);
    let server = failing_server(authority.issue_as(&params).server());
    let output = ask(&authority, &format!("localhost:{}", server.address.port()), &[]);
    assert_refused(
        &output,
        &format!(
            "landline: error: cannot trust localhost:{}: the certificate is for example.com, \
             \\x1b[2Jevil\\r\\n.example, *.example.net, not for localhost\n  \
             hint: --sni says under which name the server is known\n",
            server.address.port()
        ),
    );
}

#[test]
fn a_certificate_is_good_from_its_first_day_to_its_last() {
    let authority = Authority::new();
    for (from, to, said) in [
        (2020, 2021, "the certificate has expired "),
        (2900, 2901, "the certificate is not valid yet, but in "),
    ] {
        let mut params = params();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let server = failing_server(authority.issue_as(&params).server());
        let output = ask(&authority, &server.typed(), &[]);
        assert_eq!(code(&output), 7);
        assert!(text(&output.stderr).contains(said), "{output:?}");
        assert!(text(&output.stderr).contains(" days"), "{output:?}");
    }
}

#[test]
fn a_self_signed_certificate_passes_when_it_is_named_or_when_nothing_is_verified() {
    let mut as_openssl_makes_them = params();
    as_openssl_makes_them.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    for params in [params(), as_openssl_makes_them] {
        let issued = self_signed(&params);
        let server = failing_server(issued.server());
        let output = ask(&Authority::new(), &server.typed(), &[]);
        assert!(text(&output.stderr).contains("is signed by nobody but itself\n  hint: "), "{output:?}");
        assert_eq!(code(&output), 7);

        let server = tls_server(issued.server(), upper_line);
        let typed = server.typed();
        let output = run(landline(["call", "--tls", "--insecure", &typed, "hello"]), Stdio::null());
        assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\n".to_owned()));
        let warning =
            format!("landline: warning: --insecure: nobody verifies that it is {typed} that answers\n");
        assert_eq!(text(&output.stderr), warning);

        let folder = Folder::new();
        let cacert = folder.file("server.pem", &issued.certificate.pem());
        let server = tls_server(issued.server(), upper_line);
        let output =
            run(landline(["call", "--tls", "--cacert", &cacert, &server.typed(), "hello"]), Stdio::null());
        assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));

        let server = failing_server(issued.server());
        let wrong = ["call", "--tls", "--cacert", &cacert, "--sni", "other", &server.typed(), "hello"];
        let output = run(landline(wrong), Stdio::null());
        assert!(text(&output.stderr).contains("not for other\n"), "{output:?}");
    }
}

#[test]
fn the_name_that_was_typed_is_sent_and_an_ip_address_is_only_verified() {
    let authority = Authority::new();
    let sent_name = |host: &str, more: &[&str]| {
        let server = tls_server(authority.issue().server(), |mut stream| {
            stream.conn.complete_io(&mut stream.sock).unwrap();
            let name = stream.conn.server_name().map(str::to_owned);
            upper_line(stream);
            name
        });
        let output = ask(&authority, &format!("{host}:{}", server.address.port()), more);
        assert_eq!(code(&output), 0, "{output:?}");
        server.end()
    };
    assert_eq!(sent_name("localhost", &[]).as_deref(), Some("localhost"));
    assert_eq!(sent_name("", &[]).as_deref(), Some("localhost"));
    assert_eq!(sent_name("127.0.0.1", &[]), None);
    assert_eq!(sent_name("127.0.0.1", &["--sni", "localhost"]).as_deref(), Some("localhost"));
}

#[test]
fn a_server_that_asks_who_this_is_gets_a_certificate_or_the_caller_is_told() {
    let (authority, callers) = (Authority::new(), Authority::new());
    let caller = callers.issue();
    let folder = Folder::new();
    let both = caller.in_one_file(&folder);
    let cert = folder.file("cert.pem", &caller.certificate.pem());
    let key = folder.file("key.pem", &caller.key.serialize_pem());
    for version in [&TLS12, &TLS13] {
        let config = || authority.issue().server_for(Some(&callers), &[version]);
        for identity in [&["--cert", &both][..], &["--cert", &cert, "--key", &key]] {
            let server = tls_server(config(), upper_line);
            let output = ask(&authority, &server.typed(), identity);
            assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\n".to_owned()), "{output:?}");
        }
        let server = failing_server(config());
        let output = ask(&authority, &server.typed(), &[]);
        let said = format!(
            "landline: error: cannot speak TLS with {}: the server asks for a certificate of ours\n  \
             hint: --cert and --key say who you are\n",
            server.address
        );
        assert_refused(&output, &said);

        let stranger = folder.file("stranger.pem", &{
            let stranger = Authority::new().issue();
            stranger.certificate.pem() + &stranger.key.serialize_pem()
        });
        let server = failing_server(config());
        let output = ask(&authority, &server.typed(), &["--cert", &stranger]);
        assert_eq!(code(&output), 7);
        let said = text(&output.stderr);
        assert!(said.contains("the server does not accept our certificate: "), "{said}");
    }
}

#[test]
fn application_protocols_are_agreed_on_or_refused() {
    let authority = Authority::new();
    let config = || {
        let mut config = authority.issue().server();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    };
    let server = tls_server(config(), |mut stream| {
        stream.conn.complete_io(&mut stream.sock).unwrap();
        let agreed = stream.conn.alpn_protocol().map(<[u8]>::to_vec);
        upper_line(stream);
        agreed
    });
    let output = ask(&authority, &server.typed(), &["--alpn", "h2,http/1.1"]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(server.end().unwrap(), b"http/1.1");

    let server = failing_server(config());
    let output = ask(&authority, &server.typed(), &["--alpn", "h2,h3"]);
    assert_eq!(code(&output), 7);
    let said = text(&output.stderr);
    assert!(said.contains("none of the application protocols (ALPN) that were offered"), "{said}");
}

#[test]
fn a_server_that_does_not_speak_tls_is_told_so_whatever_it_says() {
    let greets = |mut stream: std::net::TcpStream| {
        stream.write_all(b"2\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    };
    for server in [server(upper), server(greets)] {
        let typed = server.typed();
        let output = run(landline(["call", "--tls", &typed, "hello"]), Stdio::null());
        let said = format!("landline: error: {typed} does not speak TLS\n  hint: remove --tls\n");
        assert_refused(&output, &said);
        server.end();
    }
}

#[test]
fn a_server_that_speaks_tls_is_recognised_by_its_alert_when_it_is_called_in_plain_text() {
    let config = || Authority::new().issue().server();
    let said = |address: &str| {
        format!("landline: error: {address} speaks TLS, and this was sent in plain text\n  hint: add --tls\n")
    };
    for framing in ["line", "raw", "length"] {
        let server = failing_server(config());
        let typed = server.typed();
        let command = landline(["call", "--framing", framing, &typed, "\x01 hello"]);
        assert_refused(&run(command, Stdio::null()), &said(&typed));
        assert!(server.end().contains("corrupt message"), "{framing}");
    }
    let server = failing_server(config());
    let typed = server.typed();
    let output = run(landline(["call", &typed]), given(b"hello, is anybody there?\n"));
    assert_eq!((code(&output), text(&output.stderr)), (7, said(&typed)));
    assert_eq!(output.stdout, b"\x15\x03\x03\0\x02\x02\x32", "what came is passed on as it is");
}

#[test]
fn at_the_prompt_a_server_that_speaks_tls_is_recognised_too_and_its_alert_is_not_shown() {
    let server = failing_server(Authority::new().issue().server());
    let typed = server.typed();
    let mut terminal = Terminal::open(landline(["call", &typed]));
    terminal.sees(">>: ");
    terminal.types("hello there");
    let seen = terminal.sees(&format!("! {typed} speaks TLS, and this was sent in plain text (add --tls)"));
    assert!(!seen.contains("\\x15"), "{seen:?}");
    terminal.presses_ctrl('d');
    assert_eq!(terminal.ends().0, 7);
}

#[test]
fn at_the_prompt_a_refusal_after_the_handshake_is_told_with_its_remedy() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let cacert = folder.file("ca.pem", &authority.pem());
    let server = failing_server(authority.issue().server_for(Some(&Authority::new()), &[&TLS13]));
    let typed = server.typed();
    let mut terminal = Terminal::open(landline(["call", "--tls", "--cacert", &cacert, &typed]));
    terminal.sees(&format!(
        "! cannot speak TLS with {typed}: the server asks for a certificate of ours (--cert and --key say"
    ));
    terminal.presses_ctrl('d');
    assert_eq!(terminal.ends().0, 7);
}

#[test]
fn at_the_prompt_the_banner_says_what_is_spoken() {
    let authority = Authority::new();
    let folder = Folder::new();
    let cacert = folder.file("ca.pem", &authority.pem());
    let mut config = authority.issue().server();
    config.alpn_protocols = vec![b"upper".to_vec()];
    let server = tls_server(config, upper_line);
    let typed = server.typed();
    let mut terminal =
        Terminal::open(landline(["call", "--tls", "--cacert", &cacert, "--alpn", "upper", &typed]));
    terminal.sees(" · TLS 1.3 · upper · ↑ history");
    terminal.types("hello");
    terminal.sees("HELLO");
    terminal.sees("! server closed the connection; the next line opens a new one");
    terminal.presses_ctrl('d');
    assert_eq!(terminal.ends().0, 0);
}

#[test]
fn a_handshake_that_stalls_is_a_timeout() {
    let server = server(|mut stream| stream.read_to_end(&mut Vec::new()));
    let typed = server.typed();
    let command = landline(["call", "--tls", "--connect-timeout", "1s", &typed, "hello"]);
    let output = run(command, Stdio::null());
    assert_eq!(code(&output), 5);
    let said = text(&output.stderr);
    let told = format!("cannot speak TLS with {typed}: the handshake was not done within 1s\n  hint: ");
    assert!(said.contains(&told), "{said}");
}

#[test]
fn a_server_that_closes_within_the_handshake_is_a_failure_of_tls() {
    let closes = |mut stream: std::net::TcpStream| {
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    };
    let resets = |mut stream: std::net::TcpStream| {
        stream.read_exact(&mut [0]).unwrap();
        reset(stream);
    };
    for (server, how) in [(server(closes), "closed"), (server(resets), "reset")] {
        let typed = server.typed();
        let output = run(landline(["call", "--tls", &typed, "hello"]), Stdio::null());
        assert_refused(
            &output,
            &format!(
                "landline: error: cannot speak TLS with {typed}: the server {how} the connection within the \
                 handshake\n  hint: the server may not speak TLS, or may not want to speak to you\n"
            ),
        );
    }
}

/// Says something after a line, and goes without the end of TLS.
fn cut_off_after(said: &'static [u8]) -> impl FnOnce(Tls) + Send {
    move |mut stream: Tls| {
        stream.read_exact(&mut [0; 6]).unwrap();
        stream.write_all(said).unwrap();
        stream.sock.shutdown(Shutdown::Write).unwrap();
        let _ = std::io::copy(&mut stream.sock, &mut std::io::sink());
    }
}

#[test]
fn an_end_without_the_end_of_tls_is_told_once_everything_is_printed() {
    const WORDS: &str = "the connection ended without a TLS close: what came may be cut off\n";
    let authority = Authority::new();
    let folder = Folder::new();
    let cacert = folder.file("ca.pem", &authority.pem());
    let server = tls_server(authority.issue().server(), cut_off_after(b"HELLO\nand mo"));
    let output = run(landline(["call", "--tls", "--cacert", &cacert, &server.typed()]), given(b"hello\n"));
    assert_eq!((code(&output), text(&output.stdout)), (6, "HELLO\nand mo".to_owned()));
    assert!(text(&output.stderr).ends_with(WORDS), "{output:?}");

    let server = tls_server(authority.issue().server(), cut_off_after(b"HELLO\n"));
    let output = ask(&authority, &server.typed(), &[]);
    assert_eq!((code(&output), text(&output.stdout)), (0, "HELLO\n".to_owned()), "a whole line is whole");

    let server = tls_server(authority.issue().server(), cut_off_after(b"HELLO"));
    let output = ask(&authority, &server.typed(), &[]);
    assert_eq!((code(&output), text(&output.stdout)), (6, "HELLO".to_owned()));
    assert!(text(&output.stderr).ends_with(WORDS), "{output:?}");
}

#[test]
fn a_pipe_ends_its_side_alone_and_a_mebibyte_passes_each_way() {
    const LEN: usize = 1 << 20;
    let authority = Authority::new();
    let folder = Folder::new();
    let cacert = folder.file("ca.pem", &authority.pem());
    let bytes: Vec<u8> = (0..=250).cycle().take(LEN).collect();
    for version in [&TLS12, &TLS13] {
        let server = tls_server(authority.issue().server_for(None, &[version]), |mut stream| {
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            heard.reverse();
            stream.write_all(&heard).unwrap();
            close(stream);
        });
        let command = landline(["call", "--tls", "--cacert", &cacert, &server.typed()]);
        let output = run(command, given(bytes.clone()));
        assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
        assert!(output.stdout.iter().eq(bytes.iter().rev()), "{} of {LEN} bytes", output.stdout.len());
        server.end();
    }
}

#[test]
fn much_data_passes_both_ways_at_once() {
    const LEN: usize = 8 << 20;
    let authority = Authority::new();
    let folder = Folder::new();
    let cacert = folder.file("ca.pem", &authority.pem());
    let server = tls_server(authority.issue().server(), |mut stream| {
        let mut piece = [0; 16 * 1024];
        while let count @ 1.. = stream.read(&mut piece).unwrap() {
            stream.write_all(&piece[..count]).unwrap();
        }
        close(stream);
    });
    let bytes: Vec<u8> = (0..=250).cycle().take(LEN).collect();
    let command = landline(["call", "--tls", "--cacert", &cacert, &server.typed()]);
    let output = run(command, given(bytes.clone()));
    assert_eq!((code(&output), text(&output.stderr)), (0, String::new()));
    assert!(output.stdout == bytes, "{} of {LEN} bytes", output.stdout.len());
}

#[test]
fn a_server_that_closes_ends_a_pipe_at_once_while_stdin_is_open() {
    let authority = Authority::new();
    let folder = Folder::new();
    let cacert = folder.file("ca.pem", &authority.pem());
    let server = tls_server(authority.issue().server(), upper_line);
    let mut running = Running::start(landline(["call", "--tls", "--cacert", &cacert, &server.typed()]));
    running.send(b"hello\n");
    running.expect(b"HELLO\n");
    assert_eq!(running.end(), (0, String::new()), "with stdin still open here");
}

#[test]
fn what_is_for_tls_alone_means_nothing_without_it() {
    for given in [
        &["--cacert", "ca.pem"][..],
        &["--cert", "a.pem"],
        &["--key", "a.pem"],
        &["--sni", "localhost"],
        &["--alpn", "h2"],
        &["--insecure"],
    ] {
        let mut command = landline(["call", "8081", "hello"]);
        command.args(given);
        let output = run(command, Stdio::null());
        let said = format!("landline: error: {} has no meaning without --tls\n  hint: add --tls\n", given[0]);
        assert_eq!((code(&output), text(&output.stderr)), (2, said));
    }
}

#[test]
fn a_file_that_will_not_do_is_told_before_anybody_is_called() {
    let folder = Folder::new();
    let issued = Authority::new().issue();
    let cert = folder.file("cert.pem", &issued.certificate.pem());
    let other = folder.file("other.pem", &Authority::new().issue().key.serialize_pem());
    let junk = folder.file("junk.pem", "no PEM at all");
    for (given, said) in [
        (&["--cacert", "/nonexistent.pem"][..], "cannot read --cacert /nonexistent.pem: no such file"),
        (&["--cacert", &junk], "there is no certificate in it"),
        (&["--cert", &cert], "there is no private key in it"),
        (&["--cert", &cert, "--key", &other], "the private key is not that of the certificate"),
        (&["--key", &other], "--key has no meaning without --cert"),
        (&["--sni", "a b"], "cannot verify a server as 'a b'"),
        (&["--alpn", "h2,,x"], "cannot offer these application protocols"),
    ] {
        // Nobody listens there: that would be told, if it were tried.
        let mut command = landline(["call", "--tls", "127.0.0.1:1", "hello"]);
        command.args(given);
        let output = run(command, Stdio::null());
        assert_eq!(code(&output), 2, "{output:?}");
        assert!(text(&output.stderr).contains(said), "{output:?}");
    }
}
