//! What the command line asks for, checked and made ready to be measured.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, SystemTime};

use landline::Address;
use landline::frame::Framing;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::args::BenchArgs;
use super::engine::{Measured, Moment, Pace, Plan, measure};
use super::live::Live;
use super::payload::Payload;
use super::process::cpu_time;
use super::summary::{Mode, Run, Summary, Tcp};
use super::target::Target;
use crate::exit::{Exit, Failure};
use crate::expect::Expect;

/// How long a run lasts if nobody says when it ends.
const DURATION: Duration = Duration::from_secs(10);
/// How many descriptors the program itself needs.
const OWN_DESCRIPTORS: u64 = 32;
/// How big a message is if nobody says what to send, in bytes.
const SIZE: usize = 64;

/// An order to measure.
pub(super) struct Order<'a> {
    args: &'a BenchArgs,
    payload: Payload,
    expect: Expect,
    /// Whether somebody has had enough.
    interrupted: Arc<AtomicBool>,
}

impl<'a> Order<'a> {
    pub(super) fn new(args: &'a BenchArgs) -> Result<Self, Failure> {
        let expect = args.expect.clone().unwrap_or_default();
        check(args, &expect)?;
        let payload = payload(args)?;
        make_room_for(args.connections)?;
        let interrupted = Arc::new(AtomicBool::new(false));
        listen_for_interrupt(Arc::clone(&interrupted));
        Ok(Self { args, payload, expect, interrupted })
    }

    pub(super) fn args(&self) -> &'a BenchArgs {
        self.args
    }

    /// Fails if somebody had enough before the end: what was measured by then is told all the same.
    pub(super) fn was_to_its_end(&self) -> Result<(), Failure> {
        if self.interrupted.load(Relaxed) {
            return Err(Failure::new(Exit::Interrupted, "stopped by Ctrl-C before its end"));
        }
        Ok(())
    }

    /// How requests are sent, as the command line has it.
    pub(super) fn pace(&self) -> Pace {
        #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^53 requests a second")]
        self.args.rate.map_or(Pace::Closed, |rate| Pace::Open { per_second: rate as f64 })
    }

    /// Measures one server.
    pub(super) fn measure(&self, address: &Address, pace: Pace) -> Result<Summary, Failure> {
        let args = self.args;
        let plan = self.plan(Target::find(address, args.timeout)?, pace);
        let run = self.describe(address, pace);
        let mut cpu_before = args.server_pid.map(cpu_time).transpose()?;
        let mut live = if args.quiet { None } else { Live::new(address.to_string(), plan.duration) };
        let measured = measure(plan, |moment| {
            match (moment, &mut live) {
                // What a server that is gone took cannot be told at the end either.
                (Moment::WarmedUp, _) => cpu_before = args.server_pid.and_then(|pid| cpu_time(pid).ok()),
                (Moment::Second(glimpse), Some(live)) => live.show(glimpse),
                (Moment::Second(_), None) => {}
            }
            !self.interrupted.load(Relaxed)
        });
        if let Some(live) = live {
            live.close();
        }
        let measured = measured?;
        let cpu_after = args.server_pid.map(cpu_time).transpose()?;
        let server_cpu = cpu_before.zip(cpu_after).map(|(before, after)| after.saturating_sub(before));
        Ok(summarize(run, measured, server_cpu))
    }

    fn plan(&self, target: Target, pace: Pace) -> Plan {
        let args = self.args;
        #[expect(clippy::cast_precision_loss, reason = "nobody opens 2^53 connections a second")]
        let connect_rate = args.connect_rate.map(|rate| rate as f64);
        Plan {
            target,
            connections: args.connections as u64,
            threads: args.threads,
            pace,
            pipeline: args.pipeline,
            framing: args.framing,
            payload: self.payload.clone(),
            expect: self.expect.clone(),
            churn: args.churn.map(|count| count as u64),
            connect_rate,
            duration: self.duration(),
            requests: args.requests.map(|count| count as u64),
            warmup: args.warmup.unwrap_or_default(),
            timeout: args.timeout,
        }
    }

    /// How long it is measured; for ever, if a number of requests ends it.
    fn duration(&self) -> Option<Duration> {
        self.args.duration.or_else(|| self.args.requests.is_none().then_some(DURATION))
    }

    fn describe(&self, address: &Address, pace: Pace) -> Run {
        let args = self.args;
        Run {
            target: address.to_string(),
            payload: payload_in_words(args),
            expect: self.expect.to_string(),
            connections: args.connections as u64,
            threads: args.threads as u64,
            pipeline: args.pipeline as u64,
            framing: args.framing,
            mode: match pace {
                Pace::Closed => Mode::Closed,
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a rate is positive, and told to the whole request"
                )]
                Pace::Open { per_second } => Mode::Open { rate: per_second.round() as u64 },
            },
            duration: self.duration(),
            started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            fail_if: args.fail_if.clone(),
        }
    }
}

