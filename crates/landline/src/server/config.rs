//! Every bound and every time limit, with its default and the reason for it: those of a whole server, and
//! those of a listener.

use std::num::NonZeroU32;
use std::time::Duration;

use super::access::Network;
use crate::sys::socket::DeadPeer;

/// How many connections are let in when the descriptor limit holds as many.
pub const MAX_CONNECTIONS: usize = 10_000;

/// What happens to callers who are not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Excess {
    /// They are told `busy` or `denied` in one line, then closed properly.
    #[default]
    Say,
    /// They wait in the backlog until there is a place. This can't be joined with limits that need to know
    /// who calls.
    Wait,
    /// They are closed without a word.
    Close,
    /// They are reset.
    Reset,
}

/// What holds for a whole server, however many listeners it has. [`Server`](crate::Server) has a method for
/// each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How many connections may be open at a time; the next caller is told `busy`. Default: none said, which
    /// is 10,000 or what the descriptor limit holds, so that a server starts in any container. A number that
    /// was said and can't be held is an error.
    pub max_connections: Option<usize>,
    /// How many connections may be open from one IPv4 address or one IPv6 /64. Default: no limit of their
    /// own, because many callers share an address behind a translator or a balancer.
    pub max_connections_per_ip: Option<usize>,
    /// How many new connections may come per second, evenly, with one second's worth at once. Default: no
    /// limit.
    pub max_accept_rate: Option<NonZeroU32>,
    /// When the server is full, how long a connection must have been idle to make room for a new caller;
    /// whoever has been for longest goes. Default: 5 min. `None`: nobody makes room.
    pub idle_reclaim: Option<Duration>,
    /// How many callers may be at what comes before the first message, be it a PROXY header or a TLS handshake;
    /// who comes beyond is refused. Default: 2,000, because each costs memory and computing before anything
    /// is known of it.
    pub max_handshakes: usize,
    /// How long callers are still taken once a drain has begun and the server says that it is not ready, so
    /// that balancers have time to notice. Default: not at all.
    pub drain_delay: Duration,
    /// How long a drain waits for unfinished messages and running handlers. Default: 10 s, what supervisors
    /// allow between asking and killing.
    pub drain_timeout: Duration,
    /// How many threads serve. Default: as many as there are cores; more of them only take turns.
    pub threads: usize,
}

/// What holds for the connections of one listener. [`Server`](crate::Server) has a method for each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// What happens to callers who are not let in. Default: they are told in one line, because silence looks
    /// like a fault.
    pub excess: Excess,
    /// Who may call. Of the rules here and in `deny` that match an address the one with the longest prefix
    /// decides; one rule that allows shuts everybody else out. Default: everybody.
    pub allow: Vec<Network>,
    /// Who may not. Of two rules alike, this one decides. Default: nobody.
    pub deny: Vec<Network>,
    /// The proxies that may call, and no one else: each has to say by a PROXY header, version 1 or 2, for whom
    /// it calls, before anything else. By whom it names, callers are let in, counted and told of. On a Unix
    /// socket, whoever may open its file is one. Default: none, and then such a header is a message like any
    /// other.
    pub proxy_from: Vec<Network>,
    /// How long a caller may take for what comes before the first message: its PROXY header, then its TLS
    /// handshake, each. Default: 10 s, which programs need a fraction of even on bad links. It holds only where
    /// there is such a thing: on a plain listener nobody has to speak first.
    pub handshake_timeout: Option<Duration>,
    /// How long a connection may be silent between two messages. Default: for ever, because a person at a
    /// prompt thinks; dead peers are found by keepalive.
    pub idle_timeout: Option<Duration>,
    /// How long a connection may last, whatever it does. Default: for ever, because the length of a
    /// conversation is its own affair.
    pub max_connection_time: Option<Duration>,
    /// After how long a connection ends at its next message boundary, give or take a tenth, so that callers
    /// who come back are spread anew by a balancer. Default: never.
    pub max_connection_age: Option<Duration>,
    /// How many bytes per second have to come, from a message's sixth second on, while it is unfinished.
    /// Default: no minimum, because `message_timeout` bounds what a trickle can hold.
    pub min_receive_rate: Option<NonZeroU32>,
    /// How long a message may stay unfinished, from its first byte. Default: 30 s: a peer that sends a
    /// byte now and then holds a buffer and a slot. Too short cuts callers on slow links.
    pub message_timeout: Option<Duration>,
    /// How long replies may wait while the peer takes nothing. Default: 30 s: what waits is memory.
    /// Too short cuts callers whose link fails for a moment.
    pub write_timeout: Option<Duration>,
    /// The longest message, in bytes, delimiters not counted; `raw` has no messages to be too long. Default:
    /// 1 MiB: it bounds what one peer can make the server hold.
    pub max_message: usize,
    /// How many bytes of replies are gathered before they are sent, and how many bytes may be queued to be
    /// pushed. While replies wait nothing more is read. Default: 256 KiB. One answer may exceed it by its
    /// own length; it is sent before the next message is answered.
    pub max_unsent: usize,
    /// How many connections may wait to be accepted. Default: 4096, the kernel's own cap on most systems; it
    /// lowers more to its `net.core.somaxconn`.
    pub backlog: u32,
    /// How long a connection may be silent before the kernel asks whether the peer is alive. Default: 60 s.
    pub keepalive_idle: Duration,
    /// How long the kernel waits between two such questions. Default: 10 s.
    pub keepalive_interval: Duration,
    /// After how many unanswered questions the peer counts as dead. Default: 6.
    pub keepalive_probes: u32,
    /// How long sent bytes may stay unacknowledged before the peer counts as dead. Default: 60 s.
    pub user_timeout: Duration,
    /// Who may connect to a Unix socket, as the mode of its file. Default: 0600, its owner only, because a
    /// server is opened to others only by saying so.
    pub unix_mode: u32,
    /// The user, and the group, that a Unix socket's file is given. Default: neither is changed.
    pub unix_owner: (Option<u32>, Option<u32>),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: None,
            max_connections_per_ip: None,
            max_accept_rate: None,
            idle_reclaim: Some(Duration::from_secs(5 * 60)),
            max_handshakes: 2000,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            excess: Excess::Say,
            allow: Vec::new(),
            deny: Vec::new(),
            proxy_from: Vec::new(),
            handshake_timeout: Some(Duration::from_secs(10)),
            idle_timeout: None,
            max_connection_time: None,
            max_connection_age: None,
            min_receive_rate: None,
            message_timeout: Some(Duration::from_secs(30)),
            write_timeout: Some(Duration::from_secs(30)),
            max_message: 1 << 20,
            max_unsent: 256 << 10,
            backlog: 4096,
            keepalive_idle: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(10),
            keepalive_probes: 6,
            user_timeout: Duration::from_secs(60),
            unix_mode: 0o600,
            unix_owner: (None, None),
        }
    }
}

impl Policy {
    pub(crate) fn dead_peer(&self) -> DeadPeer {
        DeadPeer {
            keepalive_idle: self.keepalive_idle,
            keepalive_interval: self.keepalive_interval,
            keepalive_probes: self.keepalive_probes,
            user_timeout: self.user_timeout,
        }
    }
}
