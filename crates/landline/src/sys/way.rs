//! What the kernel knows of a TCP connection.

use std::fmt;
use std::time::Duration;

/// What the kernel has measured on the way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Way {
    /// Where the connection is in its life, as this end knows it.
    pub state: TcpState,
    /// How long a segment takes to the peer and its acknowledgement back, smoothed.
    pub round_trip: Duration,
    /// How many segments were sent again.
    pub retransmits: u32,
    /// How many bytes of a message fit into one segment on its way to the peer (MSS).
    pub segment_max: u32,
}

/// `ESTABLISHED, rtt 0.023ms, MSS 1448 B`; of a listener, its state alone.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Way { state, round_trip, segment_max, retransmits } = self;
        write!(f, "{state}")?;
        if *state == TcpState::Listen {
            return Ok(());
        }
        write!(f, ", rtt {:.3}ms, MSS {segment_max} B", round_trip.as_secs_f64() * 1e3)?;
        match retransmits {
            0 => Ok(()),
            count => write!(f, ", {count} sent again"),
        }
    }
}

/// The states of a TCP connection (RFC 9293, section 3.3.2), by the names they have there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcpState {
    /// Both ends may send.
    Established,
    /// We have called, and nobody has answered.
    SynSent,
    /// Somebody has called, and our answer is not acknowledged.
    SynReceived,
    /// We have sent a FIN, and it is not acknowledged.
    FinWait1,
    /// Our FIN is acknowledged; the peer may still send.
    FinWait2,
    /// Both have ended, we first: the pair of addresses is kept for a while, so that nothing late gets into a
    /// later connection.
    TimeWait,
    /// There is no connection.
    Closed,
    /// The peer has sent a FIN; we may still send.
    CloseWait,
    /// Both have sent a FIN, the peer first, and ours is not acknowledged.
    LastAck,
    /// It waits for callers.
    Listen,
    /// Both have sent a FIN at once.
    Closing,
}

impl TcpState {
    /// Linux's numbers are this order, from 1.
    #[cfg(target_os = "linux")]
    const ALL: [Self; 11] = [
        Self::Established,
        Self::SynSent,
        Self::SynReceived,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Closed,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
    ];

    #[cfg(target_os = "linux")]
    fn of_linux(number: u8) -> Self {
        let at = usize::from(number).checked_sub(1);
        at.and_then(|at| Self::ALL.get(at)).copied().unwrap_or(Self::Closed)
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TcpState::Established => "ESTABLISHED",
            TcpState::SynSent => "SYN-SENT",
            TcpState::SynReceived => "SYN-RECEIVED",
            TcpState::FinWait1 => "FIN-WAIT-1",
            TcpState::FinWait2 => "FIN-WAIT-2",
            TcpState::TimeWait => "TIME-WAIT",
            TcpState::Closed => "CLOSED",
            TcpState::CloseWait => "CLOSE-WAIT",
            TcpState::LastAck => "LAST-ACK",
            TcpState::Listen => "LISTEN",
            TcpState::Closing => "CLOSING",
        })
    }
}

/// What the kernel has measured on the connection that has this descriptor now; none if it is no TCP
/// connection.
#[cfg(target_os = "linux")]
pub(crate) fn way(descriptor: usize) -> Option<Way> {
    let info: libc::tcp_info =
        super::socket::option(i32::try_from(descriptor).ok()?, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Some(Way {
        state: TcpState::of_linux(info.tcpi_state),
        round_trip: Duration::from_micros(u64::from(info.tcpi_rtt)),
        retransmits: info.tcpi_total_retrans,
        segment_max: info.tcpi_snd_mss,
    })
}

/// What the kernel has measured: not asked for here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn way(_: usize) -> Option<Way> {
    None
}