fn summarize(run: Run, measured: Measured, server_cpu: Option<Duration>) -> Summary {
    let mut summary = Summary::new(run, measured.lasted, measured.tallies);
    let mut ways = measured.ways;
    ways.sort_unstable();
    summary.tcp = ways.get(ways.len() / 2).map(|(rtt, _)| Tcp {
        rtt: *rtt,
        retransmits: ways.iter().map(|(_, retransmits)| u64::from(*retransmits)).sum(),
    });
    summary.generator_cpu = Some(measured.cpu);
    summary.server_cpu = server_cpu;
    summary
}

/// What does not go together.
fn check(args: &BenchArgs, expect: &Expect) -> Result<(), Failure> {
    if args.framing == Framing::Raw && args.pipeline > 1 && expect.reply_len(b"").is_none() {
        let text = "--pipeline with --framing raw needs an --expect that says how long a reply is";
        return Err(
            Failure::new(Exit::Usage, text).hint("say --expect upper, echo, same-length or bytes:TEXT")
        );
    }
    if args.find_rate.is_some() && args.duration.is_some_and(|duration| duration < Duration::from_secs(1)) {
        let text = "a rate can't be judged in less than a second";
        return Err(Failure::new(Exit::Usage, text).hint("say --duration 3s"));
    }
    Ok(())
}

fn payload(args: &BenchArgs) -> Result<Payload, Failure> {
    let usage = |flag: &str, cause: String| Failure::new(Exit::Usage, format!("cannot use {flag}: {cause}"));
    match (&args.payload.message, &args.payload.file, args.payload.size) {
        (Some(template), ..) => {
            Payload::message(template, args.framing).map_err(|cause| usage("--message", cause))
        }
        (None, Some(path), _) => {
            let content = fs::read(path).map_err(|error| {
                let cause = landline::error::describe(&error);
                Failure::new(Exit::Usage, format!("cannot read {}: {cause}", path.display()))
            })?;
            Payload::file(content, args.framing).map_err(|cause| usage("--file", cause))
        }
        (None, None, size) => {
            Payload::size(size.unwrap_or(SIZE), args.framing).map_err(|cause| usage("--size", cause))
        }
    }
}

/// What is sent, as it was said.
fn payload_in_words(args: &BenchArgs) -> String {
    match (&args.payload.message, &args.payload.file, args.payload.size) {
        (Some(template), ..) => template.clone(),
        (None, Some(path), _) => path.display().to_string(),
        (None, None, size) => format!("{} B, each different", size.unwrap_or(SIZE)),
    }
}

/// Raises the limit on open files as far as it goes, and says if that is not enough.
fn make_room_for(connections: usize) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let held = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    match held {
        Some(held) if (connections as u64) + OWN_DESCRIPTORS > held => {
            let held = held.saturating_sub(OWN_DESCRIPTORS);
            let text = format!(
                "cannot open {connections} connections: the limit on open files is enough for {held}"
            );
            Err(Failure::new(Exit::Usage, text).hint("raise it with 'ulimit -n', or open fewer"))
        }
        _ => Ok(()),
    }
}

/// Ctrl-C ends the run early, with its result; a second one ends the program. Where that can't be had, it
/// does what it does to any program.
fn listen_for_interrupt(interrupted: Arc<AtomicBool>) {
    let (ready, is_ready) = sync_channel(1);
    let listen = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async {
            let mut interrupts = signal(SignalKind::interrupt()).ok()?;
            // Whoever waits for it is still there.
            let _ = ready.send(());
            interrupts.recv().await;
            interrupted.store(true, Relaxed);
            interrupts.recv().await;
            std::process::exit(Exit::Interrupted as i32)
        })
    };
    let listening = thread::Builder::new().name("landline-stop".into()).spawn(move || {
        let _: Option<()> = listen();
    });
    if listening.is_ok() {
        let _ = is_ready.recv();
    }
}
