//! Everything that can happen, in one catalogue, and those who want to know.
//!
//! A new thing that can happen is a new [`Event`]; logs and metrics only subscribe. An event carries ids,
//! addresses and sizes, never a peer's bytes. What peers say is shown only to a [`Subscriber`] that asks for
//! it, and so is each [`SocketStep`] on the way.

mod callers;
mod escape;
#[cfg(feature = "log")]
mod log;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
mod step;
mod subscriber;
mod text;
#[cfg(feature = "tracing")]
mod tracing;

use std::time::Duration;

use crate::close::CloseReason;
use crate::server::ListenAddr;

pub use callers::{Named, PeerAddr, Refusal, Via};
pub use escape::{Charset, escape};
#[cfg(feature = "log")]
pub use log::{Log, LogFormat, LogOptions, LogTime};
#[cfg(feature = "metrics")]
pub use metrics::{Metrics, ServerState};
pub use step::{Ends, SocketStep, StepKind};
pub use subscriber::{Direction, Recorder, Subscriber};
#[cfg(all(feature = "takeover", target_os = "linux"))]
pub(crate) use text::signal_name;
#[cfg(feature = "log")]
pub(crate) use text::{milliseconds, milliseconds_if_known};
#[cfg(feature = "tracing")]
pub use tracing::Tracing;

pub use crate::sys::way::{TcpState, Way};

