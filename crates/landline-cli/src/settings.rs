//! What a server can be told, once for the command line and once for the file: a flag and a key are the same
//! field.

mod key;
mod names;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{Args, Command};
use landline::frame::Framing;
use landline::{Address, Network};
use serde::Deserialize;

pub(crate) use names::{ClientAuth, ExcessName, LogFormat, ServiceName, Switch, TlsVersionName};

use crate::units::{self, Limit};

// A doc comment on these structs would take the place of the command's own description in the help.

// What holds for the whole server. What was not said is `None`, so that whoever said it first can be found.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerSettings {
    /// Threads that serve [default: one per core]
    #[arg(long, value_name = "N", value_parser = units::count)]
    #[serde(deserialize_with = "key::count")]
    pub(crate) threads: Option<usize>,

    /// Connections at a time, as in 500 or 10k [default: 10k, or what the descriptor limit holds]
    #[arg(long, value_name = "COUNT", value_parser = units::count)]
    #[serde(deserialize_with = "key::count")]
    pub(crate) max_connections: Option<usize>,

    /// Connections at a time from one IPv4 address or one IPv6 /64 [default: no limit of their own]
    #[arg(long, value_name = "COUNT", value_parser = units::count)]
    #[serde(deserialize_with = "key::count")]
    pub(crate) max_connections_per_ip: Option<usize>,

    /// New connections per second, evenly, with one second's worth at once [default: no limit]
    #[arg(long, value_name = "COUNT", value_parser = units::per_second)]
    #[serde(deserialize_with = "key::per_second")]
    pub(crate) max_accept_rate: Option<NonZeroU32>,

    /// Callers at a time who have not finished their PROXY header or TLS handshake [default: 2000]
    #[arg(long, value_name = "COUNT", value_parser = units::count)]
    #[serde(deserialize_with = "key::count")]
    pub(crate) max_handshakes: Option<usize>,

    /// When full, close whoever has been idle for longest, and for at least this long [default: 5m]
    #[arg(long, value_name = "DUR", value_parser = units::limit)]
    #[serde(deserialize_with = "key::limit")]
    pub(crate) idle_reclaim: Option<Limit>,

    /// On stopping, how long unfinished messages are waited for before they are cut [default: 10s]
    #[arg(long, value_name = "DUR", value_parser = units::duration)]
    #[serde(deserialize_with = "key::duration")]
    pub(crate) drain_timeout: Option<Duration>,

    /// On stopping, how long callers are still taken after readiness has turned false, so that balancers
    /// notice [default: none]
    #[arg(long, value_name = "DUR", value_parser = units::limit)]
    #[serde(deserialize_with = "key::limit")]
    pub(crate) drain_delay: Option<Limit>,

    /// Where 'landline ctl' finds this server: a path, or 'none'
    /// [default: a socket of its own under `XDG_RUNTIME_DIR`, or /run for root]
    #[arg(long, value_name = "PATH")]
    #[serde(deserialize_with = "key::path")]
    pub(crate) control: Option<PathBuf>,

    /// Tell metrics and health over HTTP, at /metrics, /healthz and /readyz: PORT, or with a token any ADDR
    #[arg(long, value_name = "ADDR", value_parser = units::http)]
    #[serde(deserialize_with = "key::http")]
    pub(crate) http: Option<Address>,

    /// A file with the token, of 16 characters or more, that whoever wants the metrics has to show
    #[arg(long, value_name = "PATH")]
    #[serde(deserialize_with = "key::path")]
    pub(crate) http_token_file: Option<PathBuf>,

    /// Whether the server goes on when its process is killed: another takes its place, and its
    /// listeners and connections stay open [default: on, where the system is Linux]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    #[serde(deserialize_with = "key::name")]
    pub(crate) crash_survival: Option<Switch>,

    /// With crash survival: kill and replace a process one of whose event loops stands still for this long,
    /// and for at least 1s [default: 5s]
    #[arg(long, value_name = "DUR", value_parser = units::limit)]
    #[serde(deserialize_with = "key::limit")]
    pub(crate) watchdog_timeout: Option<Limit>,

    /// With crash survival: whether a process that dies of a fault leaves a core dump, for which callers
    /// wait [default: off]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    #[serde(deserialize_with = "key::name")]
    pub(crate) core_dumps: Option<Switch>,

    /// How events are written to stderr [default: text]
    #[arg(long, value_name = "FORMAT")]
    #[serde(deserialize_with = "key::name")]
    pub(crate) log_format: Option<LogFormat>,

    /// Started as root: who to be once all is listened on, USER or USER:GROUP; nothing serves as root then
    /// [default: whoever starts the server]
    #[arg(long, value_name = "USER", value_parser = units::user)]
    #[serde(deserialize_with = "key::user")]
    pub(crate) user: Option<String>,

    /// The group to be in, and no other [default: those of --user]
    #[arg(long, value_name = "GROUP", value_parser = units::group)]
    #[serde(deserialize_with = "key::group")]
    pub(crate) group: Option<String>,

    /// Whether what serves is kept from all files and programs that it does not need [default: off]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    #[serde(deserialize_with = "key::name")]
    pub(crate) sandbox: Option<Switch>,
}

