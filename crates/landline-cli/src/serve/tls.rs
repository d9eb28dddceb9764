//! What listeners speak TLS with: from settings and files to what the library takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use landline::Server;
use landline::error::Error;
use landline::tls::{SelfSigned, Tls, TlsFiles, TlsVersion, self_signed};

use super::survival::LastGood;
use crate::bundle::Bundle;
use crate::config::in_one_line;
use crate::exit::{Exit, Failure};
use crate::settings::{ClientAuth, ListenerSettings, Switch, TlsVersionName};
use crate::setup::{Listener, Setup};

/// Every listener's certificates, read and checked, and all that was read for them.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// In the order of the listeners; none for those that speak no TLS.
    each: Vec<Option<(TlsFiles, Tls)>>,
    pub(super) bundle: Bundle,
    /// What is to be said of those that nobody vouches for.
    pub(super) fingerprints: Vec<String>,
}

impl Certificates {
    /// Reads what the setup names. What is known from before goes before what lies on the disk.
    pub(super) fn read(setup: &Setup) -> Result<Self, Failure> {
        let mut all = Self::default();
        all.bundle.config.clone_from(&setup.known.config);
        for listener in &setup.listeners {
            let one =
                listener.settings.speaks_tls().then(|| all.read_one(listener, &setup.known)).transpose()?;
            all.each.push(one);
        }
        Ok(all)
    }

    fn read_one(&mut self, listener: &Listener, known: &Bundle) -> Result<(TlsFiles, Tls), Failure> {
        let (settings, address) = (&listener.settings, listener.address.to_string());
        let mut builder = Tls::builder();
        let is_made = settings.tls_self_signed == Some(Switch::On);
        if is_made {
            let made = match known.made.get(&address) {
                Some(made) => made.clone(),
                None => make(listener)?,
            };
            builder = builder.identity(&made.0, &made.1);
            self.bundle.made.insert(address.clone(), made);
        }
        builder = builder.alpn(settings.tls_alpn.iter().map(String::as_str));
        builder = builder.client_optional(settings.tls_client_auth == Some(ClientAuth::Optional));
        if let Some(TlsVersionName::V1_3) = settings.tls_min_version {
            builder = builder.minimum(TlsVersion::V1_3);
        }
        let files = TlsFiles::new(builder).read_before(known.files.clone());
        let pairs = settings.tls_cert.iter().zip(&settings.tls_key);
        let files = pairs.fold(files, |files, (chain, key)| files.identity(chain, key));
        let files = settings.tls_client_ca.iter().fold(files, TlsFiles::client_ca);
        let mut files = settings.tls_crl.iter().fold(files, TlsFiles::revocations);
        let tls = files.load().map_err(|error| failure(&error))?;
        self.bundle.files.extend(files.contents().clone());
        if is_made {
            let words = format!("self-signed certificate of {address}: SHA-256 {}", tls.fingerprint());
            self.fingerprints.push(words);
        }
        Ok((files, tls))
    }

    /// Has the servers speak TLS that are to, and renew what they speak it with; in the order of the
    /// listeners.
    pub(super) fn apply(self, servers: Vec<Server>, last_good: &Arc<LastGood>) -> Vec<Server> {
        let apply = |(server, one): (Server, Option<(TlsFiles, Tls)>)| {
            let Some((mut files, tls)) = one else { return server };
            let last_good = Arc::clone(last_good);
            server.tls(tls).tls_source(move || {
                let changed = files.changed()?;
                if changed.is_some() {
                    last_good.renew(files.contents());
                }
                Ok(changed)
            })
        };
        servers.into_iter().zip(self.each).map(apply).collect()
    }
}

/// Makes a certificate for a listener.
fn make(listener: &Listener) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let host = listener.address.host().filter(|host| {
        let is_any = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        !host.is_empty() && !is_any
    });
    let SelfSigned { certificate, key, .. } = self_signed(host).map_err(|error| failure(&error))?;
    Ok((certificate, key))
}

fn failure(error: &Error) -> Failure {
    // The library says what may be done after the cause.
    let text = error.to_string();
    match text.split_once("; ") {
        Some((text, hint)) => Failure::new(Exit::Usage, in_one_line(text)).hint(in_one_line(hint)),
        None => Failure::new(Exit::Usage, in_one_line(&text)),
    }
}

/// What is wrong with what a listener says of TLS, without a look at any file: the cause and a hint.
pub(crate) fn fault(settings: &ListenerSettings) -> Option<(&'static str, &'static str)> {
    let (certificates, keys) = (settings.tls_cert.len(), settings.tls_key.len());
    let is_off = settings.tls_self_signed == Some(Switch::Off);
    let is_made = settings.tls_self_signed == Some(Switch::On);
    let others = !settings.tls_alpn.is_empty()
        || settings.tls_min_version.is_some()
        || settings.tls_client_ca.is_some()
        || settings.tls_client_auth.is_some()
        || !settings.tls_crl.is_empty();
    if certificates != keys {
        return Some((
            "there have to be as many private keys as certificates",
            "say tls_cert and tls_key in pairs, in the same order",
        ));
    }
    if is_made && certificates > 0 {
        return Some((
            "a listener has certificates of its own, or makes one",
            "leave out one of tls_cert and tls_self_signed",
        ));
    }
    if others && !settings.speaks_tls() && !is_off {
        return Some((
            "what is said of TLS has no meaning where it is not spoken",
            "name a certificate (tls_cert) and its key (tls_key), or say tls_self_signed, or tls_self_signed = \"off\" where none is wanted",
        ));
    }
    if settings.tls_client_ca.is_none() && settings.tls_client_auth.is_some() {
        return Some((
            "clients can't be asked for certificates for which nobody vouches",
            "name the authorities with tls_client_ca",
        ));
    }
    if settings.tls_client_ca.is_none() && !settings.tls_crl.is_empty() {
        return Some((
            "lists of revoked certificates have no meaning where clients are not asked for one",
            "name the authorities with tls_client_ca",
        ));
    }
    None
}

/// Checks that what is to be remembered can be.
pub(super) fn check_size(bundle: &Bundle, most: usize) -> Result<(), Failure> {
    let size = bundle.to_bytes().len();
    if size <= most {
        return Ok(());
    }
    let text = format!(
        "the configuration and all files of certificates have {size} bytes, which is more than {most}"
    );
    Err(Failure::new(Exit::Usage, text)
        .hint("the next process could not go by them; shorten them, or say --crash-survival off"))
}

/// Files by their paths.
pub(super) type Contents = BTreeMap<std::path::PathBuf, Vec<u8>>;