/// One thing that happened. Its `Display` is one line of text without a time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "log", derive(serde::Serialize), serde(tag = "event", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Event {
    /// A listener takes callers.
    Listening {
        /// Where.
        address: ListenAddr,
    },
    /// A listener takes no more callers, because the server was reloaded without it.
    ListenerClosed {
        /// Where it was.
        address: ListenAddr,
    },
    /// The server was reloaded; live connections stay as they are.
    Reloaded {
        /// How many listeners it has now.
        listeners: usize,
        /// How many connections it lets in now.
        max_connections: usize,
    },
    /// The server was to be reloaded, and goes on as it was.
    ReloadFailed {
        /// What was wrong. It may quote a file: [`escape`] it.
        #[cfg_attr(feature = "log", serde(serialize_with = "text::escaped_text"))]
        cause: Box<str>,
    },
    /// A listener speaks TLS by other certificates or rules from now on; live connections keep theirs.
    CertificatesReloaded {
        /// Where it listens.
        address: ListenAddr,
    },
    /// A listener was to speak TLS by other certificates or rules, and goes on with those it has. Said once
    /// for each change.
    CertificatesRefused {
        /// Where it listens.
        address: ListenAddr,
        /// What was wrong. It may quote a file: [`escape`] it.
        #[cfg_attr(feature = "log", serde(serialize_with = "text::escaped_text"))]
        cause: Box<str>,
    },
    /// The server is up.
    Started {
        /// How many connections it lets in.
        max_connections: usize,
        /// Whether that is less than it would be if the descriptor limit were higher.
        lowered: bool,
        /// How many threads serve.
        threads: usize,
    },
    /// The server serves again: its process was killed, or failed, and another took its place.
    WorkerRestarted {
        /// The signal that killed the one before; none if that failed in another way.
        signal: Option<i32>,
        /// Whether it was killed by its keeper, because one of its event loops stood still.
        watchdog: bool,
        /// The connections that it was serving at that moment, if it died of a fault or by the watchdog: one
        /// that is here again, with no answer in between, is [poison](CloseReason::Poison).
        blamed: Box<[u64]>,
        /// For how long nobody served, from its end. Callers have waited meanwhile.
        #[cfg_attr(feature = "log", serde(rename = "gap_ms", serialize_with = "text::milliseconds"))]
        gap: Duration,
        /// How often this has happened so far.
        restarts: u32,
    },
    /// Another program has taken the server over, and serves.
    Upgraded {
        /// For how long nobody served. Callers have waited meanwhile.
        #[cfg_attr(feature = "log", serde(rename = "gap_ms", serialize_with = "text::milliseconds"))]
        gap: Duration,
        /// How often this has happened so far.
        upgrades: u32,
    },
    /// Another program was to take the server over, and could not; this one serves on.
    UpgradeFailed {
        /// Why. It may quote a file: [`escape`] it.
        #[cfg_attr(feature = "log", serde(serialize_with = "text::escaped_text"))]
        cause: Box<str>,
    },
    /// Another process serves in the place of this one, which keeps the connections that the other can't go
    /// on with until they have ended.
    Parted {
        /// How many there are.
        open: usize,
        /// How long they have.
        #[cfg_attr(feature = "log", serde(rename = "timeout_ms", serialize_with = "text::milliseconds"))]
        timeout: Duration,
    },
    /// The kernel holds fewer waiting callers than the server asked it to.
    BacklogLowered {
        /// What was asked for.
        asked: u32,
        /// What `net.core.somaxconn` allows.
        allowed: u32,
    },
    /// This process took the place of one that died, and went on with its connections.
    Resumed {
        /// How many of them go on.
        resumed: usize,
        /// How many could not. Each is [closed](Self::Closed).
        lost: usize,
    },
    /// A caller was let in.
    Connected {
        /// The connection's number, from 1.
        id: u64,
        /// Who called.
        peer: PeerAddr,
        /// By way of which proxy, if that said so in a PROXY header.
        #[cfg_attr(feature = "log", serde(skip_serializing_if = "Option::is_none"))]
        via: Option<Via>,
        /// How many connections are now open, this one included.
        open: usize,
    },
    /// A connection ended.
    Closed {
        /// The connection's number.
        id: u64,
        /// Who had called.
        peer: PeerAddr,
        /// Why it ended.
        reason: CloseReason,
        /// What the handler's error, the panic or the framing said, if that is why. It may quote the peer:
        /// [`escape`] it.
        #[cfg_attr(
            feature = "log",
            serde(skip_serializing_if = "Option::is_none", serialize_with = "text::escaped")
        )]
        detail: Option<Box<str>>,
        /// How many messages were answered.
        messages: u64,
        /// How many bytes came in.
        bytes_in: u64,
        /// How many bytes went out.
        bytes_out: u64,
        /// From accept to close.
        #[cfg_attr(feature = "log", serde(rename = "lasted_ms", serialize_with = "text::milliseconds"))]
        lasted: Duration,
    },
    /// A caller was not let in.
    Refused {
        /// Who called.
        peer: PeerAddr,
        /// Why.
        reason: Refusal,
    },
    /// Accepting a caller failed in a way that concerns only that caller.
    AcceptFailed {
        /// What the operating system said.
        cause: Box<str>,
    },
    /// Descriptors or memory for new connections ran out. Said once a second at most.
    ResourcesExhausted {
        /// What the operating system said.
        cause: Box<str>,
        /// How many callers were turned away since this was last said.
        refused: u64,
    },
    /// The server takes no more callers and waits for those it has.
    DrainStarted {
        /// How many connections are open.
        open: usize,
        /// How many of them are within a message.
        busy: usize,
        /// How long it will wait.
        #[cfg_attr(feature = "log", serde(rename = "timeout_ms", serialize_with = "text::milliseconds"))]
        timeout: Duration,
    },
    /// The drain is over.
    Drained {
        /// How many connections ended by themselves since it started.
        finished: usize,
        /// How many had to be cut.
        cut: usize,
        /// How long it took.
        #[cfg_attr(feature = "log", serde(rename = "took_ms", serialize_with = "text::milliseconds"))]
        took: Duration,
    },
}

impl Event {
    /// The name of every kind of event, in the order the docs list them.
    pub const NAMES: [&str; 20] = [
        "listening",
        "listener_closed",
        "reloaded",
        "reload_failed",
        "certificates_reloaded",
        "certificates_refused",
        "started",
        "worker_restarted",
        "upgraded",
        "upgrade_failed",
        "parted",
        "backlog_lowered",
        "resumed",
        "connected",
        "closed",
        "refused",
        "accept_failed",
        "resources_exhausted",
        "drain_started",
        "drained",
    ];

