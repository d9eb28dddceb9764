//! What a listener's TLS is made of.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::Tls;
use super::clients;
use super::identity::{self, Identities};
use super::pem::Pem;
use crate::error::{Error, Kind};

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2, of 2008. Those before it are not spoken.
    #[default]
    V1_2,
    /// TLS 1.3, of 2018.
    V1_3,
}

/// What a [`Tls`] is made of; nothing of it is looked at before [`build`](Self::build).
#[derive(Clone, Default)]
pub struct TlsBuilder {
    pub(super) identities: Vec<(Pem, Pem)>,
    alpn: Vec<Vec<u8>>,
    minimum: TlsVersion,
    pub(super) client_ca: Option<Pem>,
    is_client_optional: bool,
    pub(super) revocations: Vec<Pem>,
}

impl TlsBuilder {
    /// Adds a certificate with those that vouch for it, and its private key, both in PEM: the server's own
    /// certificate first; a key as PKCS#8, PKCS#1 or SEC1, without a password. Of several identities a caller
    /// gets the one with the DNS name that it asks for, exactly or by a wildcard for the first part of the
    /// name, in whichever case; who asks for another name, or for none, gets the first. At least one is
    /// needed.
    #[must_use]
    pub fn identity(mut self, chain: &[u8], key: &[u8]) -> Self {
        let number = self.identities.len() + 1;
        let chain = Pem { name: format!("certificate {number}"), bytes: chain.to_vec() };
        let key = Pem { name: format!("private key {number}"), bytes: key.to_vec() };
        self.identities.push((chain, key));
        self
    }

    /// Which protocols are spoken within TLS, the preferred first, by their names in ALPN, such as
    /// `http/1.1`: each of 1 to 255 bytes. A caller who names only others is refused; one who names none is
    /// let in. Default: none, so that nobody is asked.
    #[must_use]
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The oldest version that is spoken. Default: 1.2.
    #[must_use]
    pub fn minimum(mut self, version: TlsVersion) -> Self {
        self.minimum = version;
        self
    }

    /// Lets in only clients with a certificate for which one of these authorities, in PEM, vouches.
    /// Default: clients are not asked who they are.
    #[must_use]
    pub fn client_ca(mut self, authorities: &[u8]) -> Self {
        self.client_ca = Some(Pem { name: "the clients' authorities".into(), bytes: authorities.to_vec() });
        self
    }

    /// Whether clients without a certificate are let in, too; one that is shown is checked all the same.
    /// Default: no.
    #[must_use]
    pub fn client_optional(mut self, is_optional: bool) -> Self {
        self.is_client_optional = is_optional;
        self
    }

    /// Refuses clients by these lists of revoked certificates (CRLs), in PEM. The whole chain of a client is
    /// checked; once there is one list, there has to be one of every issuer in it, and none may be older than
    /// it says that it may be: else the client is refused. It takes [`client_ca`](Self::client_ca).
    #[must_use]
    pub fn revocations(mut self, lists: &[u8]) -> Self {
        let name = format!("list {} of revoked certificates", self.revocations.len() + 1);
        self.revocations.push(Pem { name, bytes: lists.to_vec() });
        self
    }

    /// Checks all of it.
    ///
    /// # Errors
    /// [`is_config`](Error::is_config), naming what is wrong: PEM that can't be read, a key that does not
    /// belong to its certificate, settings that contradict each other.
    pub fn build(&self) -> Result<Tls, Error> {
        let provider = Arc::new(default_provider());
        self.check()?;
        let identities =
            self.identities.iter().map(|(chain, key)| identity::certified(chain, key, &provider));
        let identities: Vec<_> = identities.collect::<Result<_, _>>()?;
        let certificate = identities.first().and_then(|(certified, _)| certified.cert.first());
        let fingerprint = certificate.map(identity::fingerprint).unwrap_or_default();
        let identities = Identities::new(identities)
            .ok_or_else(|| cannot("there is no identity; give a certificate and its private key"))?;
        let versions: &[&SupportedProtocolVersion] = match self.minimum {
            TlsVersion::V1_2 => &[&TLS13, &TLS12],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let rules = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| cannot(error.to_string()))?;
        let rules = match &self.client_ca {
            Some(authorities) => rules.with_client_cert_verifier(clients::verifier(
                authorities,
                &self.revocations,
                self.is_client_optional,
                &provider,
            )?),
            None => rules.with_no_client_auth(),
        };
        let mut rules = rules.with_cert_resolver(Arc::new(identities));
        rules.alpn_protocols.clone_from(&self.alpn);
        // Nothing is kept of a session here: whoever resumes one brings it, under a key that only this value
        // has.
        rules.session_storage = Arc::new(NoServerSessionStorage {});
        rules.ticketer =
            Ticketer::new().map_err(|_| cannot("there is no randomness for the keys of sessions"))?;
        Ok(Tls { rules: Arc::new(rules), fingerprint })
    }

    /// What can't be wrong of one part alone.
    fn check(&self) -> Result<(), Error> {
        if let Some(wrong) = self.alpn.iter().find(|name| !(1..=255).contains(&name.len())) {
            return Err(cannot(format!(
                "a protocol's name in ALPN has {} bytes; it may have 1 to 255",
                wrong.len()
            )));
        }
        if self.client_ca.is_none() && !self.revocations.is_empty() {
            return Err(cannot(
                "lists of revoked certificates mean nothing where clients are not asked for one; name the authorities that vouch for clients",
            ));
        }
        if self.client_ca.is_none() && self.is_client_optional {
            return Err(cannot(
                "clients can't show a certificate of their choice where no authority vouches for any; name those that do",
            ));
        }
        Ok(())
    }
}

fn cannot(cause: impl Into<String>) -> Error {
    Error::new(Kind::Config, "cannot speak TLS", cause)
}

/// Nothing of its keys.
impl fmt::Debug for TlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsBuilder")
            .field("identities", &self.identities.len())
            .field("minimum", &self.minimum)
            .field("asks_clients", &self.client_ca.is_some())
            .finish_non_exhaustive()
    }
}
