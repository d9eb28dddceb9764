//! `--trace`: each step of a connection's life, in words for those who have not seen it before.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use landline::ListenAddr;
use landline::client::{Step, Stream, TcpState};
use landline::error::describe;
use landline::event::{Charset, escape};

use super::{Seen, Speaker, Watcher};

pub(super) struct Trace {
    speaker: Speaker,
    life: Life,
}

/// How far a connection is, as far as its end has to be told by it.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact, and they are independent")]
struct Life {
    /// It was called by an IP address, so that there was no name to look up.
    is_literal: bool,
    /// It is one of TCP, and not of a Unix socket.
    is_tcp: bool,
    has_tls: bool,
    has_sent: bool,
    has_received: bool,
    end: End,
    /// A failure was told; the same one may come up in several calls.
    failed: bool,
}

/// Whose side has ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum End {
    #[default]
    None,
    Ours,
    Theirs,
    OursFirst,
    TheirsFirst,
}

impl Trace {
    pub(super) fn new(speaker: Speaker) -> Self {
        Self { speaker, life: Life::default() }
    }
}

impl Watcher for Trace {
    fn see(&mut self, at: Duration, seen: &Seen<'_>, stream: Option<&Stream>) {
        let told = match seen {
            Seen::Step(step) => self.life.on_the_way(step),
            seen => self.life.on_it(seen),
        };
        let Some((what, words)) = told else { return };
        let connection = match seen {
            Seen::Step(Step::Connected { stream } | Step::Secured { stream }) => Some(*stream),
            _ => stream,
        };
        // What is in TIME-WAIT is no longer this socket's, which is closed then.
        let way = connection.and_then(Stream::way).filter(|way| way.state != TcpState::Closed);
        let facts = way.map(|way| format!(" [{way}]")).unwrap_or_default();
        self.speaker.say(&format!("{:>9} {what:<8} {words}{facts}", Since(at).to_string()));
    }
}

/// A step in one word, and in a sentence.
type Told = Option<(&'static str, String)>;

impl Life {
    fn on_the_way(&mut self, step: &Step<'_>) -> Told {
        let (what, words) = match step {
            Step::Resolving { host } => {
                self.is_literal = host.parse::<IpAddr>().is_ok();
                if self.is_literal {
                    return None;
                }
                let host = escape(host.as_bytes(), Charset::Utf8);
                ("resolve", format!("which addresses does the name {host} have?"))
            }
            Step::Resolved { .. } if self.is_literal => return None,
            Step::Resolved { addresses: [only] } => ("resolve", format!("one address: {}", only.ip())),
            Step::Resolved { addresses } => {
                let all: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
                ("resolve", format!("{} addresses, to be tried in turn: {}", all.len(), all.join(", ")))
            }
            Step::Trying { listener: ListenAddr::Ip(address) } => {
                ("connect", format!("to {address}: a SYN goes out, which asks for a connection"))
            }
            Step::Trying { listener } => ("connect", format!("to {listener}, without a network between")),
            Step::Failed { listener, cause } => ("connect", format!("to {listener} failed: {}", why(cause))),
            Step::Connected { stream } => {
                *self = Self { is_tcp: stream.peer_addr().is_some(), ..Self::default() };
                ("connect", connected(stream.peer_addr(), stream.local_addr()))
            }
            Step::Secured { stream } => {
                self.has_tls = true;
                let version = stream.tls_version().unwrap_or("TLS");
                let alpn = stream.alpn().map(|name| format!(", for {}", escape(name, Charset::Utf8)));
                let alpn = alpn.unwrap_or_default();
                (
                    "TLS",
                    format!("both ends have agreed on keys: {version}{alpn}; all that follows is encrypted"),
                )
            }
            _ => return None,
        };
        Some((what, words))
    }

    fn on_it(&mut self, seen: &Seen<'_>) -> Told {
        let fin = if self.is_tcp { "FIN" } else { "end" };
        Some(match seen {
            Seen::Sent(bytes) => {
                let first = !std::mem::replace(&mut self.has_sent, true);
                let more =
                    if first { "; the kernel has them now, and sees to it that they arrive" } else { "" };
                ("send", format!("{}{more}", self.size(bytes)))
            }
            Seen::Received(bytes) => {
                let first = !std::mem::replace(&mut self.has_received, true);
                let more = if first { "; TCP keeps their order, and no mark where messages end" } else { "" };
                ("receive", format!("{}{more}", self.size(bytes)))
            }
            Seen::Finished => {
                self.end = if self.end == End::Theirs { End::TheirsFirst } else { End::Ours };
                (fin, "sent: this end has nothing more to say, and still listens".to_owned())
            }
            Seen::Ended => {
                self.end = if self.end == End::Ours { End::OursFirst } else { End::Theirs };
                (fin, "received: the server has nothing more to say".to_owned())
            }
            Seen::Failed(_) if std::mem::replace(&mut self.failed, true) => return None,
            Seen::Failed(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                ("reset", "an RST came: the server has dropped the connection at once".to_owned())
            }
            Seen::Failed(error) => ("failed", describe(error)),
            Seen::Closing => ("close", self.last_words()),
            Seen::Step(_) => return None,
        })
    }

    fn size(&self, bytes: &[u8]) -> String {
        let way = if self.has_tls { ", encrypted on the way" } else { "" };
        format!("{} B{way}", bytes.len())
    }

    fn last_words(&self) -> String {
        let words = match self.end {
            _ if self.failed => "nothing is left of the connection",
            _ if !self.is_tcp => "the connection is over",
            End::OursFirst => {
                "both ends have finished, this one first: it stays in TIME-WAIT for a minute, so that nothing \
                 late gets into a later connection"
            }
            End::TheirsFirst => "both ends have finished, the server first: TIME-WAIT is on its side",
            End::Theirs => "a FIN goes out; the server finished first, so TIME-WAIT is on its side",
            End::Ours => "this end is gone; what the server still sends will be answered with an RST",
            End::None => {
                "a FIN goes out, and this end is gone: TIME-WAIT will be on its side, and what the server still \
                 sends will be answered with an RST"
            }
        };
        words.to_owned()
    }
}

fn connected(peer: Option<SocketAddr>, local: Option<SocketAddr>) -> String {
    match (peer, local) {
        (Some(peer), Some(local)) => {
            format!("{peer} answered with SYN-ACK, an ACK went back; this end is {local}")
        }
        _ => "somebody listens there, and the kernel has made the connection".to_owned(),
    }
}

fn why(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => {
            "refused; the host answered with an RST, since nothing listens there".to_owned()
        }
        _ => describe(cause),
    }
}

/// A time since the start.
struct Since(Duration);

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:.2}ms", self.0.as_secs_f64() * 1e3)
    }
}