// What holds for one listener and its connections.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ListenerSettings {
    /// What to answer [default: upper]
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "key::name")]
    pub(crate) service: Option<ServiceName>,

    /// What is one message: what a read brings, a line, or a 32-bit big-endian length and that many bytes
    /// [default: raw]
    #[arg(long, value_name = "NAME", value_parser = framing())]
    #[serde(deserialize_with = "key::framing")]
    pub(crate) framing: Option<Framing>,

    /// What happens to callers who are not let in [default: say]
    #[arg(long, value_name = "HOW")]
    #[serde(deserialize_with = "key::name")]
    pub(crate) excess: Option<ExcessName>,

    /// Let in callers from this network and nobody else, as in 10.0.0.0/8; the longest prefix decides
    #[arg(long, value_name = "NETWORK")]
    #[serde(deserialize_with = "key::networks")]
    pub(crate) allow: Vec<Network>,

    /// Refuse callers from this network; of two rules alike, the one that denies decides
    #[arg(long, value_name = "NETWORK")]
    #[serde(deserialize_with = "key::networks")]
    pub(crate) deny: Vec<Network>,

    /// Take callers from proxies of this network and from nobody else; each has to say by a PROXY header for
    /// whom it calls
    #[arg(long, value_name = "NETWORK")]
    #[serde(deserialize_with = "key::networks")]
    pub(crate) proxy_from: Vec<Network>,

    /// Close a caller that takes this long for its PROXY header, or for its TLS handshake [default: 10s]
    #[arg(long, value_name = "DUR", value_parser = units::limit)]
    #[serde(deserialize_with = "key::limit")]
    pub(crate) handshake_timeout: Option<Limit>,

    /// Close a connection on which nothing happened for this long [default: none]
    #[arg(long, value_name = "DUR", value_parser = units::limit)]
    #[serde(deserialize_with = "key::limit")]
    pub(crate) idle_timeout: Option<Limit>,

    /// Close a connection that has lasted this long, whatever it does [default: none]
    #[arg(long, value_name = "DUR", value_parser = units::limit)]
    #[serde(deserialize_with = "key::limit")]
    pub(crate) max_connection_time: Option<Limit>,

    /// Close a connection of this age, give or take a tenth, at its next message boundary [default: none]
    #[arg(long, value_name = "DUR", value_parser = units::limit)]
    #[serde(deserialize_with = "key::limit")]
    pub(crate) max_connection_age: Option<Limit>,

    /// Bytes per second that have to come, after five seconds, while a message is unfinished [default: any]
    #[arg(long, value_name = "SIZE", value_parser = units::bytes_per_second)]
    #[serde(deserialize_with = "key::bytes_per_second")]
    pub(crate) min_receive_rate: Option<NonZeroU32>,

    /// Close a connection that leaves a message unfinished for this long [default: 30s]
    #[arg(long, value_name = "DUR", value_parser = units::limit)]
    #[serde(deserialize_with = "key::limit")]
    pub(crate) message_timeout: Option<Limit>,

    /// Close a connection whose peer takes nothing for this long while replies wait [default: 30s]
    #[arg(long, value_name = "DUR", value_parser = units::limit)]
    #[serde(deserialize_with = "key::limit")]
    pub(crate) write_timeout: Option<Limit>,

    /// The longest message, as in 64KiB; 'raw' framing has no messages to measure [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    #[serde(deserialize_with = "key::size")]
    pub(crate) max_message: Option<usize>,

    /// Bytes of replies that are gathered before they are sent; while they wait nothing is read
    /// [default: 256KiB]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    #[serde(deserialize_with = "key::size")]
    pub(crate) max_unsent: Option<usize>,

    /// Connections that may wait to be accepted [default: 4096]
    #[arg(long, value_name = "COUNT", value_parser = units::small_count)]
    #[serde(deserialize_with = "key::small_count")]
    pub(crate) backlog: Option<u32>,

    /// After this silence, the kernel asks whether the peer is alive [default: 60s]
    #[arg(long, value_name = "DUR", value_parser = units::seconds)]
    #[serde(deserialize_with = "key::seconds")]
    pub(crate) keepalive_idle: Option<Duration>,

    /// How long the kernel waits between two such questions [default: 10s]
    #[arg(long, value_name = "DUR", value_parser = units::seconds)]
    #[serde(deserialize_with = "key::seconds")]
    pub(crate) keepalive_interval: Option<Duration>,

    /// After so many questions without an answer, the peer is dead [default: 6]
    #[arg(long, value_name = "COUNT", value_parser = units::probes)]
    #[serde(deserialize_with = "key::probes")]
    pub(crate) keepalive_probes: Option<u32>,

    /// A peer that acknowledges nothing for this long is dead [default: 60s]
    #[arg(long, value_name = "DUR", value_parser = units::milliseconds)]
    #[serde(deserialize_with = "key::milliseconds")]
    pub(crate) user_timeout: Option<Duration>,

    /// Who may connect to a Unix socket: its mode, in octal [default: 0600]
    #[arg(long, value_name = "MODE", value_parser = units::mode)]
    #[serde(deserialize_with = "key::mode")]
    pub(crate) unix_mode: Option<u32>,

    /// Whose a Unix socket is: USER, USER:GROUP or :GROUP [default: whoever starts the server]
    #[arg(long, value_name = "OWNER", value_parser = units::owner)]
    #[serde(deserialize_with = "key::owner")]
    pub(crate) unix_owner: Option<String>,

    /// Speak TLS: a file in PEM with the server's certificate, and then those that vouch for it; several
    /// are chosen by the name that callers ask for
    #[arg(long, value_name = "PATH", value_parser = units::path)]
    #[serde(deserialize_with = "key::paths")]
    pub(crate) tls_cert: Vec<PathBuf>,

    /// The private key of a certificate, in PEM; as many as there are certificates, in the same order
    #[arg(long, value_name = "PATH", value_parser = units::path)]
    #[serde(deserialize_with = "key::paths")]
    pub(crate) tls_key: Vec<PathBuf>,

    /// Speak TLS with a certificate that is made anew at each start, for trying out; its fingerprint is said
    #[arg(long, value_name = "on|off", hide_possible_values = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "on")]
    #[serde(deserialize_with = "key::name")]
    pub(crate) tls_self_signed: Option<Switch>,

    /// A protocol that is spoken within TLS, by its name in ALPN, as in http/1.1; the first is preferred
    /// [default: nobody is asked]
    #[arg(long, value_name = "NAME", value_parser = units::protocol)]
    #[serde(deserialize_with = "key::protocols")]
    pub(crate) tls_alpn: Vec<String>,

    /// The oldest version of TLS that is spoken [default: 1.2]
    #[arg(long, value_name = "VERSION")]
    #[serde(deserialize_with = "key::name")]
    pub(crate) tls_min_version: Option<TlsVersionName>,

    /// Let in only clients with a certificate for which one of the authorities in this file vouches, in PEM
    #[arg(long, value_name = "PATH", value_parser = units::path)]
    #[serde(deserialize_with = "key::path")]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// Whether clients without a certificate are let in, too [default: required]
    #[arg(long, value_name = "HOW")]
    #[serde(deserialize_with = "key::name")]
    pub(crate) tls_client_auth: Option<ClientAuth>,

    /// Refuse clients by the lists of revoked certificates in this file, in PEM; once there is one list,
    /// there has to be one of every issuer
    #[arg(long, value_name = "PATH", value_parser = units::path)]
    #[serde(deserialize_with = "key::paths")]
    pub(crate) tls_crl: Vec<PathBuf>,
}

