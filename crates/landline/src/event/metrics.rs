//! Numbers for Prometheus, counted from events.
//!
//! Counting is additions to atomics and nothing else, since it happens in the accept loop among others. What
//! is not an event, such as what open connections do, is looked up when the numbers are asked for.

mod families;
mod histogram;
mod text;
mod traffic;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::{Event, Named, Refusal, Subscriber};
use crate::close::CloseReason;
use crate::server::Monitor;
use crate::sys::region::Region;
use crate::takeover;
use histogram::{Histogram, Scale};
use traffic::Traffic;

/// How long connections lasted: from one question to a conversation of a day. Counted in microseconds,
/// because 10,000 connections that last a year each are more nanoseconds than 64 bits count.
static CONNECTIONS: Scale = Scale {
    bounds: &[1, 5, 15, 60, 300, 900, 3600, 21_600, 86_400],
    bounds_in: Duration::from_secs(1),
    unit: Duration::from_micros(1),
};
/// How long answers took: from a look into memory to somebody else's server that hangs.
static ANSWERS: Scale = Scale {
    bounds: &[
        10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
        1_000_000, 2_500_000, 5_000_000, 10_000_000,
    ],
    bounds_in: Duration::from_micros(1),
    unit: Duration::from_nanos(1),
};

/// A subscriber that counts what happens to one server, and tells the counts to Prometheus.
///
/// ```no_run
/// use std::sync::Arc;
/// use landline::event::Metrics;
/// use landline::{Framing, Outcome, Server, Upper, framed};
///
/// fn main() -> Outcome {
///     let server = Server::bind("127.0.0.1:8081")?;
///     let metrics = Arc::new(Metrics::new().server(server.monitor()));
///     let server = server.events(Arc::clone(&metrics));
///     let _ = server.serve(framed(Framing::Line, Upper)).run()?;
///     print!("{}", metrics.encode_text());
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Metrics {
    counts: Arc<Region<Counts>>,
    monitor: Option<Monitor>,
    log_lines_dropped: Option<Gauge>,
}

/// Where a server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ServerState {
    /// It is not up yet.
    #[default]
    Starting,
    /// It takes callers.
    Serving,
    /// It takes no more callers and waits for those it has.
    Draining,
    /// It has ended.
    Stopped,
}

impl Metrics {
    /// Numbers that are all zero, of a server that is starting. The first of a process that takes the place
    /// of one that was killed goes on with what that one has counted.
    ///
    /// # Panics
    /// When there is no memory for them.
    pub fn new() -> Self {
        let counts = takeover::counts().map_or_else(|| Region::new(1), Ok);
        let counts = Arc::new(counts.expect("there is memory for a page"));
        counts[0].enter(ServerState::Starting);
        Self { counts, monitor: None, log_lines_dropped: None }
    }

    /// Tells also what the server's open connections are doing and who waits to be accepted, and counts the
    /// traffic of a connection as it comes, not only when it closes. The monitor is that of the server whose
    /// events are counted here.
    #[must_use]
    pub fn server(mut self, monitor: Monitor) -> Self {
        self.monitor = Some(monitor);
        self
    }

    /// Tells also how many lines the log has dropped: `count` is asked whenever the numbers are, as in
    /// `move || log.dropped()`.
    #[must_use]
    pub fn log_lines_dropped(mut self, count: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.log_lines_dropped = Some(Gauge(Arc::new(count)));
        self
    }

    /// Where the server is in its life.
    pub fn state(&self) -> ServerState {
        self.counts[0].state()
    }

    /// The numbers as `OpenMetrics` text 1.0.0, of the type `application/openmetrics-text`.
    pub fn encode(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(families::Families {
            counts: Arc::clone(&self.counts),
            monitor: self.monitor.clone(),
            log_lines_dropped: self.log_lines_dropped.clone(),
        }));
        let mut numbers = String::new();
        // Writing to a string can't fail.
        let _ = encode(&mut numbers, &registry);
        numbers
    }

    /// The numbers in the text format that is older than `OpenMetrics`, version 0.0.4, of the type
    /// `text/plain`.
    pub fn encode_text(&self) -> String {
        text::from_openmetrics(&self.encode())
    }
}

impl Subscriber for Metrics {
    fn event(&self, event: &Event) {
        self.counts[0].count(event);
    }

    fn wants_answer_times(&self) -> bool {
        true
    }

    fn answered(&self, took: Duration) {
        self.counts[0].answers.by(&ANSWERS).observe(took);
    }
}

/// A number that somebody else keeps.
#[derive(Clone)]
struct Gauge(Arc<dyn Fn() -> u64 + Send + Sync>);

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauge")
    }
}

impl Default for Metrics {
    /// As [`new`](Metrics::new).
    fn default() -> Self {
        Self::new()
    }
}

