//! `landline call`: talk to any TCP server, at a prompt, with one message, or as a pipe.

mod args;
mod crlf;
mod once;
mod pipe;
mod printer;
mod prompt;
mod retry;
mod show;
mod silence;
mod stdio;
mod tls;
mod watch;

use std::fmt;
use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use landline::address::Address;
use landline::client::{Connector, Delimiting, Family, Stream};
use landline::error::Error;
use landline::event::{Charset, escape};
use landline::frame::{Ending, Framing};

pub(crate) use self::args::CallArgs;
use self::watch::Watch;
use crate::exit::{Exit, Failure};

/// The longest reply that is held in memory, in bytes: one line, or one length-prefixed message. It is there
/// so that no server can use up this machine's memory; a pipe holds nothing and has no such limit.
const REPLY_MAX: usize = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Prompt,
    Once,
    Pipe,
}

/// What is called, how, and what is spoken there.
struct Call<'a> {
    args: &'a CallArgs,
    connector: Connector,
    framing: Framing,
    watch: Watch,
}

/// Calls as told, until the conversation is over.
pub(crate) fn run(args: &CallArgs) -> Result<(), Failure> {
    let is_prompt = std::io::stdin().is_terminal() && !args.pipe.is_one_way();
    let mode = choose(!args.messages.is_empty() || args.once.probe, is_prompt);
    args.check(mode == Mode::Once)?;
    if mode == Mode::Pipe && args.delimiter.is_some() {
        let text = "--delimiter has no meaning here: stdin is a pipe, and a pipe passes bytes as they are";
        return Err(Failure::new(Exit::Usage, text).hint("leave it out, or give the MESSAGEs as arguments"));
    }
    let framing = check(mode, args.framing, args.crlf)?;
    pipe::check(mode, args)?;
    let connector = connector(args)?;
    let watch = Watch::new(&args.watch)?;
    let call = Call { args, connector: watch.way_of(connector), framing, watch };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Failure::new(Exit::Other, format!("cannot start: {}", landline::error::describe(&error)))
    })?;
    let done = runtime.block_on(async {
        match mode {
            Mode::Prompt => prompt::run(&call).await,
            Mode::Once => once::run(&call).await,
            Mode::Pipe => pipe::run(&call).await,
        }
    });
    // A name lookup that was given up may hang on for long; nobody waits for it.
    runtime.shutdown_background();
    done.and(call.watch.finish())
}

fn choose(has_messages: bool, stdin_is_terminal: bool) -> Mode {
    match (has_messages, stdin_is_terminal) {
        (true, _) => Mode::Once,
        (false, true) => Mode::Prompt,
        (false, false) => Mode::Pipe,
    }
}

/// The framing to speak, or why these flags don't go together.
fn check(mode: Mode, framing: Option<Framing>, crlf: bool) -> Result<Framing, Failure> {
    match (mode, framing) {
        (Mode::Pipe, None | Some(Framing::Raw)) => Ok(Framing::Raw),
        (Mode::Pipe, Some(framing)) => {
            let text = format!(
                "--framing {framing} has no meaning here: stdin is a pipe, and a pipe passes bytes as they are"
            );
            Err(Failure::new(Exit::Usage, text)
                .hint("leave --framing out, or give the MESSAGEs as arguments"))
        }
        (_, Some(Framing::Length)) if crlf => {
            let text = "--crlf has no meaning with --framing length: such messages have no line endings";
            Err(Failure::new(Exit::Usage, text).hint("leave one of the two out"))
        }
        (_, framing) => Ok(framing.unwrap_or(Framing::Line)),
    }
}

/// How the server is to be reached.
fn connector(args: &CallArgs) -> Result<Connector, Failure> {
    if args.address.path().is_some() {
        let flags = [("-4", args.ipv4), ("-6", args.ipv6), ("--source", args.source.is_some())];
        if let Some((flag, _)) = flags.iter().find(|(_, given)| *given) {
            let text = format!("{flag} has no meaning for a Unix socket: it has no IP address");
            return Err(Failure::new(Exit::Usage, text).hint(format!("leave {flag} out")));
        }
    }
    let mut connector = Connector::new().timeout(args.connect_timeout);
    if args.ipv4 || args.ipv6 {
        connector = connector.family(if args.ipv4 { Family::V4 } else { Family::V6 });
    }
    if let Some(source) = args.source {
        connector = connector.source(source);
    }
    Ok(match tls::settings(args)? {
        Some(tls) => connector.tls(tls),
        None => connector,
    })
}

impl Call<'_> {
    /// How messages are delimited, where there are messages.
    fn delimiting(&self) -> Delimiting {
        match &self.args.delimiter {
            Some(delimiter) => Delimiting::By(delimiter.0.clone().into()),
            None => Delimiting::Framed(self.framing, if self.args.crlf { Ending::CrLf } else { Ending::Lf }),
        }
    }

    /// Connects, again and again if that is wanted.
    async fn connect(&self) -> Result<Reached, Failure> {
        retry::connect(self).await
    }

    async fn connect_once(&self) -> Result<Reached, Failure> {
        let address = &self.args.address;
        let stream = self.connector.connect(address).await.map_err(|error| unreachable(error, address))?;
        let (peer, spoken) = (stream.peer_addr(), spoken(&stream));
        Ok(Reached { peer, spoken, stream: self.watch.over(stream) })
    }
}

