//! TLS, on rustls.

pub(crate) mod client;
