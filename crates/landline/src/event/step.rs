//! What happens to a socket, step by step: for those who learn, or look for what goes wrong between two ends.

use std::fmt;

use super::{Charset, ListenAddr};
use crate::close::CloseReason;
use crate::sys::way::{TcpState, Way};

/// One step in the life of a socket, as [`Subscriber::step`](super::Subscriber::step) is told of it. There are
/// several for each message, so only who asks for them is. Its `Display` is one line of text without a time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketStep {
    /// The number of the connection; none for a listener.
    pub id: Option<u64>,
    /// What happened.
    pub kind: StepKind,
    /// What the kernel says of the socket after it; none if it is none of TCP, or the system does not tell.
    pub way: Option<Way>,
}

/// What happens to a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepKind {
    /// A socket for a listener was made. This and the two after it are told together, once it listens; a
    /// socket that was there before has only the last.
    Socket {
        /// Where it is to listen.
        address: ListenAddr,
    },
    /// It got its address.
    Bound {
        /// The address; the port is the real one.
        address: ListenAddr,
    },
    /// The kernel makes connections with whoever calls there.
    Listening {
        /// How many of them it keeps until they are accepted.
        backlog: u32,
    },
    /// A connection was taken from the listener's queue.
    Accepted,
    /// The two ends have agreed on keys.
    Secured,
    /// Bytes were received: plain ones, where TLS is spoken.
    Received {
        /// How many.
        bytes: usize,
        /// How many have come in all.
        total: u64,
    },
    /// Bytes were handed to the kernel, to be sent: plain ones, where TLS is spoken.
    Sent {
        /// How many.
        bytes: usize,
        /// How many there were in all.
        total: u64,
    },
    /// The peer has ended its side: it sent a FIN.
    PeerEnded,
    /// Our side has ended: a FIN goes out.
    Ended,
    /// The connection was lost.
    Lost {
        /// How: reset, most often.
        reason: CloseReason,
    },
    /// The socket is about to be closed.
    Closing {
        /// In which way the connection ends.
        ends: Ends,
    },
}

/// How the two sides of a connection have ended when its socket is closed. Whoever ends first has the pair of
/// addresses in TIME-WAIT for a while, so that nothing late gets into a later connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Ends {
    /// Neither has: closing sends our FIN.
    #[default]
    Neither,
    /// The peer's has, and closing sends our FIN.
    PeerOnly,
    /// Ours has, and the peer's has not yet.
    OursOnly,
    /// Both have, the peer's first.
    PeerFirst,
    /// Both have, ours first.
    OursFirst,
    /// Closing sends an RST: something was left unread, or is not to be waited for.
    Reset,
    /// The connection was lost before.
    Lost,
}

impl Ends {
    pub(crate) fn with_peers(self) -> Self {
        match self {
            Ends::Neither => Ends::PeerOnly,
            Ends::OursOnly => Ends::OursFirst,
            ends => ends,
        }
    }

    pub(crate) fn with_ours(self) -> Self {
        match self {
            Ends::Neither => Ends::OursOnly,
            Ends::PeerOnly => Ends::PeerFirst,
            ends => ends,
        }
    }
}

impl StepKind {
    /// The name of every kind of step, in the order the docs list them.
    pub const NAMES: [&str; 11] =
        ["socket", "bind", "listen", "accept", "tls", "receive", "send", "peer_fin", "fin", "lost", "close"];

    /// The name under which JSON and the docs know it.
    pub const fn name(&self) -> &'static str {
        match self {
            StepKind::Socket { .. } => "socket",
            StepKind::Bound { .. } => "bind",
            StepKind::Listening { .. } => "listen",
            StepKind::Accepted => "accept",
            StepKind::Secured => "tls",
            StepKind::Received { .. } => "receive",
            StepKind::Sent { .. } => "send",
            StepKind::PeerEnded => "peer_fin",
            StepKind::Ended => "fin",
            StepKind::Lost { .. } => "lost",
            StepKind::Closing { .. } => "close",
        }
    }
}

impl fmt::Display for SocketStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(Charset::Ascii))
    }
}

impl SocketStep {
    /// One line, without a time, in the given character set: a word for the step, a sentence for whoever has not
    /// seen it before, and what the kernel says.
    pub fn line(&self, charset: Charset) -> String {
        let id = self.id.map(|id| format!("#{id} ")).unwrap_or_default();
        let facts = self.facts().map(|way| format!(" [{way}]")).unwrap_or_default();
        format!("{id}{:<8} {}{facts}", self.word(), self.sentence(charset))
    }

    /// What the kernel says, as long as the socket knows: what is in TIME-WAIT is no longer its.
    fn facts(&self) -> Option<Way> {
        self.way.filter(|way| way.state != TcpState::Closed)
    }

    fn is_tcp(&self) -> bool {
        self.way.is_some()
    }

