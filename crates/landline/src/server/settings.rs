//! What a server can be told before it serves.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Server;
use super::access::Network;
use super::config::Excess;

/// What holds for the whole server; [`Config`](crate::Config) gives each one's default and the reason for it.
impl Server {
    /// How many connections may be open at a time.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.config.max_connections = Some(count);
        self
    }

    /// How many connections may be open from one IPv4 address or one IPv6 /64.
    #[must_use]
    pub fn max_connections_per_ip(mut self, count: usize) -> Self {
        self.config.max_connections_per_ip = Some(count);
        self
    }

    /// How many new connections may come per second.
    #[must_use]
    pub fn max_accept_rate(mut self, per_second: NonZeroU32) -> Self {
        self.config.max_accept_rate = Some(per_second);
        self
    }

    /// How long a connection must have been idle to make room when the server is full; `None`: nobody does.
    #[must_use]
    pub fn idle_reclaim(mut self, idle: Option<Duration>) -> Self {
        self.config.idle_reclaim = idle;
        self
    }

    /// How many callers may be at what comes before the first message, a PROXY header or a TLS handshake.
    #[must_use]
    pub fn max_handshakes(mut self, count: usize) -> Self {
        self.config.max_handshakes = count;
        self
    }

    /// How long callers are still taken once a drain has begun and the server says that it is not ready, so
    /// that balancers have time to notice.
    #[must_use]
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.config.drain_delay = delay;
        self
    }

    /// How long a drain waits.
    #[must_use]
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.config.drain_timeout = limit;
        self
    }

    /// How many threads serve; at least one does.
    #[must_use]
    pub fn threads(mut self, count: usize) -> Self {
        self.config.threads = count.max(1);
        self
    }
}

/// What holds for the connections of this listener; [`Policy`](crate::Policy) gives each one's default and the reason for
/// it.
impl Server {
    /// Lets callers from this network in, and, unless another rule allows them, nobody else. Of the rules
    /// that match an address the one with the longest prefix decides; of two alike the one that denies.
    #[must_use]
    pub fn allow(mut self, network: Network) -> Self {
        self.policy.allow.push(network);
        self
    }

    /// Refuses callers from this network; see [`allow`](Self::allow).
    #[must_use]
    pub fn deny(mut self, network: Network) -> Self {
        self.policy.deny.push(network);
        self
    }

    /// Takes callers only by way of proxies of this network, each with a PROXY header that says for whom it
    /// calls.
    #[must_use]
    pub fn proxy_from(mut self, network: Network) -> Self {
        self.policy.proxy_from.push(network);
        self
    }

    /// What happens to callers who are not let in.
    #[must_use]
    pub fn excess(mut self, excess: Excess) -> Self {
        self.policy.excess = excess;
        self
    }

    /// How long a caller may take for its PROXY header, and for its TLS handshake; `None` is for ever.
    #[must_use]
    pub fn handshake_timeout(mut self, limit: Option<Duration>) -> Self {
        self.policy.handshake_timeout = limit;
        self
    }

    /// How long a connection may be silent between two messages; `None` is for ever.
    #[must_use]
    pub fn idle_timeout(mut self, limit: Option<Duration>) -> Self {
        self.policy.idle_timeout = limit;
        self
    }

    /// How long a connection may last; `None` is for ever.
    #[must_use]
    pub fn max_connection_time(mut self, limit: Option<Duration>) -> Self {
        self.policy.max_connection_time = limit;
        self
    }

    /// After how long a connection ends at its next message boundary; `None` is never.
    #[must_use]
    pub fn max_connection_age(mut self, age: Option<Duration>) -> Self {
        self.policy.max_connection_age = age;
        self
    }

    /// How many bytes per second have to come while a message is unfinished; `None`: any number.
    #[must_use]
    pub fn min_receive_rate(mut self, bytes_per_second: Option<NonZeroU32>) -> Self {
        self.policy.min_receive_rate = bytes_per_second;
        self
    }

    /// How long a message may stay unfinished; `None` is for ever.
    #[must_use]
    pub fn message_timeout(mut self, limit: Option<Duration>) -> Self {
        self.policy.message_timeout = limit;
        self
    }

    /// How long replies may wait while the peer takes nothing; `None` is for ever.
    #[must_use]
    pub fn write_timeout(mut self, limit: Option<Duration>) -> Self {
        self.policy.write_timeout = limit;
        self
    }

    /// The longest message, in bytes.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.policy.max_message = bytes;
        self
    }

    /// How many bytes of replies are gathered before they are sent.
    #[must_use]
    pub fn max_unsent(mut self, bytes: usize) -> Self {
        self.policy.max_unsent = bytes;
        self
    }

    /// How many connections may wait to be accepted.
    #[must_use]
    pub fn backlog(mut self, count: u32) -> Self {
        self.policy.backlog = count;
        self
    }

    /// How long a connection may be silent before the kernel asks whether the peer is alive.
    #[must_use]
    pub fn keepalive_idle(mut self, silence: Duration) -> Self {
        self.policy.keepalive_idle = silence;
        self
    }

    /// How long the kernel waits between two such questions.
    #[must_use]
    pub fn keepalive_interval(mut self, interval: Duration) -> Self {
        self.policy.keepalive_interval = interval;
        self
    }

    /// After how many unanswered questions the peer counts as dead.
    #[must_use]
    pub fn keepalive_probes(mut self, count: u32) -> Self {
        self.policy.keepalive_probes = count;
        self
    }

    /// How long sent bytes may stay unacknowledged before the peer counts as dead.
    #[must_use]
    pub fn user_timeout(mut self, limit: Duration) -> Self {
        self.policy.user_timeout = limit;
        self
    }

    /// Who may connect to a Unix socket, as the mode of its file.
    #[must_use]
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.policy.unix_mode = mode;
        self
    }

    /// The user and the group, by their numbers, that a Unix socket's file is given; `None` leaves it as it
    /// is.
    #[must_use]
    pub fn unix_owner(mut self, user: Option<u32>, group: Option<u32>) -> Self {
        self.policy.unix_owner = (user, group);
        self
    }
}
