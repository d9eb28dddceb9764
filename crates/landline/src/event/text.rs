//! Events in words.

use std::fmt;
use std::time::Duration;

use super::{Charset, Event, ListenAddr, Named, PeerAddr, Via, escape};

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(Charset::Ascii))
    }
}

impl Event {
    /// One line, without a time, in the given character set. Nothing in it came from a peer unescaped.
    pub fn line(&self, charset: Charset) -> String {
        let dot = charset.dot();
        match self {
            Event::Listening { address } => format!("listening on {}", address.line(charset)),
            Event::ListenerClosed { address } => format!("no longer listening on {}", address.line(charset)),
            Event::Reloaded { listeners, max_connections } => format!(
                "reloaded: {} {dot} up to {max_connections} connections",
                count(*listeners as u64, "listener")
            ),
            Event::ReloadFailed { cause } => {
                format!("{}; all stays as it was", escape(cause.as_bytes(), charset))
            }
            Event::CertificatesReloaded { address } => renewed(address, None, charset),
            Event::CertificatesRefused { address, cause } => renewed(address, Some(cause), charset),
            Event::Started { max_connections, lowered, threads } => {
                let why = if *lowered { " (the descriptor limit holds no more)" } else { "" };
                format!("up to {max_connections} connections{why} {dot} {}", count(*threads as u64, "thread"))
            }
            Event::WorkerRestarted { signal, watchdog, blamed, gap, restarts } => {
                let cause = cause_of_restart(*signal, *watchdog, blamed);
                let gap = time(*gap);
                format!("restarted after {cause} {dot} {gap} without service {dot} restart {restarts}")
            }
            Event::Upgraded { gap, upgrades } => {
                format!("upgraded {dot} {} without service {dot} upgrade {upgrades}", time(*gap))
            }
            Event::UpgradeFailed { cause } => {
                format!("cannot upgrade: {}; the program before serves on", escape(cause.as_bytes(), charset))
            }
            Event::Parted { open, timeout } => format!(
                "another process serves; {} with which it can't go on may end here, for up to {}",
                count(*open as u64, "connection"),
                time(*timeout),
            ),
            Event::BacklogLowered { asked, allowed } => format!(
                "the kernel lets {allowed} callers wait to be accepted, not {asked}; net.core.somaxconn raises that"
            ),
            Event::Resumed { resumed, lost } => took_over(*resumed, *lost),
            Event::Connected { id, peer, via, open } => {
                let peer = match peer {
                    PeerAddr::Ip(_) | PeerAddr::Local { .. } => format!(" {peer}"),
                    PeerAddr::Unnamed => String::new(),
                };
                let via = via.map(|via| via_words(&via)).unwrap_or_default();
                format!("#{id}{peer} connected{via} ({open} open)")
            }
            Event::Closed { id, reason, detail, messages, bytes_in, bytes_out, lasted, .. } => {
                let detail = detail
                    .as_ref()
                    .map(|text| format!(": {}", escape(text.as_bytes(), charset)))
                    .unwrap_or_default();
                format!(
                    "#{id} {reason}{detail} {dot} {} {dot} {} in, {} out {dot} {}",
                    count(*messages, "message"),
                    size(*bytes_in),
                    size(*bytes_out),
                    time(*lasted),
                )
            }
            Event::Refused { peer, reason } => format!("{peer} refused: {reason}"),
            Event::AcceptFailed { cause } => format!("a caller was lost before it was accepted: {cause}"),
            Event::ResourcesExhausted { cause, refused } => {
                format!("cannot take more callers: {cause} {dot} {refused} refused")
            }
            Event::DrainStarted { open, busy, timeout } => stopping(*open, *busy, *timeout),
            Event::Drained { finished, cut, took } => {
                let cut = if *cut > 0 { format!(", {cut} cut") } else { String::new() };
                format!("stopped: {finished} finished{cut} {dot} {}", time(*took))
            }
        }
    }
}

fn took_over(resumed: usize, lost: usize) -> String {
    let lost = if lost > 0 { format!(", {lost} lost") } else { String::new() };
    format!("took over {}{lost}", count(resumed as u64, "connection"))
}

