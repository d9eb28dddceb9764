//! The command line: what may be typed, and the help for it. No logic lives here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use landline::address::Address;
use landline::frame::Framing;

#[cfg(target_os = "linux")]
use crate::bench::BenchArgs;
use crate::settings::{ListenerSettings, ServerSettings, framing};
use crate::units::{self, Limit};

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
    Call(CallArgs),
    /// Measure any server that answers requests: rate, latency, errors
    #[cfg(target_os = "linux")]
    Bench(Box<BenchArgs>),
    /// Look at a running server, and steer it
    Ctl(CtlArgs),
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
  landline serve --http 9100              with metrics at http://127.0.0.1:9100/metrics

Durations are 500ms, 5s, 2m, 1h; 'none' turns a limit off. Ctrl-C stops: messages that have begun are
answered first; Ctrl-C again cuts them.";

/// What `landline call` was told.
#[derive(Debug, clap::Args)]
#[command(after_help = CALL_HELP)]
pub(crate) struct CallArgs {
    /// Whom to call: PORT, HOST:PORT, [IPV6]:PORT, or :PORT for this machine under IPv6 or IPv4
    #[arg(value_name = "ADDR", default_value = DEFAULT_ADDRESS)]
    pub(crate) address: Address,

    /// Send each of these, print the reply to each, and leave
    #[arg(value_name = "MESSAGE")]
    pub(crate) messages: Vec<OsString>,

    /// What is one message: what a read brings, a line, or a 32-bit big-endian length and that many bytes
    /// [default: line; a pipe is always raw]
    #[arg(long, value_name = "NAME", value_parser = framing())]
    pub(crate) framing: Option<Framing>,

    /// End lines with CR LF, as HTTP and SMTP want it; at the prompt, a blank line is then sent too
    #[arg(long)]
    pub(crate) crlf: bool,

    /// How long connecting may take, name lookup included
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = units::limit)]
    pub(crate) connect_timeout: Limit,

    /// How long to wait for each reply; at the prompt, for the server to close after Ctrl-D
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = units::limit)]
    pub(crate) timeout: Limit,

    #[command(flatten, next_help_heading = "TLS")]
    pub(crate) tls: TlsArgs,
}

/// How `landline call` speaks TLS. All but the first are for TLS alone.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct TlsArgs {
    /// Speak TLS, and verify that the server is whom ADDR names
    #[arg(long)]
    pub(crate) tls: bool,

    /// Trust whom one of these certificates has issued, and nobody else [default: whom this system trusts]
    #[arg(long, value_name = "PATH")]
    pub(crate) cacert: Option<PathBuf>,

    /// Who this is, for servers that ask: a certificate, and those that lead to its authority
    #[arg(long, value_name = "PATH")]
    pub(crate) cert: Option<PathBuf>,

    /// The private key of --cert [default: the one in the same file]
    #[arg(long, value_name = "PATH")]
    pub(crate) key: Option<PathBuf>,

    /// The name to send to the server and to verify it by, in place of the host of ADDR
    #[arg(long, value_name = "NAME")]
    pub(crate) sni: Option<String>,

    /// The application protocols to offer, the best one first, as in h2,http/1.1
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) alpn: Vec<String>,

    /// Verify nothing: whoever answers is taken for the server
    #[arg(long)]
    pub(crate) insecure: bool,
}

const CALL_HELP: &str = "\
What it does depends on how it is started:
  prompt    on a terminal: type lines, see the replies as they come, Ctrl-D to finish
  one shot  with MESSAGEs: sends one, prints its reply, sends the next; then leaves
  pipe      with stdin redirected: bytes in, bytes out, nothing added; at the end of stdin it
            reads on until the server has closed too

Examples:
  landline call                           talk to 127.0.0.1:8081
  landline call 8081 hello                one message, one reply
  landline call --crlf example.com:25     SMTP by hand
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | landline call example.com:80
  landline call 8081 -- --help            a message that looks like a flag
  landline call --tls example.com:443     encrypted, and with the server verified

A reply in one shot is one line (with --framing raw: what one read brings); what comes before a
close counts as a line. Exit codes: 0 ok, 2 usage, 3 unknown name, 4 refused or unreachable,
5 no reply in time, 6 connection reset or closed before the reply, 7 TLS, 1 anything else.";

const DEFAULT_ADDRESS: &str = "127.0.0.1:8081";

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
