//! Each metric with its name and its meaning, as prometheus-client writes them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::histogram::Scaled;
use super::traffic::Told;
use super::{ANSWERS, CONNECTIONS, Counts, Gauge, ServerState};
use crate::close::CloseReason;
use crate::event::{Named, Refusal};
use crate::server::{MESSAGES_PER_SAMPLE, Monitor, State, Totals};
use crate::sys::limits;
use crate::sys::region::Region;

/// What is told whenever somebody asks.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) counts: Arc<Region<Counts>>,
    pub(super) monitor: Option<Monitor>,
    pub(super) log_lines_dropped: Option<Gauge>,
}

impl Collector for Families {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Writer(encoder);
        let mut live = Totals::default();
        let traffic = self.counts[0].traffic.tell(|| {
            live = self.monitor.as_ref().map_or_else(Totals::default, Monitor::totals);
            live
        });
        self.server(&mut out)?;
        self.connections(&mut out, &live)?;
        self.callers(&mut out)?;
        self.traffic(&mut out, &traffic)?;
        self.process(&mut out)
    }
}

impl Families {
    fn server(&self, out: &mut Writer<'_>) -> fmt::Result {
        let counts = &self.counts[0];
        let state = counts.state();
        out.gauge(
            "landline_serving",
            "1 while the server takes callers, else 0.",
            u64::from(state == ServerState::Serving),
        )?;
        out.gauge(
            "landline_draining",
            "1 from the start of a drain to its end, else 0.",
            u64::from(state == ServerState::Draining),
        )?;
        out.gauge(
            "landline_connections_max",
            "How many connections the server lets in at a time; 0 before it is up.",
            as_u64(counts.max_connections.load(Relaxed)),
        )?;
        out.counters(
            "landline_reloads",
            "How many times the server was to be another, by whether it then was.",
            "outcome",
            ["done", "failed"].into_iter().zip(counts.reloads.iter().map(load)),
        )?;
        out.counters(
            "landline_certificate_reloads",
            "How many times a listener was to have other certificates, by whether it then had.",
            "outcome",
            ["done", "failed"].into_iter().zip(counts.certificates.iter().map(load)),
        )?;
        out.counter(
            "landline_worker_restarts",
            "How many times a worker was killed, or failed, and another took its place.",
            load(&counts.worker_restarts),
        )
    }

    fn connections(&self, out: &mut Writer<'_>, live: &Totals) -> fmt::Result {
        let counts = &self.counts[0];
        // What closed had been opened before: looked at in this order, there is never less than nothing.
        let closed = counts.closed.each_ref().map(|counter| counter.load(Relaxed));
        let opened = counts.opened.load(Relaxed);
        out.gauge(
            "landline_connections_open",
            "How many connections are open: those opened without those closed.",
            opened.saturating_sub(closed.iter().sum()),
        )?;
        if self.monitor.is_some() {
            out.gauges(
                "landline_connections",
                "How many connections are open, by what they do.",
                "state",
                State::ALL.into_iter().map(|state| (state.name(), as_u64(live.in_state(state)))),
            )?;
        }
        out.counter(
            "landline_connections_opened",
            "How many callers were let in, or taken over from a process that died.",
            opened,
        )?;
        out.counters(
            "landline_connections_closed",
            "How many connections ended, by why they did.",
            "reason",
            CloseReason::ALL.map(CloseReason::name).into_iter().zip(closed),
        )?;
        out.histogram(
            "landline_connection_duration_seconds",
            "How long connections lasted, from accept to close.",
            counts.connections.by(&CONNECTIONS),
        )
    }

    fn callers(&self, out: &mut Writer<'_>) -> fmt::Result {
        let counts = &self.counts[0];
        out.counters(
            "landline_connections_refused",
            "How many callers were not let in, by why they were not.",
            "reason",
            Refusal::ALL.map(Refusal::name).into_iter().zip(counts.refused.iter().map(load)),
        )?;
        out.counters(
            "landline_connections_by_proxy",
            "How many callers came by way of a proxy, by whom its PROXY header named.",
            "named",
            Named::ALL.map(Named::name).into_iter().zip(counts.by_proxy.iter().map(load)),
        )?;
        out.counter(
            "landline_accept_failures",
            "How many callers were lost before they were accepted.",
            load(&counts.accept_failures),
        )?;
        out.counter(
            "landline_callers_turned_away",
            "How many callers were turned away for lack of descriptors or memory.",
            load(&counts.turned_away),
        )?;
        let queues = self.monitor.as_ref().map(Monitor::accept_queues).unwrap_or_default();
        if queues.is_empty() {
            return Ok(());
        }
        let waiting = queues.iter().map(|queue| (queue.listener.to_string(), u64::from(queue.waiting)));
        out.gauges(
            "landline_accept_queue",
            "How many callers wait to be accepted, by the listener that they called.",
            "listener",
            waiting,
        )?;
        let max = queues.iter().map(|queue| (queue.listener.to_string(), u64::from(queue.max)));
        out.gauges(
            "landline_accept_queue_max",
            "How many callers the kernel lets wait, by the listener that they call.",
            "listener",
            max,
        )
    }

    fn traffic(&self, out: &mut Writer<'_>, told: &Told) -> fmt::Result {
        out.counter("landline_messages", "How many messages were answered.", told.messages)?;
        out.counter("landline_received_bytes", "How many bytes came in.", told.bytes_in)?;
        out.counter("landline_sent_bytes", "How many bytes went out.", told.bytes_out)?;
        let help = format!(
            "How long services took to answer a message; one of {MESSAGES_PER_SAMPLE} of each thread is timed."
        );
        out.histogram("landline_answer_seconds", &help, self.counts[0].answers.by(&ANSWERS))
    }

    fn process(&self, out: &mut Writer<'_>) -> fmt::Result {
        if let Some(dropped) = &self.log_lines_dropped {
            let help = "How many lines the log dropped because whoever reads it did not keep up.";
            out.counter("landline_log_lines_dropped", help, (dropped.0)())?;
        }
        if let Some(open) = limits::files_open() {
            out.gauge("process_open_fds", "How many descriptors the process has open.", as_u64(open))?;
        }
        if let Some(max) = limits::open_files() {
            out.gauge("process_max_fds", "How many descriptors the process may have open.", max)?;
        }
        Ok(())
    }
}

/// Writes one metric at a time.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        ConstCounter::new(count).encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        gauge(value).encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        counts: impl Iterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in counts {
            ConstCounter::new(count).encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (impl AsRef<str>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (of, value) in values {
            gauge(value).encode(family.encode_family(&[(label, of.as_ref())])?)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, durations: Scaled<'_>) -> fmt::Result {
        let buckets = durations.buckets();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        encoder.encode_histogram::<NoLabelSet>(durations.sum(), count, &buckets, None)
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
