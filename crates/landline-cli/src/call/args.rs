//! What `landline call` may be told, and the help for it. No logic lives here.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueHint;
use landline::address::Address;
use landline::frame::Framing;

use crate::args::DEFAULT_ADDRESS;
use crate::escape::unescape;
use crate::exit::{Exit, Failure};
use crate::expect::Expect;
use crate::settings::framing;
use crate::units::{self, Limit};

/// What `landline call` was told.
#[derive(Debug, clap::Args)]
#[command(after_help = CALL_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag, and they are independent")]
pub(crate) struct CallArgs {
    /// Whom to call: PORT, HOST:PORT, [IPV6]:PORT, :PORT for this machine under IPv6 or IPv4, or unix:PATH
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

    /// Use IPv4 only
    #[arg(short = '4', conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,

    /// Use IPv6 only
    #[arg(short = '6')]
    pub(crate) ipv6: bool,

    /// Call from this address of this machine, and from this port if there is one
    #[arg(long, value_name = "IP[:PORT]", value_parser = source)]
    pub(crate) source: Option<SocketAddr>,

    /// If the server can't be reached, try again so many times; what was sent is never sent again
    #[arg(long, value_name = "COUNT", value_parser = units::small_count)]
    pub(crate) retry: Option<u32>,

    /// How long to wait before connecting again (--retry), or asking again (--repeat)
    #[arg(long, value_name = "DUR", value_parser = units::duration)]
    pub(crate) interval: Option<Duration>,

    /// What ends a message and a reply in place of a line feed, as in '\0' or ';': text with \n, \r, \t, \xHH, \0, \\
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["framing", "crlf"])]
    pub(crate) delimiter: Option<Delimiter>,

    /// On a terminal, pass control bytes of the server as they come: it can then do with the terminal what it likes
    #[arg(long)]
    pub(crate) raw: bool,

    #[command(flatten, next_help_heading = "One shot")]
    pub(crate) once: OnceArgs,

    #[command(flatten, next_help_heading = "Watching")]
    pub(crate) watch: WatchArgs,

    #[command(flatten, next_help_heading = "TLS")]
    pub(crate) tls: TlsArgs,

    #[command(flatten, next_help_heading = "As a pipe")]
    pub(crate) pipe: PipeArgs,
}

/// The bytes that end a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delimiter(pub(crate) Vec<u8>);

impl FromStr for Delimiter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match unescape(text)? {
            bytes if bytes.is_empty() => Err("without any byte, nothing would end a message".to_owned()),
            bytes => Ok(Self(bytes)),
        }
    }
}

/// What `landline call` makes of messages and their replies, when it does not stay.
#[derive(Debug, Default, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag, and they are independent")]
pub(crate) struct OnceArgs {
    /// Print each reply, or the error, as a JSON object with times
    #[arg(long)]
    pub(crate) json: bool,

    /// Only say whether the server is up: it can be connected to, and answers the MESSAGEs if there are any
    #[arg(long)]
    pub(crate) probe: bool,

    /// What each reply has to be: upper, echo, same-length, regex:PATTERN or bytes:TEXT; else exit with 9
    #[arg(long, value_name = "WHAT")]
    pub(crate) expect: Option<Expect>,

    /// After the replies, end our side and print whatever the server still says until it closes
    #[arg(long, conflicts_with_all = ["json", "probe"])]
    pub(crate) until_eof: bool,

    /// Ask everything so many times, on one connection as long as it holds; 'forever' until Ctrl-C
    #[arg(long, value_name = "COUNT", conflicts_with = "until_eof")]
    pub(crate) repeat: Option<Repeat>,

    /// Tell on stderr how long replies take: least, median, 99th percentile and most
    #[arg(long)]
    pub(crate) latency: bool,
}

impl CallArgs {
    /// Whether each of these means something.
    pub(crate) fn check(&self, is_one_shot: bool) -> Result<(), Failure> {
        let once = &self.once;
        let given = [
            ("--json", once.json),
            ("--expect", once.expect.is_some()),
            ("--until-eof", once.until_eof),
            ("--repeat", once.repeat.is_some()),
            ("--latency", once.latency),
        ];
        if let Some((flag, _)) = given.iter().find(|(_, given)| *given && !is_one_shot) {
            let text = format!("{flag} is for one shot: it has no meaning without a MESSAGE");
            return Err(Failure::new(Exit::Usage, text).hint("give a message, or --probe"));
        }
        if self.interval.is_some() && once.repeat.is_none() && self.retry.is_none() {
            let text = "--interval has no meaning without --repeat or --retry";
            return Err(Failure::new(Exit::Usage, text).hint("add one of them"));
        }
        Ok(())
    }
}

/// How many times; none for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repeat(pub(crate) Option<u64>);

impl FromStr for Repeat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self(None));
        }
        units::count(text).map(|count| Self(Some(count as u64)))
    }
}

/// How `landline call` shows what happens. All of it goes to stderr, but for what goes to a file.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct WatchArgs {
    /// Tell each step as it happens, from the name lookup to the last FIN, in words
    #[arg(long)]
    pub(crate) trace: bool,

    /// Show every byte that is sent ('>') and received ('<'), as hexadecimal numbers and as text
    #[arg(short = 'x', long)]
    pub(crate) hex_dump: bool,

    /// Save what is received to this file, too
    #[arg(short, long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

/// When `landline call` is over as a pipe, and which of the two directions it has.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct PipeArgs {
    /// Leave this long after all that stdin gave is sent, even if the server has not closed
    #[arg(long, value_name = "DUR", value_parser = units::duration)]
    pub(crate) eof_wait: Option<Duration>,

    /// Keep our side open at the end of stdin: no FIN is sent before it is over
    #[arg(long)]
    pub(crate) no_shutdown: bool,

    /// Throw away what the server says; leave when it has closed, and so has all that stdin gave
    #[arg(long)]
    pub(crate) send_only: bool,

    /// Leave stdin alone, and print what the server says until it closes
    #[arg(long, conflicts_with = "send_only")]
    pub(crate) recv_only: bool,
}

impl PipeArgs {
    /// Whether bytes pass in one direction only.
    pub(crate) fn is_one_way(&self) -> bool {
        self.send_only || self.recv_only
    }
}

fn source(text: &str) -> Result<SocketAddr, String> {
    let alone = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match (alone.parse::<IpAddr>(), text.parse()) {
        (Ok(ip), _) => Ok(SocketAddr::new(ip, 0)),
        (_, Ok(address)) => Ok(address),
        _ => Err("it is an IP address, with or without a port, as in 10.0.0.1 or [::1]:4000".to_owned()),
    }
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
            reads on until the server has closed too (--eof-wait says for how long at most)

Examples:
  landline call                           talk to 127.0.0.1:8081
  landline call 8081 hello                one message, one reply
  landline call --crlf example.com:25     SMTP by hand
  printf 'GET / HTTP/1.0\\r\\n\\r\\n' | landline call example.com:80
  landline call --recv-only server:22 --eof-wait 1s
                                          what a server says unasked
  landline call 8081 -- --help            a message that looks like a flag
  landline call --tls example.com:443     encrypted, and with the server verified

A reply in one shot is one line (with --framing raw: what one read brings); what comes before a
close counts as a line. Exit codes: 0 ok, 2 usage, 3 unknown name, 4 refused or unreachable,
5 no reply in time, 6 connection reset or closed before the reply, 7 TLS, 1 anything else.";
