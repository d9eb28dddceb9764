//! TLS as `landline call` speaks it: the flags, and what to do about failures.

use std::path::Path;

use landline::client::ClientTls;
use landline::error::{Error, TlsTrouble, describe};

use super::args::{CallArgs, TlsArgs};
use crate::exit::{self, Exit, Failure};

/// How to speak TLS, or `None` for plain text.
pub(super) fn settings(args: &CallArgs) -> Result<Option<ClientTls>, Failure> {
    let given = &args.tls;
    if !given.tls {
        return match first_for_tls_alone(given) {
            None => Ok(None),
            Some(flag) => {
                let text = format!("{flag} has no meaning without --tls");
                Err(Failure::new(Exit::Usage, text).hint("add --tls"))
            }
        };
    }
    let mut tls = ClientTls::new();
    if let Some(path) = &given.cacert {
        tls = tls.cacert(&read("--cacert", path)?).map_err(|error| wrong("--cacert", path, &error))?;
    }
    match (&given.cert, &given.key) {
        (None, None) => {}
        (None, Some(_)) => {
            let text = "--key has no meaning without --cert";
            return Err(Failure::new(Exit::Usage, text).hint("add --cert with the certificate of that key"));
        }
        (Some(cert), key) => {
            let certificate = read("--cert", cert)?;
            let private_key = key.as_ref().map(|path| read("--key", path)).transpose()?;
            let known = tls.identity(&certificate, private_key.as_ref().unwrap_or(&certificate));
            tls = known.map_err(|error| match key {
                Some(key) => {
                    let text = format!("--cert {} --key {}: {error}", shown(cert), shown(key));
                    Failure::new(Exit::Usage, text)
                }
                None => wrong("--cert", cert, &error).hint("--key names the file with the private key"),
            })?;
        }
    }
    if let Some(name) = &given.sni {
        tls = tls.server_name(name)?;
    }
    tls = tls.alpn(given.alpn.iter().map(String::as_bytes))?;
    if given.insecure {
        exit::warn(&format!("--insecure: nobody verifies that it is {} that answers", args.address));
        tls = tls.insecure();
    }
    Ok(Some(tls))
}

fn first_for_tls_alone(given: &TlsArgs) -> Option<&'static str> {
    let flags = [
        ("--cacert", given.cacert.is_some()),
        ("--cert", given.cert.is_some()),
        ("--key", given.key.is_some()),
        ("--sni", given.sni.is_some()),
        ("--alpn", !given.alpn.is_empty()),
        ("--insecure", given.insecure),
    ];
    flags.iter().find(|(_, is_given)| *is_given).map(|(flag, _)| *flag)
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        let text = format!("cannot read {flag} {}: {}", shown(path), describe(&error));
        Failure::new(Exit::Usage, text)
    })
}

fn wrong(flag: &str, path: &Path, error: &Error) -> Failure {
    Failure::new(Exit::Usage, format!("{flag} {}: {error}", shown(path)))
}

fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    landline::event::escape(path.as_os_str().as_bytes(), landline::event::Charset::Utf8)
}

/// A failure of a connection, with what may be done about it if TLS has to do with it.
pub(super) fn failed(error: Error) -> Failure {
    let hint = error.tls_trouble().and_then(hint);
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn hint(trouble: TlsTrouble) -> Option<&'static str> {
    Some(match trouble {
        TlsTrouble::NotTls => "remove --tls",
        TlsTrouble::PlainText => "add --tls",
        TlsTrouble::UnknownIssuer => "--cacert names a file with the authority to trust",
        TlsTrouble::SelfSigned => "if it is the right one, --cacert names a file with it to trust",
        TlsTrouble::WrongName => "--sni says under which name the server is known",
        TlsTrouble::OutOfDate => "if this machine's clock is right, the server needs another certificate",
        TlsTrouble::CertificateWanted => "--cert and --key say who you are",
        TlsTrouble::Stalled => {
            "the server may not speak TLS; --connect-timeout sets how long to wait for a connection"
        }
        TlsTrouble::Closed => "the server may not speak TLS, or may not want to speak to you",
        _ => return None,
    })
}
