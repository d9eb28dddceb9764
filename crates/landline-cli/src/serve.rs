//! `landline serve`: a server with a built-in service.

mod build;
#[cfg(target_os = "linux")]
mod confinement;
#[cfg(not(target_os = "linux"))]
#[path = "serve/unconfined.rs"]
mod confinement;
mod console;
mod holder;
mod http;
mod notify;
mod survival;
pub(crate) mod tls;
pub(crate) mod upgrade;

use std::env;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use landline::error::Error;
use landline::event::Metrics;
use landline::{DrainReport, Monitor, Server, Subscriber};

use crate::args::ServeArgs;
use crate::config::in_one_line;
use crate::control;
use crate::control::place::{self, Owner};
use crate::exit::{Exit, Failure};
use crate::settings::{ExcessName, ListenerSettings, LogFormat, ServerSettings, ServiceName, Switch};
use crate::setup::{Listener, Setup};
use crate::side_door::SideDoor;
use confinement::Confinement;
use console::Console;
use http::Telling;
use notify::Manager;
use survival::LastGood;
pub(crate) use survival::process_id;
use tls::Certificates;

/// How long the last log lines have to be read.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// Serves until told to stop; returns the exit code.
pub(crate) fn run(args: &ServeArgs) -> Result<u8, Failure> {
    // What a process serves by that makes itself keeper need not be what lies on the disk.
    let setup = match survival::last_good() {
        Some(known) => Setup::with(args, known)?,
        None => Setup::new(args)?,
    };
    if upgrade::is_check() {
        check(&setup, args)?;
        upgrade::can_take_over(&setup)?;
    }
    match &args.config {
        Some(path) if args.check_config => {
            check(&setup, args)?;
            say_in_order(path, &setup).map(|()| 0)
        }
        _ => {
            let is_json = setup.server.log_format == Some(LogFormat::Json);
            serve_confined(setup, args, is_json).map_err(|failure| failure.in_json(is_json))
        }
    }
}

fn serve_confined(mut setup: Setup, args: &ServeArgs, is_json: bool) -> Result<u8, Failure> {
    // While it may read them.
    setup.known = certificates(&setup)?.bundle;
    let confinement = Confinement::new(&setup, args)?;
    if !survival::is_wanted(&setup.server) {
        return serve(&setup, args, &confinement).map(|()| 0);
    }
    let work = || serve_on(&setup, args, &confinement).map_err(|failure| failure.in_json(is_json));
    survival::keep(&setup, &confinement, work)
}

/// What can be checked beside the file without listening.
fn check(setup: &Setup, args: &ServeArgs) -> Result<(), Failure> {
    Confinement::check(setup, args)?;
    let server = &setup.server;
    let http = server.http.as_ref().map(|http| Telling::check(http, server.http_token_file.as_deref()));
    http.transpose()?;
    certificates(setup).map(drop)
}

/// Everything that listeners speak TLS with, read and checked.
fn certificates(setup: &Setup) -> Result<Certificates, Failure> {
    let certificates = Certificates::read(setup)?;
    survival::can_remember(&certificates.bundle, &setup.server)?;
    Ok(certificates)
}