    fn word(&self) -> &'static str {
        match &self.kind {
            StepKind::PeerEnded | StepKind::Ended if self.is_tcp() => "FIN",
            StepKind::PeerEnded | StepKind::Ended => "end",
            StepKind::Secured => "TLS",
            StepKind::Lost { reason: CloseReason::PeerReset } => "reset",
            kind => kind.name(),
        }
    }

    /// What happened, in words; without what the kernel says.
    fn sentence(&self, charset: Charset) -> String {
        let words = match &self.kind {
            StepKind::Socket { address: ListenAddr::Ip(_) } => "a socket of TCP, which has no address yet",
            StepKind::Socket { .. } => "a socket for this machine alone, which has no name yet",
            StepKind::Bound { address } => return format!("its address is {}", address.line(charset)),
            StepKind::Listening { backlog } => {
                return format!(
                    "from here on the kernel makes connections with whoever calls, and keeps up to {backlog} \
                     until they are accepted"
                );
            }
            StepKind::Accepted if self.is_tcp() => {
                "SYN, SYN-ACK and ACK went to and fro, by the kernel; now the connection has a socket of its own"
            }
            StepKind::Accepted => "the kernel had made the connection; now it has a socket of its own",
            StepKind::Secured => "both ends have agreed on keys; all that follows is encrypted",
            StepKind::Received { bytes, total } => {
                return with_first(*bytes, *total, "TCP keeps their order, and no mark where messages end");
            }
            StepKind::Sent { bytes, total } => {
                return with_first(
                    *bytes,
                    *total,
                    "the kernel has them now, and sees to it that they arrive",
                );
            }
            StepKind::PeerEnded => "received: the client has nothing more to say, and may still listen",
            StepKind::Ended => "sent: this end has nothing more to say, and still listens",
            StepKind::Lost { reason: CloseReason::PeerReset } => {
                "an RST came: the client has dropped the connection at once"
            }
            StepKind::Lost { reason } => reason.words(),
            StepKind::Closing { ends } => self.last_words(*ends),
        };
        words.to_owned()
    }

    fn last_words(&self, ends: Ends) -> &'static str {
        match ends {
            Ends::Lost => "nothing is left of the connection",
            _ if !self.is_tcp() => "the connection is over",
            Ends::PeerOnly => "a FIN goes out; the client finished first, so TIME-WAIT is on its side",
            Ends::PeerFirst => "both ends have finished, the client first: TIME-WAIT is on its side",
            Ends::OursFirst => {
                "both ends have finished, this one first: the kernel keeps the connection's addresses in TIME-WAIT \
                 for a minute, so that nothing late gets into a later connection"
            }
            Ends::OursOnly => {
                "this end has finished first; the kernel waits for the client's FIN, and TIME-WAIT is on this side"
            }
            Ends::Neither => {
                "a FIN goes out, and this end is gone: what the client still sends will be answered with an RST"
            }
            Ends::Reset => "an RST goes out: the connection is gone at both ends, and nothing waits",
        }
    }
}

/// The fields that JSON has: what is not known is left out.
#[cfg(feature = "log")]
impl serde::Serialize for SocketStep {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        if let Some(id) = self.id {
            map.serialize_entry("id", &id)?;
        }
        map.serialize_entry("step", self.kind.name())?;
        map.serialize_entry("text", &self.sentence(Charset::Ascii))?;
        if let StepKind::Received { bytes, .. } | StepKind::Sent { bytes, .. } = self.kind {
            map.serialize_entry("bytes", &bytes)?;
        }
        if let Some(Way { state, round_trip, segment_max, .. }) = self.facts() {
            map.serialize_entry("state", &state.to_string())?;
            map.serialize_entry("rtt_ms", &(round_trip.as_secs_f64() * 1e3))?;
            map.serialize_entry("mss", &segment_max)?;
        }
        map.end()
    }
}

/// So many bytes, and if they are the first, what there is to know of them.
fn with_first(bytes: usize, total: u64, words: &str) -> String {
    match bytes as u64 {
        first if first == total => format!("{bytes} B; {words}"),
        _ => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kind of step after this one, in the order of the names. A new kind does not compile until it has
    /// its place here.
    fn next(kind: &StepKind) -> Option<StepKind> {
        Some(match kind {
            StepKind::Socket { address } => StepKind::Bound { address: address.clone() },
            StepKind::Bound { .. } => StepKind::Listening { backlog: 1 },
            StepKind::Listening { .. } => StepKind::Accepted,
            StepKind::Accepted => StepKind::Secured,
            StepKind::Secured => StepKind::Received { bytes: 1, total: 1 },
            StepKind::Received { .. } => StepKind::Sent { bytes: 1, total: 1 },
            StepKind::Sent { .. } => StepKind::PeerEnded,
            StepKind::PeerEnded => StepKind::Ended,
            StepKind::Ended => StepKind::Lost { reason: CloseReason::PeerVanished },
            StepKind::Lost { .. } => StepKind::Closing { ends: Ends::Lost },
            StepKind::Closing { .. } => return None,
        })
    }

    #[test]
    fn the_names_are_those_of_all_kinds_of_steps() {
        let first = StepKind::Socket { address: ListenAddr::Unix("/run/socket".into()) };
        let names: Vec<&str> = std::iter::successors(Some(first), next).map(|kind| kind.name()).collect();
        assert_eq!(names, StepKind::NAMES);
    }

    #[test]
    fn whoever_ends_first_is_remembered_as_the_first() {
        let nobody = Ends::default();
        assert_eq!(nobody.with_peers().with_peers().with_ours(), Ends::PeerFirst);
        assert_eq!(nobody.with_ours().with_ours().with_peers(), Ends::OursFirst);
        assert_eq!(Ends::Lost.with_ours().with_peers(), Ends::Lost);
    }

    #[test]
    fn only_the_first_bytes_are_explained() {
        let step =
            |bytes, total| SocketStep { id: Some(7), kind: StepKind::Sent { bytes, total }, way: None };
        let first = "#7 send     6 B; the kernel has them now, and sees to it that they arrive";
        assert_eq!(
            (step(6, 6).to_string(), step(6, 12).to_string()),
            (first.into(), "#7 send     6 B".into())
        );
    }
}