impl ServerSettings {
    /// The names of the keys, which are those of the flags.
    pub(crate) fn names() -> Vec<String> {
        keys::<Self>()
    }

    /// These, and where they say nothing, `others`.
    pub(crate) fn or(self, others: Self) -> Self {
        Self {
            threads: self.threads.or(others.threads),
            max_connections: self.max_connections.or(others.max_connections),
            max_connections_per_ip: self.max_connections_per_ip.or(others.max_connections_per_ip),
            max_accept_rate: self.max_accept_rate.or(others.max_accept_rate),
            max_handshakes: self.max_handshakes.or(others.max_handshakes),
            idle_reclaim: self.idle_reclaim.or(others.idle_reclaim),
            drain_timeout: self.drain_timeout.or(others.drain_timeout),
            drain_delay: self.drain_delay.or(others.drain_delay),
            control: self.control.or(others.control),
            http: self.http.or(others.http),
            http_token_file: self.http_token_file.or(others.http_token_file),
            crash_survival: self.crash_survival.or(others.crash_survival),
            watchdog_timeout: self.watchdog_timeout.or(others.watchdog_timeout),
            core_dumps: self.core_dumps.or(others.core_dumps),
            log_format: self.log_format.or(others.log_format),
            user: self.user.or(others.user),
            group: self.group.or(others.group),
            sandbox: self.sandbox.or(others.sandbox),
        }
    }
}

