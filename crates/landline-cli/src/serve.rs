//! `landline serve`: a server with a built-in service.

mod console;
mod holder;
mod http;

use std::env;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use landline::error::Error;
use landline::event::Metrics;
use landline::frame::Framing;
use landline::{DrainReport, Echo, Excess, Running, Server, Upper, framed};

use crate::args::ServeArgs;
use crate::config::in_one_line;
use crate::control::{Control, place};
use crate::exit::{Exit, Failure};
use crate::settings::{ExcessName, ListenerSettings, LogFormat, ServerSettings, ServiceName};
use crate::setup::{Listener, Setup};
use console::Console;

/// How long the last log lines have to be read.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// Serves until told to stop.
pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let setup = Setup::new(args)?;
    match &args.config {
        Some(path) if args.check_config => say_in_order(path, &setup),
        _ => serve(&setup, args),
    }
}

/// What `--check-config` says of a file without a fault.
fn say_in_order(path: &Path, setup: &Setup) -> Result<(), Failure> {
    let listeners = match setup.listeners.len() {
        1 => "1 listener".to_owned(),
        count => format!("{count} listeners"),
    };
    let line = format!("{}: in order, {listeners}\n", in_one_line(&path.display()));
    let mut stdout = std::io::stdout();
    let said = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    said.or_else(|error| Failure::of_stdout(&error))
}

fn serve(setup: &Setup, args: &ServeArgs) -> Result<(), Failure> {
    let Listener { address, settings } = only_listener(setup)?;
    let server = Server::bind(address).map_err(|error| cannot_listen(error, address.port()))?;
    let http =
        setup.server.http.map(|address| Server::bind(address).map_err(|e| cannot_listen(e, address.port())));
    let http = http.transpose()?;
    let introduction = introduction(args, settings, &server.local_addrs(), http.as_ref());
    let format = setup.server.log_format.unwrap_or(LogFormat::Text);
    let console = Console::new(args, format, introduction).map(Arc::new);
    let console = console.map_err(|error| {
        Failure::new(Exit::Other, format!("cannot start the log: {}", landline::error::describe(&error)))
    })?;
    let _control = control(setup.server.control.as_deref(), &server)?;
    let server = with_listener_settings(with_server_settings(server, &setup.server), settings);
    let (server, http) = match http {
        Some(http) => tell_over_http(server, http, &console).map(|(server, http)| (server, Some(http)))?,
        None => (server.events(Arc::clone(&console)), None),
    };
    // Chosen here and not within a connection: a handler behind a pointer costs each of them an allocation.
    let framing = settings.framing.unwrap_or(Framing::Raw);
    let done = match service(settings) {
        ServiceName::Upper => server.serve(framed(framing, Upper)).run(),
        ServiceName::Echo => server.serve(framed(framing, Echo)).run(),
    };
    // It has answered up to here, so that whoever asked could see the drain.
    drop(http);
    if let Ok(report) = &done {
        console.report(report);
    }
    console.finish(LOG_PATIENCE);
    done.map_err(|error| cannot_serve(error, settings)).and_then(|report| judge(&report))
}

/// The listener, as long as there can be no more than one, and as long as it asks for nothing that can't be had.
fn only_listener(setup: &Setup) -> Result<&Listener, Failure> {
    let cannot = |what: &str| Err(Failure::new(Exit::Other, format!("{what} can't be served yet")));
    match &setup.listeners[..] {
        _ if setup.server.drain_delay.flatten().is_some() => cannot("drain_delay"),
        [Listener { settings, .. }] if settings.unix_mode.is_some() => cannot("unix_mode"),
        [Listener { settings, .. }] if settings.unix_owner.is_some() => cannot("unix_owner"),
        [listener] => Ok(listener),
        _ => cannot("more than one listener"),
    }
}

fn service(settings: &ListenerSettings) -> ServiceName {
    settings.service.unwrap_or(ServiceName::Upper)
}

/// The control socket, unless none is wanted. A place that was named has to be had; where the system has none for such
/// things, the server does without.
fn control(path: Option<&Path>, server: &Server) -> Result<Option<Control>, Failure> {
    let start = |path| {
        let addresses = server.local_addrs().iter().map(ToString::to_string).collect();
        Control::start(path, server.monitor(), addresses)
    };
    match path {
        Some(path) if path.as_os_str() == "none" => Ok(None),
        Some(path) => start(path.to_owned()).map(Some).map_err(|error| {
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

fn with_server_settings(server: Server, settings: &ServerSettings) -> Server {
    let server = set(server, settings.threads, Server::threads);
    let server = set(server, settings.max_connections, Server::max_connections);
    let server = set(server, settings.max_connections_per_ip, Server::max_connections_per_ip);
    let server = set(server, settings.max_accept_rate, Server::max_accept_rate);
    let server = set(server, settings.idle_reclaim, Server::idle_reclaim);
    set(server, settings.drain_timeout, Server::drain_timeout)
}

fn with_listener_settings(server: Server, settings: &ListenerSettings) -> Server {
    let server = settings.allow.iter().fold(server, |server, network| server.allow(*network));
    let server = settings.deny.iter().fold(server, |server, network| server.deny(*network));
    let excess = settings.excess.map(|excess| match excess {
        ExcessName::Say => Excess::Say,
        ExcessName::Wait => Excess::Wait,
        ExcessName::Close => Excess::Close,
        ExcessName::Reset => Excess::Reset,
    });
    let server = set(server, excess, Server::excess);
    let server = set(server, settings.idle_timeout, Server::idle_timeout);
    let server = set(server, settings.max_connection_time, Server::max_connection_time);
    let server = set(server, settings.max_connection_age, Server::max_connection_age);
    let server = set(server, settings.min_receive_rate.map(Some), Server::min_receive_rate);
    let server = set(server, settings.message_timeout, Server::message_timeout);
    let server = set(server, settings.write_timeout, Server::write_timeout);
    let server = set(server, settings.max_message, Server::max_message);
    let server = set(server, settings.max_unsent, Server::max_unsent);
    let server = set(server, settings.backlog, Server::backlog);
    let server = set(server, settings.user_timeout, Server::user_timeout);
    let default = landline::Config::default();
    server.keepalive(
        settings.keepalive_idle.unwrap_or(default.keepalive_idle),
        settings.keepalive_interval.unwrap_or(default.keepalive_interval),
        settings.keepalive_probes.unwrap_or(default.keepalive_probes),
    )
}

/// What was not said keeps the library's default.
fn set<T>(server: Server, said: Option<T>, set: impl FnOnce(Server, T) -> Server) -> Server {
    match said {
        Some(value) => set(server, value),
        None => server,
    }
}

/// The lines that greet whoever started the server, with a place for what only the running server knows.
fn introduction(
    args: &ServeArgs,
    settings: &ListenerSettings,
    addresses: &[SocketAddr],
    http: Option<&Server>,
) -> console::Introduction {
    let port = addresses.first().map_or(0, SocketAddr::port);
    let local = addresses.iter().all(|address| address.ip().is_loopback());
    let service = match service(settings) {
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

fn cannot_serve(error: Error, settings: &ListenerSettings) -> Failure {
    let hint = error.is_config().then_some(match settings.excess {
        Some(ExcessName::Wait) => "leave out '--excess wait', or the limits by network, address and rate",
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
