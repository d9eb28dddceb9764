//! What may be said to `landline bench`, and the help for it. No logic lives here.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use landline::Address;
use landline::frame::Framing;

use super::condition::{Condition, Conditions};
use crate::expect::Expect;
use crate::settings::framing;
use crate::units;

/// What `landline bench` was told.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct BenchArgs {
    /// Whom to measure: PORT, HOST:PORT, [IPV6]:PORT or unix:PATH
    #[arg(value_name = "ADDR")]
    pub(crate) address: Address,

    /// Connections at a time, as in 50 or 10k
    #[arg(short, long, value_name = "COUNT", default_value = "50", value_parser = units::count)]
    pub(crate) connections: usize,

    /// How long to measure [default: 10s, or until --requests are sent]
    #[arg(short, long, value_name = "DUR", value_parser = units::duration)]
    pub(crate) duration: Option<Duration>,

    /// How many requests to send
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = units::count)]
    pub(crate) requests: Option<usize>,

    /// Send so many requests per second, evenly, whether or not replies keep up (an open loop)
    #[arg(long, value_name = "COUNT", value_parser = units::count)]
    pub(crate) rate: Option<usize>,

    /// Requests in flight on each connection
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = units::count)]
    pub(crate) pipeline: usize,

    /// Threads that send
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = units::count)]
    pub(crate) threads: usize,

    /// What is one message: what a read brings, a line, or a 32-bit big-endian length and that many bytes
    #[arg(long, value_name = "NAME", default_value = "raw", value_parser = framing())]
    pub(crate) framing: Framing,

    #[command(flatten)]
    pub(crate) payload: PayloadArgs,

    /// What the reply has to be: upper, echo, same-length, regex:PATTERN or bytes:TEXT [default: anything]
    #[arg(long, value_name = "WHAT")]
    pub(crate) expect: Option<Expect>,

    /// After so many messages, close the connection and open another
    #[arg(long, value_name = "COUNT", value_parser = units::count)]
    pub(crate) churn: Option<usize>,

    /// Open no more than so many connections per second
    #[arg(long, value_name = "COUNT", value_parser = units::count)]
    pub(crate) connect_rate: Option<usize>,

    /// Send for so long before anything is measured
    #[arg(long, value_name = "DUR", value_parser = units::duration)]
    pub(crate) warmup: Option<Duration>,

    /// How long connecting, and a reply, may take
    #[arg(long, value_name = "DUR", default_value = "5s", value_parser = units::duration)]
    pub(crate) timeout: Duration,

    /// The server's process, if it runs on this machine: its CPU time per reply is measured too
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,

    /// Exit with 9 if one of these is so, as in 'p99>5ms,errors>0'
    #[arg(long, value_name = "CONDITIONS")]
    pub(crate) fail_if: Option<Conditions>,

    /// Search for the highest rate at which this holds, as in 'p99<5ms'
    #[arg(long, value_name = "CONDITION", conflicts_with_all = ["rate", "requests", "versus", "fail_if"])]
    pub(crate) find_rate: Option<Condition>,

    /// Measure another server too, in turns, and tell the ratio
    #[arg(long, value_name = "ADDR")]
    pub(crate) versus: Option<Address>,

    /// How the result is printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output_format: OutputFormat,

    /// Write the result with charts to a file, as one page of HTML
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Show nothing while it runs
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What is sent.
#[derive(Debug, Clone, clap::Args)]
#[group(multiple = false)]
pub(crate) struct PayloadArgs {
    /// Send this; {conn}, {n} and {random:64} are different each time, \n, \r, \t and \xHH are bytes
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,

    /// Send what is in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Send messages of this size, each of them different [default: 64]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) size: Option<usize>,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Text,
    /// One object
    Json,
    /// One row for each second
    Csv,
}

const HELP: &str = "\
Examples:
  landline bench 8081 --expect upper      50 connections, each reply checked, for 10s
  landline bench 8081 --rate 50k          evenly 50000 a second; latency from when each was meant to be sent
  landline bench 8081 --pipeline 16 -c 200 -d 30s --threads 2
  landline bench 8081 --find-rate 'p99<5ms' --duration 3s
  landline bench 6379 --message 'PING\\r\\n' --expect 'bytes:+PONG\\r\\n'
  landline bench 8081 --versus 8082 --expect upper
  landline bench 8081 --fail-if 'p99>5ms,errors>0' --output-format json

A reply with --framing raw is as long as --expect says, or, if it can't say, what one read brings.
Exit codes: 0 ok, 2 usage, 3 unknown name, 4 refused or unreachable, 6 replies were wrong or missing,
9 a condition of --fail-if was so, or no rate held.";