impl ListenerSettings {
    /// The names of the keys, which are those of the flags.
    pub(crate) fn names() -> Vec<String> {
        keys::<Self>()
    }

    /// These, and where they say nothing, `others`. Rules by network add up: one that denies is never lost.
    /// Certificates and keys belong together: who names one names all.
    pub(crate) fn or(self, others: Self) -> Self {
        let own = if self.says_identity() { &self } else { &others };
        let (tls_cert, tls_key) = (own.tls_cert.clone(), own.tls_key.clone());
        let tls_self_signed = own.tls_self_signed;
        let list = |own: Vec<String>, others| if own.is_empty() { others } else { own };
        let files = |own: Vec<PathBuf>, others| if own.is_empty() { others } else { own };
        Self {
            tls_cert,
            tls_key,
            tls_self_signed,
            tls_alpn: list(self.tls_alpn, others.tls_alpn),
            tls_min_version: self.tls_min_version.or(others.tls_min_version),
            tls_client_ca: self.tls_client_ca.or(others.tls_client_ca),
            tls_client_auth: self.tls_client_auth.or(others.tls_client_auth),
            tls_crl: files(self.tls_crl, others.tls_crl),
            service: self.service.or(others.service),
            framing: self.framing.or(others.framing),
            excess: self.excess.or(others.excess),
            allow: [self.allow, others.allow].concat(),
            deny: [self.deny, others.deny].concat(),
            proxy_from: [self.proxy_from, others.proxy_from].concat(),
            handshake_timeout: self.handshake_timeout.or(others.handshake_timeout),
            idle_timeout: self.idle_timeout.or(others.idle_timeout),
            max_connection_time: self.max_connection_time.or(others.max_connection_time),
            max_connection_age: self.max_connection_age.or(others.max_connection_age),
            min_receive_rate: self.min_receive_rate.or(others.min_receive_rate),
            message_timeout: self.message_timeout.or(others.message_timeout),
            write_timeout: self.write_timeout.or(others.write_timeout),
            max_message: self.max_message.or(others.max_message),
            max_unsent: self.max_unsent.or(others.max_unsent),
            backlog: self.backlog.or(others.backlog),
            keepalive_idle: self.keepalive_idle.or(others.keepalive_idle),
            keepalive_interval: self.keepalive_interval.or(others.keepalive_interval),
            keepalive_probes: self.keepalive_probes.or(others.keepalive_probes),
            user_timeout: self.user_timeout.or(others.user_timeout),
            unix_mode: self.unix_mode.or(others.unix_mode),
            unix_owner: self.unix_owner.or(others.unix_owner),
        }
    }
}

impl ListenerSettings {
    /// Whether it says by which certificate TLS is spoken, or that none is.
    fn says_identity(&self) -> bool {
        !self.tls_cert.is_empty() || !self.tls_key.is_empty() || self.tls_self_signed.is_some()
    }

    /// Every file that it takes to speak TLS.
    pub(crate) fn tls_files(&self) -> impl Iterator<Item = &PathBuf> {
        self.tls_cert.iter().chain(&self.tls_key).chain(&self.tls_client_ca).chain(&self.tls_crl)
    }

    /// Whether TLS is spoken.
    pub(crate) fn speaks_tls(&self) -> bool {
        !self.tls_cert.is_empty() || !self.tls_key.is_empty() || self.tls_self_signed == Some(Switch::On)
    }
}

/// The long flags of a struct, written as keys.
fn keys<T: Args>() -> Vec<String> {
    let command = T::augment_args(Command::new(""));
    command.get_arguments().filter_map(clap::Arg::get_long).map(|flag| flag.replace('-', "_")).collect()
}

pub(crate) fn framing() -> ValueParser {
    PossibleValuesParser::new(Framing::ALL.map(Framing::name)).try_map(|name| name.parse::<Framing>()).into()
}

#[cfg(test)]
mod tests;
