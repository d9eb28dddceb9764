//! The command line: what may be typed, and the help for it. No logic lives here.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use landline::address::Address;

#[cfg(target_os = "linux")]
use crate::bench::BenchArgs;
use crate::call::CallArgs;
use crate::reference::{CompletionsArgs, ManArgs};
use crate::settings::{ListenerSettings, ServerSettings};
use crate::units;

/// Serve and call over TCP.
#[derive(Debug, Parser)]
#[command(name = "landline", version, arg_required_else_help = true, after_help = PROGRAM_HELP)]
#[command(disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    #[arg(help = "When to use colour: auto, always or never; 'auto' obeys NO_COLOR and TERM=dumb")]
    pub(crate) color: Color,
}

const PROGRAM_HELP: &str = "\
Try it, in two terminals:
  landline serve
  landline call

Exit codes:
  0 ok             1 other                  2 usage or configuration
  3 unknown name   4 refused, unreachable   5 timeout
  6 connection lost: reset, or closed before the answer
  7 TLS: not spoken there, or the server is not who it has to be
  9 an expectation that was not met
  10 cannot listen                          11 stopped with connections cut
  130 Ctrl-C";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer callers with a built-in service
    Serve(Box<ServeArgs>),
    /// Talk to a server: at a prompt, with one message, or as a pipe
    Call(Box<CallArgs>),
    /// Measure any server that answers requests: rate, latency, errors
    #[cfg(target_os = "linux")]
    Bench(Box<BenchArgs>),
    /// Look at a running server, and steer it
    Ctl(CtlArgs),
    /// Print what has a shell complete the words of this program
    Completions(CompletionsArgs),
    /// Print this program's man pages
    Man(ManArgs),
}

/// What `landline serve` was told.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = SERVE_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag, and they are independent")]
pub(crate) struct ServeArgs {
    /// Where to listen: PORT, HOST:PORT, [IPV6]:PORT, :PORT for every address of this machine, unix:PATH,
    /// or fd:N for a socket that listens already
    #[arg(value_name = "ADDR", default_value = DEFAULT_ADDRESS, conflicts_with = "config")]
    pub(crate) address: Address,

    /// A file with the same settings as these flags, and with one listener or several
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Only say whether the file and the flags are in order
    #[arg(long, requires = "config")]
    pub(crate) check_config: bool,

    /// Say more: every message, with its size
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// Show each step of every socket as it happens, from socket and bind over accept, receive and send to FIN
    /// and TIME-WAIT, with the TCP state; never what is said
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) trace: bool,

    /// Say only what went wrong
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Print the port of each listener to stdout, on a line of its own: for port 0, in scripts
    #[arg(long)]
    pub(crate) print_port: bool,

    #[command(flatten, next_help_heading = "For each listener")]
    pub(crate) listener: ListenerSettings,

    #[command(flatten, next_help_heading = "For the whole server")]
    pub(crate) server: ServerSettings,
}

const SERVE_HELP: &str = "\
Examples:
  landline serve                          answer in upper case on 127.0.0.1:8081, this machine only
  landline serve :8081                    the same for the whole network
  landline serve 9000 --service echo      send back what comes
  landline serve 0 --print-port           on a free port, told on stdout
  landline serve --framing line --max-message 64KiB --idle-timeout 5m
  landline serve --config landline.toml   as a file says; flags go before what it says for all listeners
  landline serve --trace                  what happens to each socket, for those who learn
  landline serve --http 9100              with metrics at http://127.0.0.1:9100/metrics

Durations are 500ms, 5s, 2m, 1h; 'none' turns a limit off. Ctrl-C stops: messages that have begun are
answered first; Ctrl-C again cuts them.";

pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:8081";

/// What `landline ctl` was told.
#[derive(Debug, clap::Args)]
#[command(after_help = CTL_HELP)]
pub(crate) struct CtlArgs {
    /// The server's control socket [default: that of the only server that runs]
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: CtlCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CtlCommand {
    /// Say what runs, where, for how long, and how full it is
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the open connections
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,

        /// What to order by; all but 'id' with the largest first
        #[arg(long, value_name = "KEY", default_value = "id")]
        sort: SortKey,

        /// Only those in this state: idle, receiving, answering, sending or closing
        #[arg(long, value_name = "STATE", value_parser = ["idle", "receiving", "answering", "sending", "closing", "opening"])]
        state: Option<String>,
    },
    /// Show all that is known of one connection, as JSON
    Show {
        /// Its number
        id: u64,
    },
    /// Close one connection; no other is disturbed
    Close {
        /// Its number
        id: u64,
    },
    /// Stop in order, as SIGTERM would
    Drain,
    /// Read the configuration anew, as SIGHUP would; if it is wrong, say why, and all stays as it was
    Reload,
    /// Have another program take over, without hanging up; if it can't, say why, and the one there serves on
    ///
    /// It takes a server with crash survival, as all are on Linux by default. The other program is asked first whether
    /// it can take over, with the same arguments; SIGUSR2 does the same.
    Upgrade {
        /// The program [default: what lies now where the server was started from]
        #[arg(long, value_name = "PATH")]
        binary: Option<PathBuf>,

        /// How long it may take to check, and then again to serve
        #[arg(long, value_name = "DUR", default_value = "10s", value_parser = units::duration)]
        timeout: Duration,
    },
}

/// What connections can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortKey {
    Id,
    Age,
    Idle,
    Messages,
    In,
    Out,
    Unsent,
}

const CTL_HELP: &str = "\
Examples:
  landline ctl status
  landline ctl list --sort idle           whoever has been silent for longest first
  landline ctl list --state sending       who does not read
  landline ctl close 17
  landline ctl upgrade                    after the program's file was replaced
  landline ctl --control /run/landline/8081-4711.sock drain";

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// Decides for every stream of this process; `auto` looks at each stream and at the environment.
    pub(crate) fn apply(self) {
        match self {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_those_of_the_help() {
        let Command::Call(call) = Args::parse_from(["landline", "call"]).command else { panic!() };
        assert_eq!(call.address.to_string(), "127.0.0.1:8081");
        assert_eq!((call.framing, call.connect_timeout), (None, Some(Duration::from_secs(10))));
        let Command::Serve(serve) = Args::parse_from(["landline", "serve"]).command else { panic!() };
        assert_eq!(serve.address.to_string(), "127.0.0.1:8081");
        assert_eq!((serve.listener, serve.server), Default::default());
    }
}
