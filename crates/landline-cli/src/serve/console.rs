//! What `serve` says while it runs: the greeting, the log, the report.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use landline::event::{Charset, Direction, Log, LogFormat, LogOptions, LogTime, SocketStep};
use landline::{CloseReason, DrainReport, Event, ListenAddr, Subscriber};

use super::is_watched;
use crate::args::ServeArgs;
use crate::exit::json_line;
use crate::settings::LogFormat as FormatName;
use crate::terminal;

/// The lines that greet whoever started the server.
#[derive(Debug)]
pub(super) struct Introduction {
    /// Whether there is but one listener.
    pub(super) is_alone: bool,
    pub(super) service: String,
    /// Where its numbers are told, if they are.
    pub(super) metrics: Option<String>,
    pub(super) try_it: String,
    /// To be printed to stdout.
    pub(super) ports: Vec<u16>,
    /// What happens if the server's process is killed, if that is worth saying.
    pub(super) survival: Option<&'static str>,
    /// What the server may not do, if it was said.
    pub(super) confinement: Option<String>,
    /// By what callers know certificates that nobody vouches for.
    pub(super) fingerprints: Vec<String>,
    /// Whether another process was greeted before this one.
    pub(super) is_over: bool,
}

/// Writes events to stderr: as they are for programs, with a greeting around them for people.
#[derive(Debug)]
pub(super) struct Console {
    log: Log,
    charset: Charset,
    for_people: bool,
    quiet: bool,
    introduction: Introduction,
    /// Whether the greeting is over.
    started: AtomicBool,
}

impl Console {
    pub(super) fn new(args: &ServeArgs, format: FormatName, introduction: Introduction) -> io::Result<Self> {
        let charset = if is_watched() { terminal::charset() } else { Charset::Ascii };
        let for_people = format == FormatName::Text;
        let mut options = LogOptions::default();
        options.format = if for_people { LogFormat::Text } else { LogFormat::Json };
        options.charset = charset;
        options.time = if is_watched() { LogTime::Clock } else { LogTime::Timestamp };
        options.messages = args.verbose;
        options.steps = args.trace;
        let log = Log::new(io::stderr(), options)?;
        Ok(Self {
            log,
            charset,
            for_people,
            quiet: args.quiet,
            introduction,
            started: AtomicBool::new(false),
        })
    }

    /// Names each connection that was cut: the log may have summed them up.
    pub(super) fn report(&self, report: &DrainReport) {
        if self.for_people {
            for cut in &report.cut {
                self.log.say(format!("  cut: #{} {}", cut.id, cut.peer));
            }
        }
    }

    /// Says that something beside the service broke.
    pub(super) fn complain(&self, error: &str) {
        let line = if self.for_people { format!("landline: error: {error}") } else { json_line(error, None) };
        self.log.say(line);
    }

    /// How many lines nobody read in time.
    pub(super) fn dropped(&self) -> u64 {
        self.log.dropped()
    }

    pub(super) fn finish(&self, patience: Duration) {
        self.log.finish(patience);
    }

    /// Who can reach a listener, if that is worth saying.
    fn openness(&self, address: &ListenAddr) -> String {
        match address {
            ListenAddr::Ip(ip) if !ip.ip().is_loopback() => String::new(),
            ListenAddr::Ip(ip) if self.introduction.is_alone => {
                format!(" (this machine only; ':{}' opens it to the network)", ip.port())
            }
            ListenAddr::Ip(_) => " (this machine only)".to_owned(),
            _ => String::new(),
        }
    }

    /// Says without a time what greets and what takes leave; false for all else.
    fn greet(&self, event: &Event) -> bool {
        let introduction = &self.introduction;
        match event {
            // After a reload, it is news like any other.
            Event::Listening { .. } if self.started.load(Relaxed) => return false,
            Event::Listening { address } => {
                self.log.say(format!("{}{}", event.line(self.charset), self.openness(address)));
            }
            Event::Started { .. } => {
                self.started.store(true, Relaxed);
                let dot = terminal::words("\u{b7}", self.charset);
                self.log.say(format!("{} {dot} {}", introduction.service, event.line(self.charset)));
                if let Some(metrics) = &introduction.metrics {
                    self.log.say(metrics.clone());
                }
                if let Some(confinement) = &introduction.confinement {
                    self.log.say(confinement.clone());
                }
                introduction.fingerprints.iter().for_each(|words| self.log.say(words.clone()));
                if let Some(survival) = introduction.survival {
                    self.log.say(survival);
                }
                if is_watched() {
                    self.log.say(introduction.try_it.clone());
                }
            }
            Event::DrainStarted { busy, .. } => {
                let again = if *busy > 0 && is_watched() { " (Ctrl-C again to cut)" } else { "" };
                self.log.say(format!("{}{again}", event.line(self.charset)));
            }
            Event::Drained { .. } => self.log.say(event.line(self.charset)),
            _ => return false,
        }
        true
    }
}

impl Subscriber for Console {
    fn event(&self, event: &Event) {
        if self.introduction.is_over && !self.started.load(Relaxed) && is_of_the_start(event) {
            self.started.store(matches!(event, Event::Started { .. }), Relaxed);
            return;
        }
        if matches!(event, Event::Started { .. }) {
            for port in &self.introduction.ports {
                // Whoever asked for the port and then closed stdout does not want it any more.
                let _ = writeln!(io::stdout(), "{port}").and_then(|()| io::stdout().flush());
            }
        }
        if self.quiet && !is_trouble(event) {
            return;
        }
        if !(self.for_people && self.greet(event)) {
            self.log.event(event);
        }
    }

    fn wants_messages(&self) -> bool {
        self.log.wants_messages()
    }

    fn message(&self, id: u64, direction: Direction, bytes: &[u8]) {
        self.log.message(id, direction, bytes);
    }

    fn wants_steps(&self) -> bool {
        self.log.wants_steps()
    }

    fn step(&self, step: &SocketStep) {
        // Whoever started the server was told how it came to listen by the process before this one.
        let is_over = self.introduction.is_over && step.id.is_none() && !self.started.load(Relaxed);
        if !is_over {
            self.log.step(step);
        }
    }
}

/// Whether an event says what whoever started the server has been told once.
fn is_of_the_start(event: &Event) -> bool {
    matches!(event, Event::Listening { .. } | Event::BacklogLowered { .. } | Event::Started { .. })
}

/// Whether an event says that something went wrong on our side.
fn is_trouble(event: &Event) -> bool {
    match event {
        Event::ResourcesExhausted { .. }
        | Event::BacklogLowered { .. }
        | Event::ReloadFailed { .. }
        | Event::CertificatesRefused { .. }
        | Event::WorkerRestarted { .. }
        | Event::UpgradeFailed { .. } => true,
        Event::Started { lowered, .. } => *lowered,
        Event::Drained { cut, .. } => *cut > 0,
        Event::Closed { reason, .. } => {
            matches!(
                reason,
                CloseReason::HandlerFailed
                    | CloseReason::HandlerPanicked
                    | CloseReason::IoFailed
                    | CloseReason::Poison
            )
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_says_what_went_wrong_and_nothing_else() {
        assert!(is_trouble(&Event::ResourcesExhausted { cause: "too many open files".into(), refused: 1 }));
        assert!(!is_trouble(&Event::DrainStarted { open: 1, busy: 0, timeout: Duration::ZERO }));
        assert!(is_trouble(&Event::Drained { finished: 0, cut: 1, took: Duration::ZERO }));
    }
}