/// What was counted so far. It can lie in memory that outlives the process.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Counts {
    state: AtomicU8,
    max_connections: AtomicUsize,
    opened: AtomicU64,
    closed: [AtomicU64; CloseReason::ALL.len()],
    refused: [AtomicU64; Refusal::ALL.len()],
    /// By way of proxies, by whom those have named.
    by_proxy: [AtomicU64; Named::ALL.len()],
    accept_failures: AtomicU64,
    turned_away: AtomicU64,
    /// Those that were done, and those that failed.
    reloads: [AtomicU64; 2],
    /// The same of certificates alone.
    certificates: [AtomicU64; 2],
    worker_restarts: AtomicU64,
    traffic: Traffic,
    connections: Histogram<{ CONNECTIONS.bounds.len() + 1 }>,
    answers: Histogram<{ ANSWERS.bounds.len() + 1 }>,
}

impl Counts {
    fn count(&self, event: &Event) {
        match event {
            Event::Started { max_connections, .. } => {
                self.max_connections.store(*max_connections, Relaxed);
                self.enter(ServerState::Serving);
            }
            Event::Connected { via, .. } => {
                add(&self.opened, 1);
                if let Some(via) = via {
                    add_at(&self.by_proxy, via.named as usize);
                }
            }
            Event::Closed { reason, messages, bytes_in, bytes_out, lasted, .. } => {
                add_at(&self.closed, *reason as usize);
                self.traffic.close(*messages, *bytes_in, *bytes_out);
                self.connections.by(&CONNECTIONS).observe(*lasted);
            }
            Event::Refused { reason, .. } => add_at(&self.refused, *reason as usize),
            Event::AcceptFailed { .. } => add(&self.accept_failures, 1),
            Event::ResourcesExhausted { refused, .. } => add(&self.turned_away, *refused),
            Event::DrainStarted { .. } => self.enter(ServerState::Draining),
            Event::Drained { .. } => self.enter(ServerState::Stopped),
            Event::Reloaded { max_connections, .. } => {
                self.max_connections.store(*max_connections, Relaxed);
                add_at(&self.reloads, 0);
            }
            Event::ReloadFailed { .. } => add_at(&self.reloads, 1),
            Event::CertificatesReloaded { .. } => add_at(&self.certificates, 0),
            Event::CertificatesRefused { .. } => add_at(&self.certificates, 1),
            Event::WorkerRestarted { restarts, .. } => {
                self.worker_restarts.store((*restarts).into(), Relaxed);
            }
            // Whoever goes on was counted when it came.
            Event::Resumed { .. }
            | Event::Listening { .. }
            | Event::ListenerClosed { .. }
            | Event::BacklogLowered { .. }
            | Event::Upgraded { .. }
            | Event::UpgradeFailed { .. }
            | Event::Parted { .. } => {}
        }
    }

    fn enter(&self, state: ServerState) {
        self.state.store(state as u8, Relaxed);
    }

