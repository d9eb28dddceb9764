//! Who may call: clients that show a certificate.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};

use super::pem::Pem;
use crate::error::Error;

/// Checks clients' certificates against those who may vouch for them, and against what was revoked.
///
/// The whole chain is checked. Once there is one list, there has to be one of each issuer in the chain:
/// whether a certificate was revoked is then never unknown. A list that is older than it says that it may be
/// is refused.
pub(super) fn verifier(
    authorities: &Pem,
    revocations: &[Pem],
    is_optional: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in authorities.certificates()? {
        roots.add(certificate).map_err(|_| {
            authorities.fault("one of its certificates can't be that of an authority; check that it holds certificates of authorities only")
        })?;
    }
    let mut lists = Vec::new();
    for revocation in revocations {
        lists.extend(revocation.revocations()?);
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .with_crls(lists)
        .enforce_revocation_expiration();
    let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| match (error, revocations.first()) {
        (VerifierBuilderError::InvalidCrl(_), Some(list)) => {
            list.fault("a list of revoked certificates can't be read; it has to be an X.509 CRL of version 2, and no delta")
        }
        _ => authorities.fault("there is no certificate of an authority in it"),
    })
}
