//! `landline serve`: a server with a built-in service.

mod console;
mod holder;
mod http;

use std::env;
use std::io::IsTerminal;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use landline::error::Error;
use landline::event::Metrics;
use landline::{DrainReport, Echo, Excess, ListenAddr, Running, Server, Upper, framed};

use crate::args::{ExcessName, ServeArgs, ServiceName};
use crate::control::{Control, place};
use crate::exit::{Exit, Failure};
use console::Console;

/// How long the last log lines have to be read.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// Serves until told to stop.
pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let server = Server::bind(&args.address).map_err(|error| cannot_listen(error, args.address.port()))?;
    let http = args.http.map(|address| Server::bind(address).map_err(|e| cannot_listen(e, address.port())));
    let http = http.transpose()?;
    let introduction = introduction(args, &server.local_addrs(), http.as_ref());
    let console = Console::new(args, introduction).map(Arc::new);
    let console = console.map_err(|error| {
        Failure::new(Exit::Other, format!("cannot start the log: {}", landline::error::describe(&error)))
    })?;
    let _control = control(args, &server)?;
    let server = configure(server, args);
    let (server, http) = match http {
        Some(http) => tell_over_http(server, http, &console).map(|(server, http)| (server, Some(http)))?,
        None => (server.events(Arc::clone(&console)), None),
    };
    // Chosen here and not within a connection: a handler behind a pointer costs each of them an allocation.
    let done = match args.service {
        ServiceName::Upper => server.serve(framed(args.framing, Upper)).run(),
        ServiceName::Echo => server.serve(framed(args.framing, Echo)).run(),
    };
    // It has answered up to here, so that whoever asked could see the drain.
    drop(http);
    if let Ok(report) = &done {
        console.report(report);
    }
    console.finish(LOG_PATIENCE);
    done.map_err(|error| cannot_serve(error, args)).and_then(|report| judge(&report))
}

/// The control socket, unless none is wanted. A place that was named has to be had; where the system has none for such
/// things, the server does without.
fn control(args: &ServeArgs, server: &Server) -> Result<Option<Control>, Failure> {
    let start = |path| {
        let addresses = server.local_addrs().iter().map(ToString::to_string).collect();
        Control::start(path, server.monitor(), addresses)
    };
    match &args.control {
        Some(path) if path.as_os_str() == "none" => Ok(None),
        Some(path) => start(path.clone()).map(Some).map_err(|error| {
            let cause = landline::error::describe(&error);
            Failure::new(Exit::Listen, format!("cannot make the control socket {}: {cause}", path.display()))
                .hint("its folder must exist and be yours; '--control none' does without")
        }),
        None => Ok(place::new(server.local_addr().port()).and_then(start).ok()),
    }
}

/// Has a server counted, and its numbers told over HTTP for as long as what is returned with it lives.
fn tell_over_http(
    server: Server,
    http: Server,
    console: &Arc<Console>,
) -> Result<(Server, Running), Failure> {
    let log = Arc::clone(console);
    let metrics = Arc::new(Metrics::new().log_lines_dropped(move || log.dropped()));
    let running = http::start(http, Arc::clone(&metrics)).map_err(|error| {
        let hint = "leave out --http, or raise the limit with 'ulimit -n'";
        let hint = error.is_config().then(|| hint.to_owned());
        with_hint(Failure::from(error), hint)
    })?;
    // Counted first: what the log says can then be seen in the numbers.
    Ok((server.events((metrics, Arc::clone(console))), running))
}

fn configure(server: Server, args: &ServeArgs) -> Server {
    let server = args.allow.iter().fold(server, |server, network| server.allow(*network));
    let server = args.deny.iter().fold(server, |server, network| server.deny(*network));
    let server = server
        .excess(match args.excess {
            ExcessName::Say => Excess::Say,
            ExcessName::Wait => Excess::Wait,
            ExcessName::Close => Excess::Close,
            ExcessName::Reset => Excess::Reset,
        })
        .idle_timeout(args.idle_timeout)
        .idle_reclaim(args.idle_reclaim)
        .max_connection_time(args.max_connection_time)
        .max_connection_age(args.max_connection_age)
        .min_receive_rate(args.min_receive_rate)
        .message_timeout(args.message_timeout)
        .write_timeout(args.write_timeout)
        .max_message(args.max_message)
        .drain_timeout(args.drain_timeout);
    let server = set(server, args.max_connections, Server::max_connections);
    let server = set(server, args.max_connections_per_ip, Server::max_connections_per_ip);
    let server = set(server, args.max_accept_rate, Server::max_accept_rate);
    set(server, args.threads.map(NonZero::get), Server::threads)
}

/// What was not said keeps the library's default.
fn set<T>(server: Server, said: Option<T>, set: impl FnOnce(Server, T) -> Server) -> Server {
    match said {
        Some(value) => set(server, value),
        None => server,
    }
}

/// The lines that greet whoever started the server, with a place for what only the running server knows.
fn introduction(args: &ServeArgs, addresses: &[ListenAddr], http: Option<&Server>) -> console::Introduction {
    let port = addresses.first().map_or(args.address.port(), ListenAddr::port);
    let local = addresses.iter().all(ListenAddr::is_local);
    let service = match args.service {
        ServiceName::Upper => "upper",
        ServiceName::Echo => "echo",
    };
    let call = format!("{} call{}", program(), if port == 8081 { String::new() } else { format!(" {port}") });
    console::Introduction {
        openness: local.then(|| format!(" (this machine only; ':{port}' opens it to the network)")),
        service: format!("service {service}"),
        metrics: http.map(|http| format!("metrics on http://{}/metrics", http.local_addr())),
        try_it: format!("try it: {call}        stop: Ctrl-C"),
        port: args.print_port.then_some(port),
    }
}

/// The program as it was started, for somebody to type.
fn program() -> String {
    // cargo tells the programs it runs where it is.
    if env::var_os("CARGO").is_some() {
        let profile = if cfg!(debug_assertions) { "" } else { "--release " };
        return format!("cargo run {profile}--");
    }
    env::args().next().filter(|name| !name.is_empty()).unwrap_or_else(|| "landline".to_owned())
}

fn judge(report: &DrainReport) -> Result<(), Failure> {
    match report.cut.len() {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Cut, "stopped with 1 connection cut")),
        cut => Err(Failure::new(Exit::Cut, format!("stopped with {cut} connections cut"))),
    }
}

fn cannot_listen(error: Error, port: u16) -> Failure {
    let hint = if error.is_address_in_use() {
        Some(match holder::of_port(port) {
            Some(holder) => format!("{holder} listens there; stop it, or choose another port"),
            None => "another program listens there; stop it, or choose another port".to_owned(),
        })
    } else if error.is_permission() {
        Some("ports this low take a privilege; choose one from 1024 on".to_owned())
    } else if error.is_resolve() {
        Some("check the spelling; ':PORT' listens on every address of this machine".to_owned())
    } else if error.is_listen() {
        Some("the address must be one of this machine's; ':PORT' stands for all of them".to_owned())
    } else {
        None
    };
    with_hint(Failure::from(error), hint)
}

fn cannot_serve(error: Error, args: &ServeArgs) -> Failure {
    let hint = error.is_config().then_some(match args.excess {
        ExcessName::Wait => "leave out '--excess wait', or the limits by network, address and rate",
        _ => "lower --max-connections, or raise the limit with 'ulimit -n'",
    });
    with_hint(Failure::from(error), hint.map(str::to_owned))
}

fn with_hint(failure: Failure, hint: Option<String>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Whether stderr is for a person to read.
fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}
