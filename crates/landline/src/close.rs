//! Why a connection ended.

use std::{fmt, io};

/// Why a connection ended. Every connection ends with exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "log", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer ended its side, and everything it had asked was answered.
    PeerClosed,
    /// The peer reset the connection.
    PeerReset,
    /// The peer stopped acknowledging; the kernel gave it up.
    PeerVanished,
    /// The handler or the service ended it.
    ServerClosed,
    /// The handler or the service returned an error.
    HandlerFailed,
    /// The handler or the service panicked.
    HandlerPanicked,
    /// A message was longer than `max_message`.
    MessageTooLong,
    /// The peer ended its side within a message.
    MessageTruncated,
    /// A message stayed unfinished for longer than `message_timeout`.
    MessageTimeout,
    /// The peer took nothing for longer than `write_timeout` while replies waited.
    WriteTimeout,
    /// Nothing was said for longer than `idle_timeout`.
    IdleTimeout,
    /// What comes before the first message took longer than `handshake_timeout`.
    HandshakeTimeout,
    /// The two sides found no way to talk in secret, or did not trust each other.
    HandshakeFailed,
    /// A message came more slowly than `min_receive_rate`.
    TooSlow,
    /// The connection lasted longer than `max_connection_time`.
    ConnectionTimeout,
    /// The connection reached `max_connection_age`, and was between two messages.
    Retired,
    /// The server was full, and this connection had been idle for longest.
    Reclaimed,
    /// Somebody who runs the server told this connection to end.
    Operator,
    /// The server drained, and the connection was between two messages.
    Drained,
    /// The server drained, and the connection was not done at the deadline.
    DrainDeadline,
    /// The server was told to stop at once.
    Cut,
    /// Reading or writing failed in a way that says nothing about the peer.
    IoFailed,
    /// The process that served it died in the middle of something, and the one that took its place could not
    /// go on.
    WorkerDied,
    /// The process that served it died of a fault, or stood still, while it was being served, and so did the
    /// one that took its place.
    Poison,
}

/// What is done with the socket when a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// End our side, read for a moment what is still coming, close: so that the last reply is not lost to a
    /// reset.
    Linger,
    /// Close: there is nothing to wait for, or no time to.
    Close,
    /// Reset: what is queued would only take up memory.
    Reset,
}

impl CloseReason {
    /// Every reason, in the order the docs list them.
    pub const ALL: [CloseReason; 24] = [
        Self::PeerClosed,
        Self::PeerReset,
        Self::PeerVanished,
        Self::ServerClosed,
        Self::HandlerFailed,
        Self::HandlerPanicked,
        Self::MessageTooLong,
        Self::MessageTruncated,
        Self::MessageTimeout,
        Self::WriteTimeout,
        Self::IdleTimeout,
        Self::HandshakeTimeout,
        Self::HandshakeFailed,
        Self::TooSlow,
        Self::ConnectionTimeout,
        Self::Retired,
        Self::Reclaimed,
        Self::Operator,
        Self::Drained,
        Self::DrainDeadline,
        Self::Cut,
        Self::IoFailed,
        Self::WorkerDied,
        Self::Poison,
    ];

    /// The name under which JSON and the metrics know it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeerClosed => "peer_closed",
            Self::PeerReset => "peer_reset",
            Self::PeerVanished => "peer_vanished",
            Self::ServerClosed => "server_closed",
            Self::HandlerFailed => "handler_failed",
            Self::HandlerPanicked => "handler_panicked",
            Self::MessageTooLong => "message_too_long",
            Self::MessageTruncated => "message_truncated",
            Self::MessageTimeout => "message_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeFailed => "handshake_failed",
            Self::TooSlow => "too_slow",
            Self::ConnectionTimeout => "connection_timeout",
            Self::Retired => "retired",
            Self::Reclaimed => "reclaimed",
            Self::Operator => "operator",
            Self::Drained => "drained",
            Self::DrainDeadline => "drain_deadline",
            Self::Cut => "cut",
            Self::IoFailed => "io_failed",
            Self::WorkerDied => "worker_died",
            Self::Poison => "poison",
        }
    }

    /// Its words, as the log has them after `closed: `.
    pub const fn words(self) -> &'static str {
        match self {
            Self::PeerClosed => "closed by client",
            Self::PeerReset => "reset by client",
            Self::PeerVanished => "client vanished",
            Self::ServerClosed => "closed by server",
            Self::HandlerFailed => "service failed",
            Self::HandlerPanicked => "service panicked",
            Self::MessageTooLong => "message too long",
            Self::MessageTruncated => "client ended within a message",
            Self::MessageTimeout => "message unfinished for too long",
            Self::WriteTimeout => "client took no reply for too long",
            Self::IdleTimeout => "idle for too long",
            Self::HandshakeTimeout => "handshake took too long",
            Self::HandshakeFailed => "handshake failed",
            Self::TooSlow => "message came too slowly",
            Self::ConnectionTimeout => "connected for too long",
            Self::Retired => "old enough to call again",
            Self::Reclaimed => "idle, and the place was needed",
            Self::Operator => "closed by operator",
            Self::Drained => "closed by drain",
            Self::DrainDeadline => "cut at the drain deadline",
            Self::Cut => "cut",
            Self::IoFailed => "input or output failed",
            Self::WorkerDied => "its process died within a message",
            Self::Poison => "its process died of it twice",
        }
    }

    /// The reason that an error of reading or writing stands for.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Self::PeerReset
            }
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Self::PeerVanished
            }
            _ => Self::IoFailed,
        }
    }

    /// Whether it ended between two messages, so that nothing may be on its way in either direction.
    pub(crate) fn is_at_rest(self) -> bool {
        matches!(self, Self::IdleTimeout | Self::Retired | Self::Reclaimed | Self::Drained)
    }

    pub(crate) fn farewell(self) -> Farewell {
        match self {
            Self::ServerClosed
            | Self::HandlerFailed
            | Self::HandlerPanicked
            | Self::MessageTooLong
            | Self::MessageTimeout
            | Self::IdleTimeout
            | Self::HandshakeFailed
            | Self::TooSlow
            | Self::ConnectionTimeout
            | Self::Retired
            | Self::Reclaimed
            | Self::Operator
            | Self::Drained => Farewell::Linger,
            Self::PeerClosed
            | Self::PeerReset
            | Self::PeerVanished
            | Self::HandshakeTimeout
            | Self::MessageTruncated
            | Self::DrainDeadline
            | Self::Cut
            | Self::IoFailed
            | Self::WorkerDied
            | Self::Poison => Farewell::Close,
            Self::WriteTimeout => Farewell::Reset,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}