/// A listener has new certificates, or why it has none.
fn renewed(address: &ListenAddr, refused: Option<&str>, charset: Charset) -> String {
    let address = address.line(charset);
    match refused.map(|cause| escape(cause.as_bytes(), charset)) {
        None => format!("new certificates on {address}"),
        Some(cause) => {
            format!("cannot take new certificates on {address}: {cause}; it goes on with those it has")
        }
    }
}

/// The name of a signal that kills, where one is well known.
pub(crate) fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGSYS => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

/// `SIGKILL`, `SIGKILL by the watchdog, while it served #7`.
fn cause_of_restart(signal: Option<i32>, watchdog: bool, blamed: &[u64]) -> String {
    let mut cause = signal.map_or_else(|| "a failure".to_owned(), signal_name);
    if watchdog {
        cause.push_str(" by the watchdog");
    }
    let served: Vec<String> = blamed.iter().map(|id| format!("#{id}")).collect();
    if !served.is_empty() {
        cause.push_str(", while it served ");
        cause.push_str(&served.join(", "));
    }
    cause
}

fn stopping(open: usize, busy: usize, timeout: Duration) -> String {
    match (open, busy) {
        (0, _) => "stopping".to_owned(),
        (_, 0) => format!("stopping: {}, none in a message", count(open as u64, "connection")),
        _ => format!("stopping: {busy} of {open} still in a message, waiting up to {}", time(timeout)),
    }
}

/// `1 message`, `3 messages`.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// `17 B`, `1.5 KiB`, `3.0 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let step = ((bytes.ilog2() / 10) as usize).min(UNITS.len());
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let number = bytes as f64 / (1_u64 << (10 * step)) as f64;
    format!("{number:.1} {}", UNITS[step - 1])
}

/// `0.3ms`, `2.9s`, `10s`, `3m 20s`, `5h 3m`.
fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time < Duration::from_millis(100) => format!("{:.1}ms", time.as_secs_f64() * 1e3),
        0..60 if time.subsec_millis() == 0 => format!("{seconds}s"),
        0..60 => format!("{:.1}s", time.as_secs_f64()),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(feature = "log")]
pub(crate) fn milliseconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e3)
}

#[cfg(feature = "log")]
#[expect(clippy::ref_option, reason = "the signature is serde's")]
pub(crate) fn milliseconds_if_known<S: serde::Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => milliseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(feature = "log")]
#[expect(clippy::ref_option, reason = "the signature is serde's")]
pub(super) fn escaped<S: serde::Serializer>(
    text: &Option<Box<str>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&escape(text.as_deref().unwrap_or_default().as_bytes(), Charset::Ascii))
}

#[cfg(feature = "log")]
pub(super) fn escaped_text<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&escape(text.as_bytes(), Charset::Ascii))
}

/// By way of whom somebody called.
fn via_words(via: &Via) -> String {
    match via.named {
        Named::Client => format!(" by way of {}", via.proxy),
        Named::Proxy => ", a proxy itself".to_owned(),
        Named::Nobody => ", a proxy that does not say for whom".to_owned(),
        Named::Local => ", a proxy for somebody on its machine".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::CloseReason;

    #[test]
    fn a_close_reads_as_one_line_with_its_counts_and_its_detail_escaped() {
        let closed = Event::Closed {
            id: 1,
            peer: PeerAddr::Unnamed,
            reason: CloseReason::HandlerFailed,
            detail: Some("bad\ninput \u{1b}[31m".into()),
            messages: 3,
            bytes_in: 17,
            bytes_out: 1536,
            lasted: Duration::from_millis(2900),
        };
        assert_eq!(
            closed.line(Charset::Utf8),
            r"#1 service failed: bad\ninput \x1b[31m · 3 messages · 17 B in, 1.5 KiB out · 2.9s"
        );
    }

    #[test]
    fn times_and_sizes_read_well_at_every_scale() {
        let times = [300, 2_900_000, 10_000_000, 200_000_000, 18_200_000_000].map(Duration::from_micros);
        assert_eq!(times.map(time), ["0.3ms", "2.9s", "10s", "3m 20s", "5h 3m"]);
        assert_eq!([0, 1023, 1024, 3 << 30].map(size), ["0 B", "1023 B", "1.0 KiB", "3.0 GiB"]);
    }
}