/// A connection, and what was known of it before it was watched.
struct Reached {
    stream: Stream,
    peer: Option<SocketAddr>,
    /// What is spoken below the messages, for people: ` · TLS 1.3 · h2`, or nothing.
    spoken: String,
}

fn spoken(stream: &Stream) -> String {
    let Some(version) = stream.tls_version() else { return String::new() };
    let protocol = stream.alpn().map(|name| format!(" · {}", escape(name, Charset::Utf8)));
    format!(" · {version}{}", protocol.unwrap_or_default())
}

/// A failure to connect, with what the caller may do about it.
pub(crate) fn unreachable(error: Error, address: &Address) -> Failure {
    if error.is_config() {
        // What was asked for makes no sense here, and the text says why.
        return Failure::from(error);
    }
    if error.is_lost() || error.tls_trouble().is_some() {
        return tls::failed(error);
    }
    let hint = if error.is_resolve() {
        "check the spelling, and that this machine can look names up".to_owned()
    } else if error.is_timeout() {
        "the host may be down, or a firewall may drop what is sent; --connect-timeout sets how long to wait"
            .to_owned()
    } else if let Some(path) = address.path() {
        unanswered_path(address, path)
    } else if !error.is_refused() {
        "check the address and this machine's network".to_owned()
    } else if let Some(listen) = local_listener(address) {
        format!("nothing listens there; start a server with 'landline serve {listen}'")
    } else {
        format!(
            "the host is up, but nothing listens on port {}; check the port, and that the server runs",
            address.port()
        )
    };
    Failure::from(error).hint(hint)
}

/// What may be done about a Unix socket at which nobody answers.
fn unanswered_path(address: &Address, path: &Path) -> String {
    if path.exists() {
        "check that the server runs, and that you may use its socket".to_owned()
    } else {
        format!("there is no such socket; check the path, or start a server with 'landline serve {address}'")
    }
}

/// What to tell `landline serve` so that a server on this machine is found at `address`; `None` for other
/// machines.
fn local_listener(address: &Address) -> Option<String> {
    match address.host() {
        None | Some("localhost" | "127.0.0.1") => Some(address.port().to_string()),
        Some(host) => host.parse::<IpAddr>().ok().filter(IpAddr::is_loopback).map(|_| address.to_string()),
    }
}

/// A connection that ended before its time.
fn lost(address: &Address, cause: &str) -> Failure {
    Failure::new(Exit::Lost, format!("lost the connection to {address}: {cause}"))
}

/// A time that a person can read: `0.2ms`, `31ms`, `1.4s`.
struct Took(Duration);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        match seconds * 1000.0 {
            ms if ms < 9.95 => write!(f, "{ms:.1}ms"),
            ms if ms < 999.5 => write!(f, "{ms:.0}ms"),
            _ => write!(f, "{seconds:.1}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_with_two_digits_that_matter() {
        for (micros, told) in
            [(213, "0.2ms"), (9_949, "9.9ms"), (31_400, "31ms"), (999_400, "999ms"), (1_430_000, "1.4s")]
        {
            assert_eq!(Took(Duration::from_micros(micros)).to_string(), told);
        }
    }

    #[test]
    fn messages_make_one_shot_a_terminal_makes_a_prompt_and_all_else_is_a_pipe() {
        assert_eq!(choose(true, true), Mode::Once);
        assert_eq!(choose(true, false), Mode::Once);
        assert_eq!(choose(false, true), Mode::Prompt);
        assert_eq!(choose(false, false), Mode::Pipe);
    }

    #[test]
    fn line_is_spoken_by_default_and_a_pipe_is_always_raw() {
        assert_eq!(check(Mode::Once, None, true).unwrap(), Framing::Line);
        assert_eq!(check(Mode::Prompt, Some(Framing::Raw), false).unwrap(), Framing::Raw);
        assert_eq!(check(Mode::Pipe, None, true).unwrap(), Framing::Raw);
        assert!(check(Mode::Pipe, Some(Framing::Line), false).is_err());
        assert!(check(Mode::Once, Some(Framing::Length), true).is_err());
    }

    #[test]
    fn only_for_this_machine_is_starting_a_server_suggested() {
        for (address, listen) in [
            ("8081", Some("8081")),
            (":8081", Some("8081")),
            ("localhost:8081", Some("8081")),
            ("[::1]:8081", Some("[::1]:8081")),
            ("127.0.0.2:8081", Some("127.0.0.2:8081")),
            ("10.0.0.1:8081", None),
            ("example.com:8081", None),
        ] {
            assert_eq!(local_listener(&address.parse().unwrap()).as_deref(), listen, "{address}");
        }
    }
}