    fn state(&self) -> ServerState {
        const STATES: [ServerState; 3] = [ServerState::Starting, ServerState::Serving, ServerState::Draining];
        let state = usize::from(self.state.load(Relaxed));
        STATES.get(state).copied().unwrap_or(ServerState::Stopped)
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

fn add_at(counters: &[AtomicU64], index: usize) {
    // There is one for every index; nothing that could panic belongs in an accept loop.
    if let Some(counter) = counters.get(index) {
        add(counter, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::PeerAddr;

    fn closed(reason: CloseReason, lasted: Duration) -> Event {
        let (id, peer, detail) = (1, PeerAddr::Unnamed, None);
        Event::Closed { id, peer, reason, detail, messages: 3, bytes_in: 17, bytes_out: 12, lasted }
    }

    fn connected() -> Event {
        Event::Connected { id: 1, peer: PeerAddr::Unnamed, via: None, open: 1 }
    }

    #[track_caller]
    fn shows(metrics: &Metrics, line: &str) {
        for text in [metrics.encode(), metrics.encode_text()] {
            assert!(text.lines().any(|found| found == line), "no {line:?} in:\n{text}");
        }
    }

    #[test]
    fn every_close_reason_and_every_refusal_shows_from_the_start_and_is_counted_under_its_name() {
        let metrics = Metrics::new();
        for reason in CloseReason::ALL {
            let name = reason.name();
            shows(&metrics, &format!("landline_connections_closed_total{{reason=\"{name}\"}} 0"));
            metrics.event(&connected());
            metrics.event(&closed(reason, Duration::ZERO));
            shows(&metrics, &format!("landline_connections_closed_total{{reason=\"{name}\"}} 1"));
        }
        for reason in Refusal::ALL {
            let name = reason.name();
            shows(&metrics, &format!("landline_connections_refused_total{{reason=\"{name}\"}} 0"));
            metrics.event(&Event::Refused { peer: PeerAddr::Unnamed, reason });
            shows(&metrics, &format!("landline_connections_refused_total{{reason=\"{name}\"}} 1"));
        }
    }

    #[test]
    fn what_a_connection_did_counts_when_it_closes() {
        let metrics = Metrics::new();
        metrics.event(&connected());
        metrics.event(&connected());
        shows(&metrics, "landline_connections_open 2");
        shows(&metrics, "landline_messages_total 0");
        metrics.event(&closed(CloseReason::PeerClosed, Duration::from_millis(2500)));
        shows(&metrics, "landline_connections_opened_total 2");
        shows(&metrics, "landline_connections_open 1");
        shows(&metrics, "landline_messages_total 3");
        shows(&metrics, "landline_received_bytes_total 17");
        shows(&metrics, "landline_sent_bytes_total 12");
    }

    #[test]
    fn durations_fall_into_the_first_bucket_that_holds_them() {
        let metrics = Metrics::new();
        for seconds in [1, 2, 100_000] {
            metrics.event(&closed(CloseReason::PeerClosed, Duration::from_secs(seconds)));
        }
        for (bound, count) in [("1.0", 1), ("5.0", 2), ("86400.0", 2), ("+Inf", 3)] {
            let bucket = format!("landline_connection_duration_seconds_bucket{{le=\"{bound}\"}} {count}");
            shows(&metrics, &bucket);
        }
        shows(&metrics, "landline_connection_duration_seconds_count 3");
        shows(&metrics, "landline_connection_duration_seconds_sum 100003.0");
    }

    #[test]
    fn callers_who_were_lost_and_lines_that_were_dropped_are_counted() {
        let metrics = Metrics::new().log_lines_dropped(|| 7);
        metrics.event(&Event::AcceptFailed { cause: "".into() });
        metrics.event(&Event::ResourcesExhausted { cause: "".into(), refused: 12 });
        shows(&metrics, "landline_accept_failures_total 1");
        shows(&metrics, "landline_callers_turned_away_total 12");
        shows(&metrics, "landline_log_lines_dropped_total 7");
    }

    #[test]
    fn reloads_are_counted_by_whether_they_were_done() {
        let metrics = Metrics::new();
        metrics.event(&Event::Reloaded { listeners: 1, max_connections: 7 });
        metrics.event(&Event::ReloadFailed { cause: "".into() });
        metrics.event(&Event::Reloaded { listeners: 1, max_connections: 8 });
        shows(&metrics, "landline_reloads_total{outcome=\"done\"} 2");
        shows(&metrics, "landline_reloads_total{outcome=\"failed\"} 1");
        let address = crate::ListenAddr::Ip(([127, 0, 0, 1], 1).into());
        metrics.event(&Event::CertificatesReloaded { address: address.clone() });
        metrics.event(&Event::CertificatesRefused { address, cause: "".into() });
        shows(&metrics, "landline_certificate_reloads_total{outcome=\"done\"} 1");
        shows(&metrics, "landline_certificate_reloads_total{outcome=\"failed\"} 1");
        shows(&metrics, "landline_connections_max 8");
    }

    #[test]
    fn answers_fall_into_buckets_from_microseconds_to_seconds() {
        let metrics = Metrics::new();
        assert!(metrics.wants_answer_times());
        for nanoseconds in [1, 10_000, 10_001, 20_000_000_000] {
            metrics.answered(Duration::from_nanos(nanoseconds));
        }
        for (bound, count) in [("0.00001", 2), ("0.000025", 3), ("10.0", 3), ("+Inf", 4)] {
            shows(&metrics, &format!("landline_answer_seconds_bucket{{le=\"{bound}\"}} {count}"));
        }
        shows(&metrics, "landline_answer_seconds_sum 20.000020002");
    }

    #[test]
    fn the_state_follows_the_life_of_the_server() {
        let metrics = Metrics::new();
        let shown = |serving: u8, draining: u8| {
            shows(&metrics, &format!("landline_serving {serving}"));
            shows(&metrics, &format!("landline_draining {draining}"));
            metrics.state()
        };
        assert_eq!(shown(0, 0), ServerState::Starting);
        metrics.event(&Event::Started { max_connections: 500, lowered: false, threads: 1 });
        assert_eq!(shown(1, 0), ServerState::Serving);
        shows(&metrics, "landline_connections_max 500");
        metrics.event(&Event::DrainStarted { open: 0, busy: 0, timeout: Duration::ZERO });
        assert_eq!(shown(0, 1), ServerState::Draining);
        metrics.event(&Event::Drained { finished: 0, cut: 0, took: Duration::ZERO });
        assert_eq!(shown(0, 0), ServerState::Stopped);
    }

    #[test]
    fn reasons_and_refusals_are_listed_in_the_order_in_which_they_are_counted() {
        let reasons = CloseReason::ALL.map(|reason| reason as usize);
        assert!(reasons.iter().copied().eq(0..reasons.len()));
        let refusals = Refusal::ALL.map(|refusal| refusal as usize);
        assert!(refusals.iter().copied().eq(0..refusals.len()));
        let named = Named::ALL.map(|named| named as usize);
        assert!(named.iter().copied().eq(0..named.len()));
    }
}