    /// The name under which logs and the docs know this kind of event.
    pub const fn name(&self) -> &'static str {
        match self {
            Event::Listening { .. } => "listening",
            Event::ListenerClosed { .. } => "listener_closed",
            Event::Reloaded { .. } => "reloaded",
            Event::ReloadFailed { .. } => "reload_failed",
            Event::CertificatesReloaded { .. } => "certificates_reloaded",
            Event::CertificatesRefused { .. } => "certificates_refused",
            Event::Started { .. } => "started",
            Event::WorkerRestarted { .. } => "worker_restarted",
            Event::Upgraded { .. } => "upgraded",
            Event::UpgradeFailed { .. } => "upgrade_failed",
            Event::Parted { .. } => "parted",
            Event::BacklogLowered { .. } => "backlog_lowered",
            Event::Resumed { .. } => "resumed",
            Event::Connected { .. } => "connected",
            Event::Closed { .. } => "closed",
            Event::Refused { .. } => "refused",
            Event::AcceptFailed { .. } => "accept_failed",
            Event::ResourcesExhausted { .. } => "resources_exhausted",
            Event::DrainStarted { .. } => "drain_started",
            Event::Drained { .. } => "drained",
        }
    }

    /// Whether there is one of these for every caller, so that many callers make many of them.
    pub const fn is_per_connection(&self) -> bool {
        matches!(
            self,
            Event::Connected { .. }
                | Event::Closed { .. }
                | Event::Refused { .. }
                | Event::AcceptFailed { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn nowhere() -> ListenAddr {
        ListenAddr::Ip(SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    /// The kind of event after this one, in the order of the names. A new kind does not compile until it has
    /// its place here.
    fn next(event: &Event) -> Option<Event> {
        let (peer, cause) = (PeerAddr::Unnamed, Box::from(""));
        Some(match event {
            Event::Listening { address } => Event::ListenerClosed { address: address.clone() },
            Event::ListenerClosed { .. } => Event::Reloaded { listeners: 1, max_connections: 1 },
            Event::Reloaded { .. } => Event::ReloadFailed { cause },
            Event::ReloadFailed { .. } => Event::CertificatesReloaded { address: nowhere() },
            Event::CertificatesReloaded { address } => {
                Event::CertificatesRefused { address: address.clone(), cause }
            }
            Event::CertificatesRefused { .. } => {
                Event::Started { max_connections: 1, lowered: false, threads: 1 }
            }
            Event::Started { .. } => Event::WorkerRestarted {
                signal: Some(9),
                watchdog: true,
                blamed: [1].into(),
                gap: Duration::ZERO,
                restarts: 1,
            },
            Event::WorkerRestarted { .. } => Event::Upgraded { gap: Duration::ZERO, upgrades: 1 },
            Event::Upgraded { .. } => Event::UpgradeFailed { cause },
            Event::UpgradeFailed { .. } => Event::Parted { open: 1, timeout: Duration::ZERO },
            Event::Parted { .. } => Event::BacklogLowered { asked: 2, allowed: 1 },
            Event::BacklogLowered { .. } => Event::Resumed { resumed: 1, lost: 0 },
            Event::Resumed { .. } => Event::Connected { id: 1, peer, via: None, open: 1 },
            Event::Connected { .. } => Event::Closed {
                id: 1,
                peer,
                reason: CloseReason::PeerClosed,
                detail: None,
                messages: 0,
                bytes_in: 0,
                bytes_out: 0,
                lasted: Duration::ZERO,
            },
            Event::Closed { .. } => Event::Refused { peer, reason: Refusal::Busy },
            Event::Refused { .. } => Event::AcceptFailed { cause },
            Event::AcceptFailed { .. } => Event::ResourcesExhausted { cause, refused: 0 },
            Event::ResourcesExhausted { .. } => {
                Event::DrainStarted { open: 0, busy: 0, timeout: Duration::ZERO }
            }
            Event::DrainStarted { .. } => Event::Drained { finished: 0, cut: 0, took: Duration::ZERO },
            Event::Drained { .. } => return None,
        })
    }

    #[test]
    fn the_names_are_those_of_all_kinds_of_events() {
        let first = Event::Listening { address: nowhere() };
        let kinds: Vec<Event> = std::iter::successors(Some(first), next).collect();
        let names: Vec<&str> = kinds.iter().map(Event::name).collect();
        assert_eq!(names, Event::NAMES);
    }
}