/// Serves by what a process before this one served by, or else by what was read at the start.
fn serve_on(at_the_start: &Setup, args: &ServeArgs, confinement: &Confinement) -> Result<(), Failure> {
    match survival::last_good() {
        Some(known) => serve(&Setup::with(args, known)?, args, confinement),
        None => serve(at_the_start, args, confinement),
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

fn serve(setup: &Setup, args: &ServeArgs, confinement: &Confinement) -> Result<(), Failure> {
    let certificates = certificates(setup)?;
    let listening = build::listen(setup, |address| Server::bind(address))?;
    let token_file = setup.server.http_token_file.as_deref();
    let http = setup.server.http.as_ref().map(|address| Telling::bind(address, token_file));
    let http = http.transpose()?;
    let port = listening[0].local_addr().port();
    let control = ControlSocket::listen(&setup.server, Some(port), confinement.owner())?;
    if !survival::is_kept() {
        // Before there is another thread.
        confinement.enter(setup, control.as_ref())?;
    }
    let mut introduction = introduction(args, setup, &listening, http.as_ref(), confinement);
    introduction.fingerprints.clone_from(&certificates.fingerprints);
    let format = setup.server.log_format.unwrap_or(LogFormat::Text);
    let console = Console::new(args, format, introduction).map(Arc::new);
    let console = console.map_err(|error| {
        Failure::new(Exit::Other, format!("cannot start the log: {}", landline::error::describe(&error)))
    })?;
    let last_good = Arc::new(LastGood::default());
    last_good.read(certificates.bundle.clone());
    let mut listening = certificates.apply(listening, &last_good);
    let first = listening.remove(0);
    let control = control.and_then(|control| control.answer(&first, &console).transpose()).transpose()?;
    let manager = Manager::of_this_program()?;
    let said = (Arc::clone(&last_good), (Arc::clone(&console), manager.clone()));
    let (first, http) = match http {
        Some(http) => tell_over_http(first, http, &console, said).map(|(first, http)| (first, Some(http)))?,
        None => (first.events(said), None),
    };
    let watchdog = manager.looks_after(first.monitor())?;
    listening.insert(0, first);
    let serving = build::assemble(setup, listening)?;
    let done = if args.config.is_some() {
        let (args, before) = (args.clone(), setup.server.clone());
        let reload = move |monitor: &Monitor| {
            manager.reloads();
            build::anew(&args, &before, monitor, &last_good)
        };
        serving.on_reload(reload).run()
    } else {
        serving.run()
    };
    // It has answered up to here, so that whoever asked could see the drain.
    drop((http, control, watchdog));
    if let Some(report) = done.as_ref().ok().filter(|report| !report.replaced) {
        console.report(report);
    }
    console.finish(LOG_PATIENCE);
    done.map_err(|error| cannot_serve(error, setup)).and_then(|report| judge(&report))
}

/// The control socket, which listens.
struct ControlSocket {
    path: PathBuf,
    listening: Server,
    /// Whether somebody said where it is to be.
    is_named: bool,
}

impl ControlSocket {
    /// Unless none is wanted. A place that was named has to be had; where the system has none for such
    /// things, or nobody knows on which port the server listens, the server does without.
    fn listen(
        settings: &ServerSettings,
        port: Option<u16>,
        owner: Option<Owner>,
    ) -> Result<Option<Self>, Failure> {
        let at = |path: &Path, is_named: bool| {
            let listening = control::bind(path).map_err(Self::cannot)?;
            Ok(Self { path: path.to_owned(), listening, is_named })
        };
        match settings.control.as_deref() {
            Some(path) if path.as_os_str() == "none" => Ok(None),
            Some(path) => at(path, true).map(Some),
            None => {
                let path = port.and_then(|port| place::new(port, owner).ok());
                Ok(path.and_then(|path| at(&path, false).ok()))
            }
        }
    }

    /// Answers about a server.
    fn answer(self, server: &Server, console: &Arc<Console>) -> Result<Option<SideDoor>, Failure> {
        match control::answer(self.listening, server.monitor(), broke(console, "the control socket")) {
            Err(failure) if self.is_named => Err(Self::cannot(failure)),
            door => Ok(door.ok()),
        }
    }

    fn cannot(failure: Failure) -> Failure {
        failure
            .hint("the control socket needs a folder that exists and is yours; '--control none' does without")
    }
}

/// Has a server counted, and its numbers told over HTTP for as long as what is returned with it lives.
fn tell_over_http(
    server: Server,
    http: Telling,
    console: &Arc<Console>,
    others: impl Subscriber,
) -> Result<(Server, SideDoor), Failure> {
    let log = Arc::clone(console);
    let metrics = Arc::new(Metrics::new().server(server.monitor()).log_lines_dropped(move || log.dropped()));
    let door = http
        .start(Arc::clone(&metrics), broke(console, "HTTP"))
        .map_err(|failure| failure.hint("leave out --http, or raise the limit with 'ulimit -n'"))?;
    // Counted first: what the log says can then be seen in the numbers.
    Ok((server.events((metrics, others)), door))
}

/// Says that one of the ways to ask about the server is no more.
fn broke(console: &Arc<Console>, what: &'static str) -> impl FnOnce(&Error) + Send + 'static {
    let console = Arc::clone(console);
    move |error| console.complain(&format!("{what} broke, and the service goes on without: {error}"))
}

/// The lines that greet whoever started the server, with a place for what only the running server knows.
fn introduction(
    args: &ServeArgs,
    setup: &Setup,
    listening: &[Server],
    http: Option<&Telling>,
    confinement: &Confinement,
) -> console::Introduction {
    let ports: Vec<u16> =
        listening.iter().map(|server| server.local_addr().port()).filter(|port| *port != 0).collect();
    let tls = setup.listeners.first().map_or("", |first| flags_to_call(&first.settings));
    let call = ports.first().map(|port| match port {
        8081 => format!("try it: {} call{tls}        ", program()),
        port => format!("try it: {} call{tls} {port}        ", program()),
    });
    let mut services: Vec<&str> = Vec::new();
    for listener in &setup.listeners {
        let name = match build::service(&listener.settings) {
            ServiceName::Upper => "upper",
            ServiceName::Echo => "echo",
        };
        if !services.contains(&name) {
            services.push(name);
        }
    }
    let noun = if services.len() == 1 { "service" } else { "services" };
    console::Introduction {
        is_alone: listening.len() == 1,
        service: format!("{noun} {}", services.join(", ")),
        metrics: http.map(|http| format!("metrics on http://{}/metrics", http.local_addr())),
        try_it: format!("{}stop: Ctrl-C", call.unwrap_or_default()),
        ports: if args.print_port { ports } else { Vec::new() },
        survival: survival::promise(&setup.server),
        confinement: confinement.words(),
        fingerprints: Vec::new(),
        is_over: survival::is_another(),
    }
}

/// What a caller has to say who is to speak TLS, if anything.
fn flags_to_call(settings: &ListenerSettings) -> &'static str {
    match (settings.speaks_tls(), settings.tls_self_signed) {
        (false, _) => "",
        (true, Some(Switch::On)) => " --tls --insecure",
        (true, _) => " --tls",
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
        // The server goes on, in another process.
        _ if report.replaced => Ok(()),
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Cut, "stopped with 1 connection cut")),
        cut => Err(Failure::new(Exit::Cut, format!("stopped with {cut} connections cut"))),
    }
}

fn cannot_serve(error: Error, setup: &Setup) -> Failure {
    let waits = |listener: &Listener| listener.settings.excess == Some(ExcessName::Wait);
    let hint = if setup.listeners.iter().any(waits) {
        "leave out '--excess wait', or the limits by network, address and rate"
    } else {
        "lower --max-connections, or raise the limit with 'ulimit -n'"
    };
    let hint = error.is_config().then(|| hint.to_owned());
    with_hint(Failure::from(error), hint)
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
