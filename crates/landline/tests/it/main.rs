//! Servers and handlers as their users see them: over a duplex with paused time where that is enough, over
//! loopback where it is not.
#![expect(clippy::unwrap_used, reason = "what a test can't go on without has failed it")]

mod admission;
#[cfg(feature = "tls")]
mod client_tls;
mod clients;
mod conversations;
mod docs;
mod drain;
mod examples;
#[cfg(all(feature = "takeover", target_os = "linux"))]
mod hostile;
mod limits;
mod listeners;
#[cfg(feature = "metrics")]
mod metrics;
mod monitor;
mod pools;
mod probe;
mod proxied;
mod push;
mod reload;
mod serving;
mod steps;
mod support;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_clients;
#[cfg(feature = "tls")]
mod tls_faults;
#[cfg(feature = "tls")]
mod tls_renewal;
#[cfg(feature = "tls")]
mod tls_support;
