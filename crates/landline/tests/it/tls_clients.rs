//! Listeners that let in only clients with a certificate.

use landline::CloseReason;
use landline::tls::{Tls, TlsBuilder};
use rcgen::{DnType, ExtendedKeyUsagePurpose, SerialNumber, date_time_ymd};

use crate::support::Served;
use crate::tls_support::*;

/// A listener and the two authorities: the server's own, and that of the clients.
struct Place {
    own: Authority,
    clients: Authority,
    served: Served,
}

impl Place {
    fn new(tell: impl FnOnce(TlsBuilder, &Authority) -> TlsBuilder) -> Self {
        let (own, clients) = (Authority::new(), Authority::new());
        let builder = own.identity(&["localhost"]).of(Tls::builder()).client_ca(clients.pem.as_bytes());
        let served = serve_tls(tell(builder, &clients).build().unwrap());
        Self { own, clients, served }
    }

    /// What a client with this identity gets, by either version: always the same.
    fn call(&self, identity: Option<&Identity>) -> Result<(), String> {
        let outcomes = VERSIONS.map(|version| {
            let client = Client::with(&self.own, &[version], identity);
            let outcome = client.call(address(&self.served)).is_answered();
            let (reason, detail) = close(&self.served);
            assert_eq!(reason == CloseReason::HandshakeFailed, outcome.is_err(), "{reason} {detail}");
            outcome.map_err(|_| detail)
        });
        assert_eq!(outcomes[0], outcomes[1]);
        outcomes[0].clone()
    }

    /// The same of one with a certificate of the right authority.
    fn call_as(&self, tell: impl FnOnce(&mut rcgen::CertificateParams)) -> Result<(), String> {
        self.call(Some(&self.clients.identity_with(&["client"], tell)))
    }
}

#[test]
fn a_client_with_a_certificate_is_let_in_and_one_without_is_not() {
    let place = Place::new(|builder, _| builder);
    assert_eq!(place.call_as(|_| {}), Ok(()));
    assert_eq!(place.call(None), Err("the client showed no certificate, and one is required".into()));
}

#[test]
fn a_certificate_that_is_no_good_does_not_let_anybody_in() {
    let place = Place::new(|builder, _| builder);
    let of_another = Authority::new().identity(&["client"]);
    let refused = |why: &str| Err(format!("the client's certificate {why}"));
    assert_eq!(place.call(Some(&of_another)), refused("is of an authority that is not trusted here"));
    let expired = place.call_as(|about| {
        about.not_before = date_time_ymd(2020, 1, 1);
        about.not_after = date_time_ymd(2021, 1, 1);
    });
    assert_eq!(expired, refused("has expired"));
    let early = place.call_as(|about| about.not_before = date_time_ymd(4000, 1, 1));
    assert_eq!(early, refused("is not valid yet"));
    let server_only =
        place.call_as(|about| about.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(server_only, refused("is not one for clients"));
}

#[test]
fn nothing_that_a_certificate_names_is_in_what_is_told_of_it() {
    let place = Place::new(|builder, _| builder);
    let evil = place.call_as(|about| {
        about.distinguished_name.push(DnType::CommonName, "evil\nline \u{1b}[31m");
        about.not_after = date_time_ymd(2021, 1, 1);
    });
    assert_eq!(evil, Err("the client's certificate has expired".into()));
}

#[test]
fn where_a_certificate_is_optional_one_that_is_no_good_is_still_refused() {
    let place = Place::new(|builder, _| builder.client_optional(true));
    assert_eq!(place.call(None), Ok(()));
    assert_eq!(place.call_as(|_| {}), Ok(()));
    assert!(place.call(Some(&Authority::new().identity(&["client"]))).is_err());
}

#[test]
fn whoever_was_revoked_is_refused_and_nobody_else() {
    let place = Place::new(|builder, clients| builder.revocations(clients.revokes(&[7], 4000).as_bytes()));
    let serial = |number: u64| place.call_as(|about| about.serial_number = Some(SerialNumber::from(number)));
    assert_eq!(serial(7), Err("the client's certificate was revoked".into()));
    assert_eq!(serial(8), Ok(()));
}

#[test]
fn a_list_that_has_expired_lets_nobody_in() {
    let place = Place::new(|builder, clients| builder.revocations(clients.revokes(&[7], 2025).as_bytes()));
    let expected = "the client's certificate can't be checked: the list of revoked certificates has expired";
    assert_eq!(place.call_as(|_| {}), Err(expected.into()));
}

#[test]
fn an_issuer_without_a_list_is_not_trusted_once_there_are_lists() {
    let other = Authority::new();
    let place = Place::new(|builder, _| builder.revocations(other.revokes(&[], 4000).as_bytes()));
    let expected = "the client's certificate has an issuer of whom there is no list of revoked certificates";
    assert_eq!(place.call_as(|_| {}), Err(expected.into()));
}

#[test]
fn a_client_that_does_not_trust_the_server_is_told_of_in_the_close() {
    let place = Place::new(|builder, _| builder.client_optional(true));
    let wrong_name = Client::new(&place.own).name("other.test");
    assert!(wrong_name.call(address(&place.served)).is_answered().is_err());
    let expected = (CloseReason::HandshakeFailed, "the client gave up: bad certificate".to_owned());
    assert_eq!(close(&place.served), expected);
    let stranger = Client::new(&Authority::new());
    assert!(stranger.call(address(&place.served)).is_answered().is_err());
    let expected = (CloseReason::HandshakeFailed, "the client gave up: unknown ca".to_owned());
    assert_eq!(close(&place.served), expected);
}
