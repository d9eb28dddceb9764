//! What can be wrong with what a listener is to speak TLS with, and how that is said.

use super::{Tls, TlsBuilder, TlsFiles, self_signed};

fn error(builder: &TlsBuilder) -> String {
    builder.build().unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_what_may_be_done() {
    let (one, other) = (self_signed(["one.test"]).unwrap(), self_signed(["other.test"]).unwrap());
    let good = || Tls::builder().identity(&one.certificate, &one.key);
    assert!(good().build().is_ok());
    for (builder, expected) in [
        (Tls::builder(), "cannot speak TLS: there is no identity"),
        (good().identity(b"", &other.key), "cannot use certificate 2: there is no certificate in it"),
        (
            good().identity(&other.certificate, b"x"),
            "cannot use private key 2: there is no private key in it",
        ),
        (
            good().identity(&other.certificate, &one.key),
            "cannot use private key 2: its private key does not belong to the first certificate of certificate 2",
        ),
        (
            good().identity(&other.certificate[..100], &other.key),
            "cannot use certificate 2: it is not valid PEM",
        ),
        (
            Tls::builder().identity(&one.certificate, b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"),
            "cannot use private key 1: its private key is encrypted",
        ),
        (good().client_ca(b"nothing"), "cannot use the clients' authorities: there is no certificate in it"),
        (good().revocations(b"x"), "cannot speak TLS: lists of revoked certificates mean nothing"),
        (good().client_optional(true), "cannot speak TLS: clients can't show a certificate"),
        (
            good().client_ca(&other.certificate).revocations(&other.certificate),
            "cannot use list 1 of revoked certificates: there is no list of revoked certificates in it",
        ),
        (good().alpn(["x".repeat(256)]), "cannot speak TLS: a protocol's name in ALPN has 256 bytes"),
    ] {
        let error = error(&builder);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn nothing_of_a_key_is_in_what_is_shown_of_it() {
    let made = self_signed(["one.test"]).unwrap();
    let builder = Tls::builder().identity(&made.certificate, &made.key);
    let files = TlsFiles::new(builder.clone()).read_before([("key.pem".into(), made.key.clone())]);
    let shown = format!("{made:?} {builder:?} {files:?} {:?}", builder.build().unwrap());
    assert!(!shown.contains("PRIVATE") && !shown.contains(", 1"), "{shown}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = TlsFiles::new(Tls::builder()).identity("/nowhere/chain.pem", "/nowhere/key.pem").load();
    let error = error.unwrap_err().to_string();
    assert_eq!(error, "cannot use /nowhere/chain.pem: no such file or directory; check its path");
    let error = TlsFiles::new(Tls::builder()).identity("/dev", "/nowhere/key.pem").load().unwrap_err();
    assert_eq!(error.to_string(), "cannot use /dev: it is not a file; name one in PEM");
}
